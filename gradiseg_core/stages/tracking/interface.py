"""What a backend of stage `tracking` is given and returns: ``run(request)`` to :class:`Tracked`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradiseg_core.files.manifest import SceneView
from gradiseg_core.stages.tracking.overflow import IdMaps


@dataclass(frozen=True)
class Request:
    """The task: which views, and where their files are.

    Attributes:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`.
        masks_dir: Output folder of stage `masks`; None where the backend needs no masks.
        views: The views to track that have a camera, in order: the training views, or all.
        options: The backend's `Options`.
        seed: Seed for backends that draw random numbers.
        threads: Threads that the backend may use.
        weights: Checkpoints by the names of `options.weights()`.
        geometry_dir: Output folder of stage `geometry`; None where the backend does not read it.
        association: Options of backend `sfm`, for a backend that asks it.
    """

    scene_dir: Path
    colmap_dir: Path
    masks_dir: Path | None
    views: list[SceneView]
    options: Any
    seed: int
    threads: int
    weights: Mapping[str, Path] = field(default_factory=dict)
    geometry_dir: Path | None = None
    association: Any = None


@dataclass(frozen=True)
class Tracked:
    """What a backend returns.

    Attributes:
        maps: By stem, [H, W] int32 IDs in the undistorted view's frame, consistent over all views;
            0 = no object. Every view of the request has one.
        keep_ids: Whether the IDs' values must survive.
        details: JSON-ready facts for objects.json.
    """

    maps: IdMaps
    keep_ids: bool
    details: dict
