"""Configuration of stage `masks`: class-agnostic segments of every training view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from gradiseg_core.config.base import (
    Conflict,
    Device,
    Section,
    autocast_option,
    device_option,
    option,
)
from gradiseg_core.config.paths import InputPath, UserPath

_MEASURED = "measured on two scenes with known objects, see docs/masks.md"
_GG = "Gaussian Grouping's run of DEVA's demo"
_SAM = "segment-anything's default, which DEVA's demo keeps"


class GraphMasksConfig(Section):
    """The weights-free segmenter: a graph of pixels, then a graph of regions.

    Areas are meant for an image whose longest side is 640 px and are scaled to the image's size.
    """

    longest_side: int = option(
        640,
        "Longest side at which images are segmented; larger ones are reduced, and their segments "
        "enlarged again.",
        unit="px",
        source=_MEASURED,
        ge=64,
    )
    blur: float = option(
        0.5,
        "Standard deviation of the blur before segmentation; removes sensor noise.",
        unit="px",
        source=_MEASURED,
        ge=0.0,
    )
    scale: float = option(
        30.0,
        "Felzenszwalb's scale of observation for the first, fine segmentation.",
        source=_MEASURED,
        gt=0.0,
    )
    merge_threshold: float = option(
        5.0,
        "Neighbouring regions merge while they differ by less: smaller gives more fragments, "
        "larger lets objects leak into each other.",
        unit="CIELAB units",
        source=_MEASURED,
        ge=0.0,
    )
    boundary_weight: float = option(
        0.3,
        "Share of the contrast along the common border in that difference; the rest is the "
        "difference of the mean colours.",
        source=_MEASURED,
        ge=0.0,
        le=1.0,
    )
    lightness_weight: float = option(
        0.5,
        "Weight of lightness against the two colour axes; below 1 shading and shadows count less.",
        source=_MEASURED,
        gt=0.0,
    )
    small_area: float = option(
        1000.0,
        "Regions below this area merge more readily, with the square root of their area.",
        unit="px at 640 px",
        source=_MEASURED,
        ge=0.0,
    )
    absorb_area: float = option(
        2000.0,
        "Segments and groups of segments below this area that one larger segment encloses are "
        "absorbed by it: print, speckles, highlights. 0 absorbs none.",
        unit="px at 640 px",
        source=_MEASURED,
        ge=0.0,
    )
    enclosure: float = option(
        0.6,
        "Share of its border that a segment has on the one that absorbs it.",
        source=_MEASURED,
        ge=0.5,
        le=1.0,
    )
    coarse_threshold: float = option(
        6.0,
        "Limit of a second merging after absorption, which goes mainly by the contrast between the "
        "four pixels on each side of a border, so that shading is joined; 0 leaves it out.",
        unit="CIELAB units",
        source=_MEASURED,
        ge=0.0,
    )
    min_area: float = option(
        100.0,
        "Segments below this area are dropped (ID 0, no mask).",
        unit="px at 640 px",
        source=_MEASURED,
        ge=0.0,
    )


class SamMasksConfig(Section):
    """Segment Anything's automatic masks, laid over one another to one ID image.

    Gaussian Grouping has no values of its own but the threshold of the predicted IoU; the rest is
    what DEVA's demo, which it runs, passes to SAM or leaves to SAM's defaults.
    """

    model: Literal["vit_h", "vit_l", "vit_b"] = option(
        "vit_h",
        "SAM's image encoder: huge, large or base; the smaller ones are faster and coarser.",
        source=_GG,
    )
    checkpoint: InputPath | None = option(
        None,
        "Checkpoint file of this model; null has it downloaded.",
    )
    longest_side: int = option(
        1024,
        "Longest side of the photograph that is handed to SAM; larger ones are reduced, and their "
        "segments enlarged again. SAM's encoder sees 1024 px whatever it is handed; more is of use "
        "with `crop_n_layers` only, and costs memory with the square of the side.",
        unit="px",
        source="the side that SAM itself resizes to",
        ge=64,
    )
    points_per_side: int = option(
        64,
        "Points along each side of the grid that SAM is asked at: more find smaller objects, time "
        "grows with the square.",
        source=f"{_GG}; SAM's own default is 32",
        ge=1,
    )
    points_per_batch: int = option(
        64,
        "Points that are asked at once: a matter of speed and memory, not of the result.",
        source=_SAM,
        ge=1,
    )
    pred_iou_thresh: float = option(
        0.7,
        "Masks whose IoU SAM itself predicts below this are dropped; 0 keeps all.",
        source=f"{_GG}; SAM's own default is 0.88",
        ge=0.0,
        le=1.0,
    )
    stability_score_thresh: float = option(
        0.95,
        "A mask is dropped if its shapes at a raised and at a lowered threshold of the logits "
        "overlap by less, as an IoU; 0 keeps all.",
        source=_SAM,
        ge=0.0,
        le=1.0,
    )
    stability_score_offset: float = option(
        1.0,
        "How far that threshold is raised and lowered.",
        unit="logits",
        source=_SAM,
        gt=0.0,
    )
    box_nms_thresh: float = option(
        0.7,
        "Of two masks whose boxes overlap by more, as an IoU, the less confident is a duplicate.",
        source=_SAM,
        ge=0.0,
        le=1.0,
    )
    crop_n_layers: int = option(
        0,
        "Layers of crops that are segmented as well: layer i cuts the image into 4^i; finds small "
        "objects at several times the cost.",
        source=_SAM,
        ge=0,
        le=4,
    )
    crop_nms_thresh: float = option(
        0.7,
        "As `box_nms_thresh`, between masks of different crops.",
        source=_SAM,
        ge=0.0,
        le=1.0,
    )
    crop_overlap_ratio: float = option(
        512 / 1500,
        "Overlap of neighbouring crops as a share of the image's shorter side.",
        source=_SAM,
        ge=0.0,
        lt=1.0,
    )
    crop_n_points_downscale_factor: int = option(
        1,
        "The grid of layer i has its points per side divided by this, i times.",
        source=_SAM,
        ge=1,
    )
    min_mask_region_area: int = option(
        0,
        "Holes and islands below this area are removed from every mask; 0 leaves them. Needs "
        "OpenCV, which no environment here holds.",
        unit="px of the image that SAM is handed",
        source=_SAM,
        ge=0,
    )
    overlap: Literal["largest", "smallest", "confident"] = option(
        "largest",
        "Which mask a pixel takes of those that overlap: the largest (whole objects), the smallest "
        "(parts), or the one of the highest predicted IoU.",
        source=f"{_GG}: `--suppress_small_objects`",
    )
    min_visible: float = option(
        0.8,
        "A mask of which the masks above leave less than this share is dropped, and what is left "
        "of it is without a segment; of no effect with `overlap: smallest`.",
        source="DEVA's demo",
        ge=0.0,
        le=1.0,
    )
    min_area: float = option(
        0.0,
        "Segments below this area are dropped (ID 0, no mask).",
        unit="px at 640 px",
        source="DEVA's demo: none",
        ge=0.0,
    )
    device: Device = device_option("SAM runs")
    half: bool = autocast_option(f"{_GG}: `--amp`")

    def conflicts(self) -> Iterator[Conflict]:
        """The grid of points in the smallest crops must not be empty."""
        factor = self.crop_n_points_downscale_factor**self.crop_n_layers
        if self.points_per_side < factor:
            yield Conflict(
                ("points_per_side", "crop_n_layers", "crop_n_points_downscale_factor"),
                f"`points_per_side: {self.points_per_side}` leaves no point in the last of "
                f"{self.crop_n_layers} layers of crops, where it is divided by {factor}; lower "
                "`crop_n_layers` or `crop_n_points_downscale_factor`",
            )


class MasksConfig(Section):
    """Where the segments come from."""

    backend: Literal["graph", "precomputed", "sam"] = option(
        "graph",
        "graph segments by colour and needs no weights; precomputed reads ID images; sam asks "
        "Segment Anything, as the paper does.",
    )
    folder: UserPath | None = option(
        None,
        "Folder of ID images for `precomputed`, one `<image name without suffix>.png` for each "
        "training view, in the photographs' size; null takes the scene's own `object_mask/`.",
    )
    graph: GraphMasksConfig = option(GraphMasksConfig(), "Parameters of the backend `graph`.")
    sam: SamMasksConfig = option(SamMasksConfig(), "Parameters of the backend `sam`.")

    def weights(self) -> dict[str, Path | None]:
        """Return SAM's checkpoint where SAM is the backend."""
        return {f"sam_{self.sam.model}": self.sam.checkpoint} if self.backend == "sam" else {}

    def conflicts(self) -> Iterator[Conflict]:
        """A folder of masks is of no use to a backend that makes them."""
        if self.folder is not None and self.backend != "precomputed":
            yield Conflict(
                ("folder", "backend"),
                f"`folder` is read by `backend: precomputed` only, but the backend is "
                f"`{self.backend}`; set `backend: precomputed` or remove `folder`",
            )
