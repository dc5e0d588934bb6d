"""Configuration of stage `masks`: class-agnostic segments of every training view."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from gradiseg_core.config.base import Section, option

_MEASURED = "measured on two scenes with known objects, see docs/masks.md"


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


class MasksConfig(Section):
    """Where the segments come from."""

    backend: Literal["graph", "precomputed"] = option(
        "graph",
        "graph segments by colour and needs no weights; precomputed reads ID images.",
    )
    folder: Path | None = option(
        None,
        "Folder of ID images for `precomputed`, one `<image name without suffix>.png` for each "
        "training view, in the photographs' size; null takes the scene's own `object_mask/`.",
    )
    graph: GraphMasksConfig = option(GraphMasksConfig(), "Parameters of the backend `graph`.")

    @model_validator(mode="after")
    def _folder_is_used(self) -> MasksConfig:
        if self.folder is not None and self.backend != "precomputed":
            raise ValueError(
                f"`folder` is read by `backend: precomputed` only, but the backend is "
                f"`{self.backend}`; set `backend: precomputed` or remove `folder`"
            )
        return self
