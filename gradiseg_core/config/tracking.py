"""Configuration of stage `tracking`: one ID per object over all views."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from gradiseg_core.config.base import Section, option


class SfmTrackingConfig(Section):
    """Backend `sfm`: masks that see the same 3D points are the same object."""

    boundary_share: float = option(
        0.005,
        "Distance from a mask's boundary, as a share of the image diagonal, from which on a point "
        "counts fully; nearer points count less, in proportion.",
        source="measured (docs/association.md)",
        ge=0.0,
        le=0.1,
    )
    reproject_angle_deg: float = option(
        60.0,
        "A point is also taken as seen in views that did not detect it, where their viewing "
        "direction lies within this angle of one that did; 0 uses detections only.",
        unit="deg",
        source="measured (docs/association.md)",
        ge=0.0,
        lt=90.0,
    )
    depth_tolerance: float = option(
        0.05,
        "Share of its depth by which a reprojected point may lie behind the detected points of the "
        "mask it falls into and still count as visible.",
        source="measured (docs/association.md)",
        ge=0.0,
        le=1.0,
    )
    link_threshold: float = option(
        0.4,
        "Masks are joined while their points share a mask in at least this share of the evidence.",
        source="measured (docs/association.md)",
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
        source="measured (docs/association.md)",
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
        source="measured (docs/association.md)",
    )
    split: bool = option(
        True,
        "Divide a mask that covers several objects in one view among them.",
        source="measured (docs/association.md)",
    )


class PrecomputedTrackingConfig(Section):
    """Backend `precomputed`: consistent ID maps made elsewhere."""

    folder: Path | None = option(
        None,
        "Folder of `<view>.png` ID maps (8 or 16 bits, one channel, the photographs' size); null "
        "takes the scene's own `object_mask/`.",
    )
    keep_ids: bool = option(
        False,
        "Keep the given ID values, so that IDs chosen by hand stay valid; false numbers them "
        "1..n by area.",
    )


class TrackingConfig(Section):
    """How the masks of all views become consistent object IDs."""

    backend: Literal["sfm", "precomputed"] = option(
        "sfm",
        "`sfm` associates the masks by shared SfM points; `precomputed` reads ID maps of another "
        "tracker.",
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
