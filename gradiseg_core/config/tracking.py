"""Configuration of stage `tracking`: one ID per object over all views."""

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
from gradiseg_core.config.masks import SamMasksConfig
from gradiseg_core.config.paths import InputPath, UserPath

_GG = "Gaussian Grouping (script/prepare_pseudo_label.sh)"
_MEASURED = "measured (docs/association.md)"
_GG_DEMO = "Gaussian Grouping (its DEVA's demo_automatic.py, default)"


class SfmTrackingConfig(Section):
    """Backend `sfm`: masks that see the same 3D points are the same object."""

    boundary_share: float = option(
        0.005,
        "Distance from a mask's boundary, as a share of the image diagonal, from which on a point "
        "counts fully; nearer points count less, in proportion.",
        source=_MEASURED,
        ge=0.0,
        le=0.1,
    )
    reproject_angle_deg: float = option(
        60.0,
        "A point is also taken as seen in views that did not detect it, where their viewing "
        "direction lies within this angle of one that did; 0 uses detections only.",
        unit="deg",
        source=_MEASURED,
        ge=0.0,
        lt=90.0,
    )
    depth_tolerance: float = option(
        0.05,
        "Share of its depth by which a reprojected point may lie behind the detected points of the "
        "mask it falls into and still count as visible.",
        source=_MEASURED,
        ge=0.0,
        le=1.0,
    )
    link_threshold: float = option(
        0.4,
        "Masks are joined while their points share a mask in at least this share of the evidence.",
        source=_MEASURED,
        gt=0.0,
        le=1.0,
    )
    join: Literal["auto", "always", "never"] = option(
        "auto",
        "Whether clusters that are always side by side are joined after linking: stripes, print "
        "and faces that are segments of their own in every view. `auto` joins masks of backend "
        "`graph`, which knows colours and not objects; segmenters of whole objects do not need "
        "it, and a fruit that never leaves its bowl would be lost.",
    )
    join_threshold: float = option(
        0.3,
        "Clusters are joined while, over the views that see both, at least this share of the "
        "shorter one's border is their common border.",
        source=_MEASURED,
        gt=0.0,
        le=1.0,
    )
    min_views: int = option(
        2,
        "Objects found in fewer views become 0 (no object) before pixels are filled.",
        unit="views",
        ge=1,
    )
    fill: bool = option(
        True,
        "Give pixels without a mask the ID of the object whose points and outlines they show, "
        "where that is clear.",
        source=_MEASURED,
    )
    split: bool = option(
        True,
        "Divide a mask that covers several objects in one view among them.",
        source=_MEASURED,
    )


class RepairConfig(Section):
    """Repair of a tracker's IDs by SfM tracks; the options of `sfm` hold as well."""

    link_points: float = option(
        5.0,
        "What the tracker's ID of a segment counts, in SfM points that all segments of this ID "
        "would share: more trusts the tracker.",
        unit="points",
        source=_MEASURED,
        gt=0.0,
    )
    window: int = option(
        5,
        "The tracker's IDs are believed within this many successive views; 0: over all.",
        unit="views",
        source=_MEASURED,
        ge=0,
    )
    background_share: float = option(
        0.25,
        "Where the tracker left at least this share of all pixels without an ID, they take part "
        "as a segment (and end as ID 0), so that missed objects can be found in them.",
        source=_MEASURED,
        ge=0.0,
        le=1.0,
    )


class PrecomputedTrackingConfig(Section):
    """Backend `precomputed`: consistent ID maps made elsewhere."""

    folder: UserPath | None = option(
        None,
        "Folder of `<view>.png` ID maps (8 or 16 bits, one channel, the photographs' size); null "
        "takes the scene's own `object_mask/`.",
    )
    keep_ids: bool = option(
        False,
        "Keep the given ID values, so that IDs chosen by hand stay valid; false numbers them "
        "1..n by area, and `objects.json` keeps the given ones (`given_ids`).",
    )


