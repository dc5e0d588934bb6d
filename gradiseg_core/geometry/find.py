"""Objects from geometry: fuse, cut, draw; from depth maps to ID maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.errors import ReconstructionError
from gradiseg_core.files.geometry import SavedSurface, Surface
from gradiseg_core.geometry import labels, parts
from gradiseg_core.geometry.flat import without_flat_things
from gradiseg_core.geometry.fusion import Field, fuse, unproject, volume_of
from gradiseg_core.geometry.labelling import (
    FoundObject,
    describe,
    label_view,
    reduced,
    thin_parts,
)
from gradiseg_core.geometry.options import GeometryOptions
from gradiseg_core.geometry.segmentation import (
    Hierarchy,
    absorb_small,
    build_hierarchy,
    is_background,
)
from gradiseg_core.geometry.stereo import refine
from gradiseg_core.geometry.support import Support, find_support
from gradiseg_core.geometry.surface import extract

logger = logging.getLogger(__name__)

#: Depths agree up to this many voxels.
_AGREEMENT_VOXELS = 2.0


class NoSurfaceError(ReconstructionError):
    """The views give no surface that objects could be cut from.

    Attributes:
        diagnostics: What was measured until then.
        surface: What was fused; None where nothing was.
        support: What was found to stand on; None where it was not looked for.
    """

    def __init__(
        self,
        message: str,
        diagnostics: dict[str, Any],
        surface: Surface | None = None,
        support: Support | None = None,
    ) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics
        self.surface, self.support = surface, support


@dataclass(frozen=True)
class Segmented:
    """A scene's surface and the objects on it, at every cut; no view is labelled yet.

    Attributes:
        surface: The fused surface, N nodes.
        support: What the objects stand on.
        hierarchy: All coarser and finer cuts of the surface.
        cuts: By granularity, the object of every node, [N] int32; 0: background.
        diagnostics: What was measured, and seconds of each step.
    """

    surface: Surface
    support: Support
    hierarchy: Hierarchy
    cuts: dict[str, NDArray[np.int32]]
    diagnostics: dict[str, Any]


@dataclass(frozen=True)
class Found(Segmented):
    """What :func:`find_objects` returns.

    Attributes:
        ids: Per view [H, W] int32, of the photographs' sizes; 0: background.
        objects: By ID.
        object_of: [N] int32, ID of every node at the chosen cut; 0: background.
    """

    ids: list[NDArray[np.int32]]
    objects: list[FoundObject]
    object_of: NDArray[np.int32]


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
        NoSurfaceError: As :func:`segment_scene`.
    """
    clock = _Clock()
    depths = sharpened(depths, alphas, cameras, photographs, options)
    clock.lap("stereo")
    cut = segment_scene(depths, alphas, colours, cameras, options)
    clock.last = time.perf_counter()
    object_of = cut.cuts[options.segmentation.granularity]
    up = None
    if np.any(cut.support.normal):
        up = cut.support.normal, float(cut.support.normal @ cut.support.point)
    thin = thin_parts(cut.surface, object_of, up, cameras, photographs, options)
    clock.lap("thin")
    ids = [
        label_view(cut.surface, object_of, thin, depth, camera, photograph, options)
        for depth, camera, photograph in zip(depths, cameras, photographs, strict=True)
    ]
    clock.lap("labels")
    if others is not None:
        ids = labels.take_over(ids, others, options.labels.other_share)
    cut.diagnostics["seconds"] |= clock.seconds
    objects = describe(ids, cut.surface.points, object_of, cut.support.height, cut.surface.voxel)
    return Found(
        cut.surface, cut.support, cut.hierarchy, cut.cuts, cut.diagnostics, ids, objects, object_of
    )


