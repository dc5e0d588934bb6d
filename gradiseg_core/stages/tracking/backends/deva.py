"""Backend `deva`: the video tracker that the paper and Gaussian Grouping take their IDs from.

Its driver is :mod:`gradiseg_core.stages.tracking.deva.driver`; docs/association.md says how it is
installed, and that its licence allows non-commercial use only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import (
    Conflict,
    Device,
    InputPath,
    autocast_option,
    constant,
    device_option,
    option,
)
from gradiseg_core.config.checkpoints import Checkpoint
from gradiseg_core.models.sam_options import CHECKPOINTS as SAM_CHECKPOINTS
from gradiseg_core.models.sam_options import SamMasks
from gradiseg_core.stages.tracking.interface import Request, Tracked

REQUIRES = Requires("deva", mem_mb=32000, runtime_min=1440, gpu=True)
_GG = "GG (script/prepare_pseudo_label.sh)"
_GG_DEMO = "GG's DEVA"

CHECKPOINTS = (
    Checkpoint(
        "deva",
        "DEVA's propagation network, which tracks masks over the views",
        "CC BY-NC-SA 4.0 (the repository's; not for commercial use)",
        None,
        url="https://github.com/hkchengrex/Tracking-Anything-with-DEVA/releases/download/v1.0/"
        "DEVA-propagation.pth",
    ),
    *SAM_CHECKPOINTS,
)


class DevaSam(SamMasks):
    """SAM's masks at points, which DEVA tracks."""

    removed: ClassVar[dict[str, str]] = SamMasks.removed | {
        name: f"is no longer a key: SAM runs as DEVA does, `tracking.deva.{name}`"
        for name in ("device", "half")
    }


class Options(BackendOptions):
    """DEVA, the paper's video tracker; for non-commercial use only (docs/association.md)."""

    removed: ClassVar[dict[str, str]] = {
        "max_missed_detections": constant(
            "MAX_MISSED_DETECTIONS", "stages/tracking/deva/package.py"
        ),
        "max_objects_counts": "is no longer a key: `max_objects` counts all objects so far, as in "
        "Gaussian Grouping's DEVA",
        "upsample": "is no longer a key: the probability of each object is enlarged, and then "
        "decided, as in Gaussian Grouping's DEVA",
        "long_term": "is no longer a key: old frames are always condensed in memory",
    } | {
        name: constant("MEMORY", "stages/tracking/deva/package.py")
        for name in (
            "chunk_size",
            "mem_every",
            "max_mid_term_frames",
            "min_mid_term_frames",
            "max_long_term_elements",
            "num_prototypes",
            "top_k",
        )
    }

    checkpoint: InputPath | None = option(None, "DEVA-propagation.pth; null downloads it.")
    detections: Literal["sam_points", "masks"] = option(
        "sam_points",
        "What DEVA tracks: SAM's masks where nothing is tracked yet (`sam_points`), or the "
        "segments of stage `masks`.",
        source=_GG_DEMO,
    )
    size: int = option(
        480,
        "Shorter side of the reduced photographs.",
        unit="px",
        source=_GG,
        ge=16,
    )
    detection_every: int = option(
        5, "Frames from one vote to the next.", unit="frames", source=_GG_DEMO, ge=1
    )
    voting_frames: int = option(
        3,
        "Successive frames whose detections vote; shorter clips are refused.",
        unit="frames",
        source=_GG_DEMO,
        ge=2,
    )
    max_objects: int = option(
        200,
        "Most objects in all; memory is linear in it.",
        unit="objects",
        source=_GG_DEMO,
        ge=1,
    )
    half: bool = autocast_option(f"{_GG}: `--amp`")
    device: Device = device_option()
    sam: DevaSam = option(DevaSam(), "SAM of `detections: sam_points`; it runs on DEVA's `device`.")

    @property
    def needs_masks(self) -> bool:
        """Whether it tracks the segments of stage `masks`."""
        return self.detections == "masks"

    def weights(self) -> dict[str, Path | None]:
        """Return the checkpoints of DEVA, and of SAM where DEVA asks it."""
        return {"deva": self.checkpoint} | (
            self.sam.weights() if self.detections == "sam_points" else {}
        )

    def conflicts(self) -> Iterator[Conflict]:
        """Refuse votes that overlap."""
        if self.voting_frames > self.detection_every:
            yield Conflict(
                ("voting_frames", "detection_every"),
                f"`voting_frames: {self.voting_frames}` frames do not fit between votes every "
                f"`detection_every: {self.detection_every}` frames",
            )


def run(request: Request) -> Tracked:
    """Track the segments of all views; see :func:`.driver.track_views` for the errors."""
    from gradiseg_core.stages.tracking.deva.driver import track_views

    maps, details = track_views(request)
    return Tracked(maps, False, details)
