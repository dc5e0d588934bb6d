"""What a backend of stage `masks` is given and returns.

``run(request)`` checks at once that all it needs is there and returns a :class:`Segmenter`, which
makes the segments of one view at a time. A backend that needs nothing but the photograph returns
:class:`OfPhotographs` around a function from an image to its segments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.images import read_image


@dataclass(frozen=True)
class Request:
    """The task: which views, and where their files are.

    Attributes:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`.
        names: File names of the views to segment, those with a camera, in order.
        options: The backend's `Options`.
        weights: Checkpoints by the names of `options.weights()`.
    """

    scene_dir: Path
    colmap_dir: Path
    names: list[str]
    options: Any
    weights: Mapping[str, Path] = field(default_factory=dict)

    def image_path(self, name: str) -> Path:
        """Return the path of a view's undistorted photograph."""
        return self.colmap_dir / "images" / name


class Segmenter(Protocol):
    """The result of a backend: segments of a view, when they are asked for.

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


@dataclass
class OfPhotographs:
    """Segments that depend on the photograph and the options alone.

    Attributes:
        request: The task.
        segment: From an image [H, W, 3] uint8 and the options to its segments [H, W], 0 = none; a
            function of a module's top level.
        version: Changes when the same image and options come out differently: a number that counts
            up, and versions of the libraries that do the work.
        max_processes: Most worker processes that may run it at once; None: no limit.
    """

    request: Request
    segment: Callable[[NDArray[np.uint8], Any], NDArray]
    version: str
    max_processes: int | None = None

    def segments(self, name: str) -> NDArray:
        """Return the segments of the view's undistorted photograph."""
        return self.segment(read_image(self.request.image_path(name)), self.request.options)

    def fingerprint(self, name: str) -> str:
        """Return a digest of the photograph, the options and the version."""
        digest = hashlib.sha256(self.request.image_path(name).read_bytes())
        digest.update(self.request.options.model_dump_json().encode())
        digest.update(self.version.encode())
        return digest.hexdigest()