def segment_scene(
    depths: Sequence[NDArray[np.float32]],
    alphas: Sequence[NDArray[np.float32]],
    colours: Sequence[NDArray[np.float32]],
    cameras: Sequence[Camera],
    options: GeometryOptions,
    advance: Callable[[], None] = lambda: None,
) -> Segmented:
    """Fuse the surface of a scene and cut it into objects.

    Args:
        depths: Per view [h, w] float32 along the optical axis, world units; 0: nothing there.
        alphas: Per view [h, w] float32, opacity, 0 to 1.
        colours: Per view [h, w, 3] float32 RGB, 0 to 1.
        cameras: Per view, of the maps' size.
        options: All parameters.
        advance: Called after each view that is fused.

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
    fused = fuse(depths, alphas, colours, cameras, options.fusion, advance)
    clock.lap("fusion")
    surface = extract(fused, options.surface)
    measured |= {"surface_voxels": len(surface), "voxel": surface.voxel}
    clock.lap("surface")
    logger.info("cutting the surface of %s voxels into objects", f"{len(surface):,}")
    _check_surface(surface, fused, depths, alphas, cameras, options, measured)
    clock.lap("check")
    support = find_support(surface, options.support)
    measured |= {
        "support_share": round(float(support.inside.mean()), 3),
        "support_sd_voxels": round(support.sd, 3),
    }
    clock.lap("support")
    support = without_flat_things(support, surface)
    stops = _stops(options)
    hierarchy = build_hierarchy(surface, support, options.segmentation, max(stops.values()))
    ground = _ground(hierarchy, surface, support)
    cuts = {
        name: objects_at(
            hierarchy, stop, surface, ground, fused, cameras, options, whole=name != "parts"
        )
        for name, stop in stops.items()
    }
    measured["objects"] = {name: int(numbers.max(initial=0)) for name, numbers in cuts.items()}
    clock.lap("segmentation")
    if measured["objects"]["objects"] == 0:
        raise NoSurfaceError(
            f"no object stands out of the surface of {len(surface)} voxels: all of it is support, "
            "flat, cut off by the frame, or at the rim of what the cameras look at",
            measured,
            surface,
            support,
        )
    measured["seconds"] = clock.seconds
    logger.info("objects from geometry: %s", measured, extra={"not_shown": True})
    return Segmented(surface, support, hierarchy, cuts, measured)


def to_save(segmented: Segmented) -> SavedSurface:
    """Return the surface and its cuts as their file holds them."""
    support, hierarchy = segmented.support, segmented.hierarchy
    return SavedSurface(
        **vars(segmented.surface),
        height=support.height,
        in_support=support.inside,
        supervoxels=hierarchy.supervoxels,
        merges=hierarchy.merges,
        costs=hierarchy.costs,
        cuts=segmented.cuts,
    )


def sharpened(
    depths: Sequence[NDArray[np.float32]],
    alphas: Sequence[NDArray[np.float32]],
    cameras: Sequence[Camera],
    photographs: Sequence[NDArray[np.uint8]],
    options: GeometryOptions,
    advance: Callable[[], None] = lambda: None,
) -> list[NDArray[np.float32]]:
    """Return the depth maps, sharpened by the photographs where the options ask for it.

    Args:
        depths: Per view [h, w].
        alphas: Per view [h, w].
        cameras: Per view, of the maps' size.
        photographs: Per view [H, W, 3] uint8, of any size.
        options: All parameters.
        advance: Called after each view.
    """
    if options.stereo.iterations == 0:
        return list(depths)
    small = [
        reduced(photograph, (camera.width, camera.height))
        for photograph, camera in zip(photographs, cameras, strict=True)
    ]
    greys = [(image @ np.array([0.299, 0.587, 0.114])).astype(np.float32) for image in small]
    volume = volume_of(cameras, options.fusion)
    found = refine(depths, alphas, cameras, greys, volume, options.stereo, advance)
    return [entry.depth for entry in found]


@dataclass(frozen=True)
class _Ground:
    """The support, and what looks like it.

    Attributes:
        support: The support.
        steps: [N], see :func:`.parts.colour_steps`.
        shades: [N], see :func:`.parts.shadow_steps`.
        bits: [N] bool, see :func:`.parts.bits_of_support`.
    """

    support: Support
    steps: NDArray[np.float64]
    shades: NDArray[np.float64]
    bits: NDArray[np.bool_]


def _ground(hierarchy: Hierarchy, surface: Surface, support: Support) -> _Ground:
    steps = parts.colour_steps(surface, support)
    bits = parts.bits_of_support(hierarchy.supervoxels, surface, support, steps)
    return _Ground(support, steps, parts.shadow_steps(surface, support), bits)


def objects_at(
    hierarchy: Hierarchy,
    stop: float,
    surface: Surface,
    ground: _Ground,
    fused: Field,
    cameras: Sequence[Camera],
    options: GeometryOptions,
    *,
    whole: bool,
) -> NDArray[np.int32]:
    """Return the object of every node at one cut of the hierarchy, [N]; 0: background.

    IDs run from 1, the largest object first. With ``whole``, parts that hang belong to what they
    hang on.
    """
    chosen = options.segmentation
    regions = absorb_small(hierarchy.cut(stop), surface, chosen)
    regions, support = parts.trimmed(regions, ground.support, ground.bits)
    regions = parts.join_enclosed(regions, surface, support, chosen)
    if whole:
        regions = parts.join_hanging(regions, surface, support, chosen)
    background = is_background(regions, surface, support, fused.volume, cameras, chosen)
    background |= parts.slabs(regions, surface, support, ground.steps, ground.shades, background)
    background |= parts.rims(regions, surface, cameras, ground.steps, len(background))
    if whole:
        regions = parts.join_convex(regions, surface, ~background, chosen)
    regions = np.where(parts.feet(surface, support, ground.steps, ground.shades), -1, regions)
    sizes = np.bincount(regions[regions >= 0], minlength=len(background))
    kept = np.flatnonzero(~background & (sizes >= chosen.min_size))
    order = kept[np.lexsort((kept, -sizes[kept]))]
    number = np.zeros(len(background) + 1, np.int32)  # the last one is that of no region
    number[order] = np.arange(1, len(order) + 1)
    return number[regions]


def _stops(options: GeometryOptions) -> dict[str, float]:
    chosen = options.segmentation
    return {"parts": chosen.parts, "objects": chosen.objects, "groups": chosen.groups}


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
            surface,
        )
    shares = [
        _agreement(surface, fused, depth, alpha, camera, options)
        for depth, alpha, camera in zip(depths, alphas, cameras, strict=True)
    ]
    agreement = float(np.mean(shares))
    measured["agreement"] = round(agreement, 3)
    measured["agreement_of_views"] = [round(share, 3) for share in shares]
    if agreement < limit.min_agreement:
        raise NoSurfaceError(
            f"only {agreement:.0%} of the views' pixels show the fused surface; at least "
            f"{limit.min_agreement:.0%} are needed. The views are "
            "too few or too far apart, or the photographs show hardly any texture",
            measured,
            surface,
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
