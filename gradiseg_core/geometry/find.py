"""Objects from geometry: fuse, cut, draw; from depth maps to ID maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.errors import ReconstructionError
from gradiseg_core.files.id_maps import resize_by_area
from gradiseg_core.geometry import labels
from gradiseg_core.geometry.fusion import Field, fuse, unproject
from gradiseg_core.geometry.options import GeometryOptions
from gradiseg_core.geometry.segmentation import (
    Hierarchy,
    absorb_small,
    build_hierarchy,
    is_background,
)
from gradiseg_core.geometry.support import Support, find_support
from gradiseg_core.geometry.surface import Surface, extract

logger = logging.getLogger(__name__)

#: Depths agree up to this many voxels.
_AGREEMENT_VOXELS = 2.0


class NoSurfaceError(ReconstructionError):
    """The views give no surface that objects could be cut from.

    Attributes:
        diagnostics: What was measured until then.
    """

    def __init__(self, message: str, diagnostics: dict[str, Any]) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


@dataclass(frozen=True)
class FoundObject:
    """One object.

    Attributes:
        id: Its ID in the maps, 1, 2, ...; the largest object has 1.
        size: Voxels of its surface.
        center: Mean of its points, world, [3].
        height: Of its top (98th percentile) over the support, world units.
        views: Views that show it.
    """

    id: int
    size: int
    center: NDArray[np.float64]
    height: float
    views: int


@dataclass(frozen=True)
class Found:
    """What :func:`find_objects` returns.

    Attributes:
        ids: Per view [H, W] int32, of the photographs' sizes; 0: background.
        objects: By ID.
        surface: The fused surface.
        object_of: [N] int32, ID of every node of the surface; 0: background.
        support: What the objects stand on.
        hierarchy: All coarser and finer cuts of the surface.
        diagnostics: What was measured, and seconds of each step.
    """

    ids: list[NDArray[np.int32]]
    objects: list[FoundObject]
    surface: Surface
    object_of: NDArray[np.int32]
    support: Support
    hierarchy: Hierarchy
    diagnostics: dict[str, Any]


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self.last = round(now - self.last, 2), now


def find_objects(
    depths: Sequence[NDArray[np.float32]],
    alphas: Sequence[NDArray[np.float32]],
    colours: Sequence[NDArray[np.float32]],
    cameras: Sequence[Camera],
    photographs: Sequence[NDArray[np.uint8]],
    options: GeometryOptions,
    others: Sequence[NDArray[np.int32]] | None = None,
) -> Found:
    """Find the objects of a scene and label all views with them.

    Args:
        depths: Per view [h, w] float32 along the optical axis, world units; 0: nothing there.
        alphas: Per view [h, w] float32, opacity, 0 to 1.
        colours: Per view [h, w, 3] float32 RGB, 0 to 1.
        cameras: Per view, of the maps' size.
        photographs: Per view [H, W, 3] uint8, of the same fields of view; sizes may be larger.
        options: All parameters.
        others: Per view [H, W] IDs of another tracker, for what has no geometry
            (:func:`.labels.take_over`); None: geometry alone.

    Raises:
        NoSurfaceError: If views are too few, or do not agree on a surface, or no object stands
            out of it.
    """
    clock = _Clock()
    measured: dict[str, Any] = {"views": len(depths)}
    if len(depths) < options.failure.min_views:
        raise NoSurfaceError(
            f"{len(depths)} views are too few to fuse a surface; at least "
            f"{options.failure.min_views} are needed",
            measured,
        )
    fused = fuse(depths, alphas, colours, cameras, options.fusion)
    clock.lap("fusion")
    surface = extract(fused, options.surface)
    measured |= {"surface_voxels": len(surface), "voxel": surface.voxel}
    clock.lap("surface")
    _check_surface(surface, fused, depths, alphas, cameras, options, measured)
    clock.lap("check")
    support = find_support(surface, options.support)
    measured |= {
        "support_share": round(float(support.inside.mean()), 3),
        "support_sd_voxels": round(support.sd, 3),
    }
    clock.lap("support")
    hierarchy = build_hierarchy(
        surface, support, options.segmentation, max(_stops(options), default=0.0)
    )
    object_of = objects_at(
        hierarchy, options.segmentation.stop(), surface, support, fused, cameras, options
    )
    measured["objects"] = int(object_of.max(initial=0))
    clock.lap("segmentation")
    if measured["objects"] == 0:
        raise NoSurfaceError(
            f"no object stands out of the surface of {len(surface)} voxels: all of it is support, "
            "flat, cut off by the frame, or at the rim of what the cameras look at",
            measured,
        )
    ids = [
        label_view(surface, object_of, depth, camera, photograph, options)
        for depth, camera, photograph in zip(depths, cameras, photographs, strict=True)
    ]
    clock.lap("labels")
    if others is not None:
        ids = labels.take_over(ids, others, options.labels.other_share)
    measured["seconds"] = clock.seconds
    logger.info("objects from geometry: %s", measured)
    objects = _objects(ids, surface, object_of, support)
    return Found(ids, objects, surface, object_of, support, hierarchy, measured)


def objects_at(
    hierarchy: Hierarchy,
    stop: float,
    surface: Surface,
    support: Support,
    fused: Field,
    cameras: Sequence[Camera],
    options: GeometryOptions,
) -> NDArray[np.int32]:
    """Return the object of every node at one cut of the hierarchy, [N]; 0: background.

    IDs run from 1, the largest object first.
    """
    regions = absorb_small(hierarchy.cut(stop), surface, options.segmentation)
    background = is_background(
        regions, surface, support, fused.volume, cameras, options.segmentation
    )
    sizes = np.bincount(regions[regions >= 0], minlength=len(background))
    kept = np.flatnonzero(~background & (sizes >= options.segmentation.min_size))
    order = kept[np.lexsort((kept, -sizes[kept]))]
    number = np.zeros(len(background) + 1, np.int32)  # the last one is that of no region
    number[order] = np.arange(1, len(order) + 1)
    return number[regions]


def label_view(
    surface: Surface,
    object_of: NDArray[np.int32],
    depth: NDArray[np.float32],
    camera: Camera,
    photograph: NDArray[np.uint8],
    options: GeometryOptions,
) -> NDArray[np.int32]:
    """Return the ID map of one view, of the photograph's size.

    Args:
        surface: N nodes.
        object_of: [N].
        depth: [h, w] the view's own.
        camera: Of the view, at any size.
        photograph: [H, W, 3].
        options: All parameters.
    """
    height, width = photograph.shape[:2]
    size = training_size(width, height, options.labels.longest_side, None)
    node, _ = labels.draw(surface, camera.resized(*size), options.labels.disc)
    drawn = labels.surface_labels(
        node, object_of, surface, depth, camera.resized(*size), options.labels
    )
    snapped = labels.snap(drawn, _reduced(photograph, size), options.labels)
    return resize_by_area(snapped, (height, width))


def _reduced(photograph: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    if (photograph.shape[1], photograph.shape[0]) == size:
        return photograph
    return np.asarray(Image.fromarray(photograph).resize(size, Image.Resampling.BOX))


def _stops(options: GeometryOptions) -> list[float]:
    chosen = options.segmentation
    return [chosen.parts, chosen.objects, chosen.groups]


def _check_surface(
    surface: Surface,
    fused: Field,
    depths: Sequence[NDArray[np.float32]],
    alphas: Sequence[NDArray[np.float32]],
    cameras: Sequence[Camera],
    options: GeometryOptions,
    measured: dict[str, Any],
) -> None:
    """Measure how far the views agree on the surface.

    Raises:
        NoSurfaceError: If the surface is too small, or too few pixels show it.
    """
    limit = options.failure
    if len(surface) < limit.min_surface:
        raise NoSurfaceError(
            f"the views agree on a surface of {len(surface)} voxels only; at least "
            f"{limit.min_surface} are needed. Poses may be wrong, "
            "or the photographs show hardly any texture",
            measured,
        )
    shares = [
        _agreement(surface, fused, depth, alpha, camera, options)
        for depth, alpha, camera in zip(depths, alphas, cameras, strict=True)
    ]
    agreement = float(np.mean(shares))
    measured["agreement"] = round(agreement, 3)
    if agreement < limit.min_agreement:
        raise NoSurfaceError(
            f"only {agreement:.0%} of the views' pixels show the fused surface; at least "
            f"{limit.min_agreement:.0%} are needed. The views are "
            "too few or too far apart, or the photographs show hardly any texture",
            measured,
        )


def _agreement(
    surface: Surface,
    fused: Field,
    depth: NDArray[np.float32],
    alpha: NDArray[np.float32],
    camera: Camera,
    options: GeometryOptions,
) -> float:
    """Return the share of a view's pixels in the ball whose depth is the surface's; 0: no pixel."""
    _, shown = labels.draw(surface, camera, options.labels.disc)
    away = np.linalg.norm(unproject(depth, camera) - fused.volume.focus, axis=-1)
    counts = (depth > 0) & (alpha >= options.fusion.min_opacity) & (away < fused.volume.radius)
    agrees = np.abs(shown - depth) <= _AGREEMENT_VOXELS * surface.voxel
    return float((agrees & counts).sum() / counts.sum()) if counts.any() else 0.0


def _objects(
    ids: Sequence[NDArray[np.int32]],
    surface: Surface,
    object_of: NDArray[np.int32],
    support: Support,
) -> list[FoundObject]:
    count = int(object_of.max(initial=0))
    views = np.zeros(count + 1, np.int64)
    for view in ids:
        present = np.unique(view)
        views[present[present <= count]] += 1
    found = []
    for number in range(1, count + 1):
        nodes = object_of == number
        top = float(np.percentile(support.height[nodes], 98)) * surface.voxel
        center = surface.points[nodes].mean(axis=0)
        found.append(FoundObject(number, int(nodes.sum()), center, top, int(views[number])))
    return found
