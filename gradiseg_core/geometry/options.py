"""What may be chosen about finding objects by geometry.

Lengths on the surface are in voxels, whose side follows from focal length and distance, so that
they mean the same in every unit of a reconstruction. Defaults are those of the feasibility study,
which were chosen on two scenes and lie on a plateau.
"""

from __future__ import annotations

from typing import Literal

from gradiseg_core.config.base import ITERATIONS, Section, option

_STUDY = "feasibility study"
Granularity = Literal["parts", "objects", "groups"]


class StereoOptions(Section):
    """Depth sharpened by the photographs (:mod:`.stereo`)."""

    iterations: int = option(
        3,
        "Rounds of the search; 0 leaves depth as it was rendered.",
        source="measured: 2 are worse, 4 no better",
        ge=0,
    )
    neighbours: int = option(
        4, "Photographs that each one is compared with.", source="measured: 6 are no better", ge=2
    )


class FusionOptions(Section):
    """The fused volume (Curless and Levoy 1996)."""

    voxel_px: float = option(
        1.5,
        "Side of a voxel as it is seen from the median distance of the cameras, in an image whose "
        "longest side is 320 px.",
        unit="px",
        source=_STUDY,
        gt=0,
    )
    radius: float = option(
        0.6,
        "Radius of the fused ball around what the cameras look at.",
        unit="median distance of the cameras",
        source=_STUDY,
        gt=0,
        lt=2,
    )
    truncation: float = option(
        4.0,
        "Signed distances are cut off here, before and behind the surface.",
        unit="voxels",
        source=_STUDY,
        ge=2,
        le=4,
    )
    slope: float = option(
        0.02,
        "Relative range of depth among the 3 x 3 neighbours of a pixel at which its weight halves.",
        source=_STUDY,
        gt=0,
    )
    min_opacity: float = option(
        0.5, "Pixels of less opacity say nothing about the surface.", ge=0, le=1
    )
    min_views: int = option(3, "Views that must have seen a voxel.", source=_STUDY, ge=1)


class SurfaceOptions(Section):
    """Surface and concavity."""

    blur: float = option(
        1.2, "Gaussian that the distances are smoothed with.", unit="voxels", source=_STUDY, gt=0
    )
    flat: float = option(
        0.10, "Concave curvature up to which a surface counts as flat.", unit="1 / voxel",
        source=_STUDY, ge=0,
    )  # fmt: skip
    crease: float = option(
        0.30, "Concave curvature from which it counts as a crease.", unit="1 / voxel",
        source=_STUDY, gt=0,
    )  # fmt: skip


class SupportOptions(Section):
    """What objects stand on."""

    thickness: float = option(
        2.0, "Height up to which a point may lie in the support.",
        unit="standard deviations of its residual", source=_STUDY, gt=0,
    )  # fmt: skip
    min_cosine: float = option(
        0.85, "Cosine between normals of the support and of a point in it.", source=_STUDY, gt=0,
        le=1,
    )  # fmt: skip
    below: float = option(
        0.5, "Points this far below the support belong to it.", unit="voxels", source=_STUDY, ge=0
    )
    min_part: float = option(
        0.03,
        "Connected parts of the support below this share of the surface are no support: bottoms "
        "of bowls, tops of books.",
        source=_STUDY,
        ge=0,
        lt=1,
    )
    bump: float = option(
        12.0,
        "The support is a height field over its plane, smooth over this length; 0 is the plane.",
        unit="voxels",
        ge=0,
    )
    trials: int = option(500, "Planes that RANSAC tries.", ge=1)