class DevaTrackingConfig(Section):
    """Backend `deva`: Tracking Anything with Decoupled Video Segmentation (ICCV 2023).

    Optional and for non-commercial use only (docs/association.md).
    """

    checkpoint: InputPath | None = option(
        None, "Checkpoint file DEVA-propagation.pth; null has it downloaded."
    )
    detections: Literal["sam_points", "masks"] = option(
        "sam_points",
        "What DEVA tracks: `sam_points` asks SAM in every frame of a vote, at points where nothing "
        "is tracked yet; `masks` takes the segments of stage `masks`.",
        source=_GG_DEMO,
    )
    size: int = option(
        480,
        "Shorter side that the photographs are resized to, larger or smaller.",
        unit="px",
        source=_GG,
        ge=16,
    )
    detection_every: int = option(
        5, "Frames from one vote to the next.", unit="frames", source=_GG_DEMO, ge=1
    )
    voting_frames: int = option(
        3,
        "Successive frames whose detections vote; shorter clips are refused. A segment needs the "
        "support of another frame, so that one alone finds nothing.",
        unit="frames",
        source=_GG_DEMO,
        ge=2,
    )
    max_missed_detections: int = option(
        5,
        "Votes in which an object may be missing before it is forgotten.",
        unit="votes",
        source=_GG_DEMO,
        ge=0,
    )
    max_objects: int = option(
        200,
        "Most objects; a vote that would exceed them adds none. Memory is linear in it.",
        unit="objects",
        source=_GG_DEMO,
        ge=1,
    )
    max_objects_counts: Literal["ever", "now"] = option(
        "ever",
        "Whether `max_objects` counts all objects so far or those not yet forgotten.",
        source="Gaussian Grouping's DEVA; DEVA itself counts `now` since 2024",
    )
    chunk_size: int = option(
        4,
        "Objects that are computed at once: a matter of speed and memory, not of the result.",
        unit="objects",
        source=_GG,
        ge=1,
    )
    mem_every: int = option(
        5,
        "Frames after which a frame without a vote is memorised.",
        unit="frames",
        source=_GG_DEMO,
        ge=1,
    )
    long_term: bool = option(
        True,
        "Condense old frames in memory; false keeps all of them, and memory grows with the clip.",
        source=_GG_DEMO,
    )
    max_mid_term_frames: int = option(
        10, "Frames in memory before old ones are condensed.", source=_GG_DEMO, unit="frames", ge=2
    )
    min_mid_term_frames: int = option(
        5, "Frames that are left as they are then.", source=_GG_DEMO, unit="frames", ge=1
    )
    max_long_term_elements: int = option(
        10000, "Most condensed elements of an object.", source=_GG_DEMO, unit="elements", ge=1
    )
    num_prototypes: int = option(
        128,
        "Elements that old frames are condensed to at a time.",
        unit="elements",
        source=_GG_DEMO,
        ge=1,
    )
    top_k: int = option(
        30, "Elements of memory that a place of a frame reads.", source=_GG_DEMO, ge=1
    )
    upsample: Literal["bilinear", "nearest"] = option(
        "bilinear",
        "How IDs get from DEVA's size to the photograph's: `bilinear` enlarges each object's "
        "probability and then decides, `nearest` enlarges the decided IDs.",
        source=_GG_DEMO,
    )
    half: bool = autocast_option(f"{_GG}: `--amp`")
    device: Device = device_option("DEVA and SAM run")
    sam: SamMasksConfig = option(
        SamMasksConfig(), "SAM of `detections: sam_points`; `device` and `half` are those above."
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Votes and memory must fit between one another, and SAM is asked at points."""
        if self.voting_frames > self.detection_every:
            yield Conflict(
                ("voting_frames", "detection_every"),
                f"`voting_frames: {self.voting_frames}` frames do not fit between votes every "
                f"`detection_every: {self.detection_every}` frames",
            )
        if self.min_mid_term_frames >= self.max_mid_term_frames:
            yield Conflict(
                ("min_mid_term_frames", "max_mid_term_frames"),
                f"`min_mid_term_frames: {self.min_mid_term_frames}` must be below "
                f"`max_mid_term_frames: {self.max_mid_term_frames}`",
            )
        for name in ("crop_n_layers", "min_mask_region_area"):
            if getattr(self.sam, name):
                yield Conflict(
                    (f"sam.{name}",),
                    f"`sam.{name}` must be 0 here: SAM is asked at single points of the whole "
                    "photograph",
                )


class TrackingConfig(Section):
    """How the masks of all views become consistent object IDs."""

    backend: Literal["sfm", "precomputed", "deva", "deva+sfm"] = option(
        "sfm",
        "`sfm` associates the masks by shared SfM points; `precomputed` reads ID maps of another "
        "tracker; `deva` runs the video tracker that the paper takes; `deva+sfm` is `deva` with "
        "`repair: sfm`.",
    )
    repair: Literal["none", "sfm"] = option(
        "none",
        "`sfm` lets SfM tracks split and join the IDs of `precomputed` or `deva`.",
        source=_MEASURED,
    )
    overflow: Literal["merge_smallest", "error"] = option(
        "merge_smallest",
        "What happens to more objects than the classifier has classes: the smallest are merged "
        "into the object that they border most (recorded in objects.json), or the job fails.",
    )
    contact_sheet_views: int = option(
        40, "Most views shown in the contact sheet, evenly spaced.", unit="views", ge=1, le=400
    )
    sfm: SfmTrackingConfig = option(SfmTrackingConfig(), "Options of backend `sfm`.")
    precomputed: PrecomputedTrackingConfig = option(
        PrecomputedTrackingConfig(), "Options of backend `precomputed`."
    )
    deva: DevaTrackingConfig = option(DevaTrackingConfig(), "Options of backend `deva`.")
    repairing: RepairConfig = option(RepairConfig(), "Options of `repair: sfm`.")

    @property
    def repairs(self) -> bool:
        """Whether SfM tracks repair the backend's IDs."""
        return self.repair == "sfm" or self.backend == "deva+sfm"

    @property
    def needs_masks(self) -> bool:
        """Whether the stage reads the segments of stage `masks`."""
        if self.backend.startswith("deva"):
            return self.deva.detections == "masks"
        return self.backend == "sfm"

    def weights(self) -> dict[str, Path | None]:
        """Return the checkpoints of DEVA, and of SAM where DEVA asks it."""
        if not self.backend.startswith("deva"):
            return {}
        named = {"deva": self.deva.checkpoint}
        if self.deva.detections == "sam_points":
            named[f"sam_{self.deva.sam.model}"] = self.deva.sam.checkpoint
        return named

    def conflicts(self) -> Iterator[Conflict]:
        """There must be IDs to repair."""
        if self.repair == "sfm" and self.backend == "sfm":
            yield Conflict(
                ("repair", "backend"),
                "`repair: sfm` repairs the IDs of `precomputed` or `deva`; `backend: sfm` has no "
                "others: remove `repair`",
            )
