"""Backend `sfm`: masks that see the same 3D points are the same object (`sfm_tracks`)."""

from __future__ import annotations

import json
from typing import ClassVar, Literal

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import constant, option
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tracking.interface import Request, Tracked

REQUIRES = Requires("masks")
_MEASURED = "measured (studies/association.md)"


class Options(BackendOptions):
    """Masks that see the same SfM points are one object."""

    removed: ClassVar[dict[str, str]] = {
        key: constant(key.upper(), "stages/tracking/sfm_tracks.py")
        for key in ("boundary_share", "reproject_angle_deg", "join_threshold")
    } | {"depth_tolerance": constant("DEPTH_TOLERANCE", "stages/tracking/evidence.py")}

    link_threshold: float = option(
        0.4,
        "Join masks that share at least this share of the evidence of their points.",
        source=_MEASURED,
        gt=0.0,
        le=1.0,
    )
    join: Literal["auto", "always", "never"] = option(
        "auto",
        "Also join clusters that are always side by side; `auto`: for masks of `graph` only.",
    )
    min_views: int = option(
        2,
        "Objects in fewer views become 0 (no object).",
        unit="views",
        ge=1,
    )
    fill: bool = option(
        True,
        "Give pixels without a mask to the object that they clearly show.",
        source=_MEASURED,
    )
    split: bool = option(
        True,
        "Divide a mask that covers several objects in one view.",
        source=_MEASURED,
    )

    @property
    def needs_masks(self) -> bool:
        """It reads the segments of stage `masks`."""
        return True


def run(request: Request) -> Tracked:
    """Associate the segments of all views.

    Raises:
        InputError: If segments are missing or do not fit their views.
    """
    from gradiseg_core.stages.tracking.sfm_tracks import load_views, solve

    if request.masks_dir is None:
        raise InputError("tracking.backend: sfm needs the output folder of stage `masks`")
    stems = [view.stem for view in request.views]
    views, xyz = load_views(request.colmap_dir, request.masks_dir, stems)
    options: Options = request.options
    if options.join == "auto":
        about = request.masks_dir / "masks.json"  # absent where a folder of masks was handed over
        by_graph = about.is_file() and json.loads(about.read_text())["backend"] == "graph"
        options = options.model_copy(update={"join": "always" if by_graph else "never"})
    result = solve(views, xyz, options)
    return Tracked(result.maps, False, result.details)