class SegmentationOptions(Section):
    """Cutting the surface at concave creases (Stein et al. 2014)."""

    cell: int = option(
        5, "A supervoxel grows in each cell of this side.", unit="voxels", source=_STUDY, ge=2
    )
    crease_cost: float = option(
        12.0, "Cost of crossing a crease when supervoxels grow.", source=_STUDY, ge=0
    )
    colour_scale: float = option(
        30.0, "Difference of colour that counts as another.", unit="Lab", source=_STUDY, gt=0
    )
    whole_size: float = option(
        800.0, "Regions up to this size merge more easily.", unit="voxels", source=_STUDY, gt=0
    )
    min_size: int = option(60, "Smaller regions are absorbed.", unit="voxels", source=_STUDY, ge=1)
    granularity: Granularity = option(
        "objects",
        "How far regions are merged: into `parts` of objects, `objects`, or `groups` of them.",
    )
    parts: float = option(0.18, "Cost at which merging into parts stops.", gt=0)
    objects: float = option(0.30, "Cost at which merging into objects stops.", source=_STUDY, gt=0)
    groups: float = option(0.45, "Cost at which merging into groups stops.", gt=0)
    min_height: float = option(
        3.0, "Least height of an object over the support (its 90th percentile).", unit="voxels",
        source=_STUDY, ge=0,
    )  # fmt: skip
    min_crease: float = option(
        0.22,
        "Least mean concavity where an object meets the support; what rises without a crease is a "
        "bump.",
        source="measured on two scenes: bumps 0.10 - 0.26, objects 0.26 - 0.75",
        ge=0,
        le=1,
    )
    max_radius: float = option(
        0.9, "Objects lie within this share of the fused ball (98th percentile).", source=_STUDY,
        gt=0,
    )  # fmt: skip
    max_cut_off: float = option(
        0.8, "What the frame cuts off in more than this share of the views is background.",
        source=_STUDY, gt=0, le=1,
    )  # fmt: skip

    def lowest(self, sd: float) -> float:
        """Return the least height of an object, voxels, over a support of heights with ``sd``."""
        return max(self.min_height, 3.5 * sd)

    def stop(self) -> float:
        """Return the cost at which merging stops."""
        return {"parts": self.parts, "objects": self.objects, "groups": self.groups}[
            self.granularity
        ]


class LabelOptions(Section):
    """ID maps of the views."""

    longest_side: int = option(
        640, "Photographs are reduced to this longest side for outlines.", unit="px", ge=64
    )
    disc: float = option(
        0.75, "Radius of the discs that the surface is drawn with.", unit="voxels", source=_STUDY,
        gt=0,
    )  # fmt: skip
    background_distance: float = option(
        6.0,
        "Where a view shows no surface, what it shows this far from any object is background.",
        unit="voxels",
        source=_STUDY,
        gt=0,
    )
    erosion: float = option(
        3.0, "How far outlines may move to an edge of the photograph.", unit="px at 320 px",
        source="measured on five scenes; 4 in the study", ge=0,
    )  # fmt: skip
    min_core: float = option(
        0.2,
        "Share of a label that may not move, however thin.",
        source="measured on two scenes; 0.35 in the study",
        ge=0,
        le=1,
    )
    other_share: float = option(
        0.6,
        "An ID of another tracker is taken over where geometry calls this share of it background.",
        source=_STUDY,
        gt=0,
        le=1,
    )


class FailureOptions(Section):
    """When the surface is not to be trusted."""

    min_views: int = option(6, "Fewer views are not fused.", ge=1)
    min_surface: int = option(2000, "Least size of a surface.", unit="voxels", ge=1)
    min_agreement: float = option(
        0.15,
        "Least share of the pixels of the fused ball whose depth is that of the fused surface, to "
        "2 voxels.",
        source="measured: 0.3 on the demo, 0.55 on a tabletop, 0.9 from exact depth",
        ge=0,
        le=1,
    )


class PrepareOptions(Section):
    """The colour-only training."""

    iterations: int = option(1000, "Iterations.", unit=ITERATIONS, source=_STUDY, ge=1)
    longest_side: int = option(
        320, "Longest side of the training images.", unit="px", source=_STUDY, ge=32
    )
    max_gaussians: int = option(15_000, "Most Gaussians.", source=_STUDY, ge=100)
    sh_degree: int = option(
        3, "Degree of the colours' spherical harmonics.", source="measured: 0 is no better", ge=0,
        le=3,
    )  # fmt: skip
    depth: Literal["centres", "planes"] = option(
        "centres",
        "What is blended: the depth of a Gaussian's centre, or a plane through where it is "
        "densest, which lies nearer to the true surface.",
        source="measured: planes halve the bias of depth, and objects are found no better",
    )


class GeometryOptions(Section):
    """Finding objects by geometry."""

    prepare: PrepareOptions = option(PrepareOptions(), "The colour-only training.")
    stereo: StereoOptions = option(StereoOptions(), "Depth sharpened by the photographs.")
    fusion: FusionOptions = option(FusionOptions(), "The fused volume.")
    surface: SurfaceOptions = option(SurfaceOptions(), "Surface and concavity.")
    support: SupportOptions = option(SupportOptions(), "What objects stand on.")
    segmentation: SegmentationOptions = option(SegmentationOptions(), "Cutting the surface.")
    labels: LabelOptions = option(LabelOptions(), "ID maps of the views.")
    failure: FailureOptions = option(FailureOptions(), "When the surface is not trusted.")
