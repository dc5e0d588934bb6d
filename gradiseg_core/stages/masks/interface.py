"""What a mask backend is.

A backend makes segments of one view at a time. It lives in one module and is registered in
`registry.BACKENDS` by a factory, which checks at once that everything it needs is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from numpy.typing import NDArray

from gradiseg_core.config.masks import MasksConfig


@dataclass(frozen=True)
class Segmentation:
    """The task: which views, and where their files are.

    Attributes:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`.
        names: File names of the training views that have a camera, sorted.
        config: Configuration of the stage.
        weights: Checkpoints by the names of `config.weights()`.
    """

    scene_dir: Path
    colmap_dir: Path
    names: list[str]
    config: MasksConfig
    weights: Mapping[str, Path] = field(default_factory=dict)

    def image_path(self, name: str) -> Path:
        """Return the path of a view's undistorted photograph."""
        return self.colmap_dir / "images" / name


class Segmenter(Protocol):
    """One backend, ready to run.

    Instances are sent to worker processes, so they must be picklable; a backend that holds a model
    loads it at the first call and sets `max_processes` to 1.

    Attributes:
        max_processes: Most worker processes that may run it at once; None: no limit.
    """

    max_processes: int | None

    def segments(self, name: str) -> NDArray:
        """Return a view's segments, [H, W] integer in 0..65535, in its undistorted frame."""
        ...

    def fingerprint(self, name: str) -> str:
        """Return a text that changes when the view's segments would."""
        ...
