"""Stage `geometry`: a training from colour alone, its surface, and the objects on it.

It runs once for each scene and every variant shares it. That no objects are found is a result: the
stages that follow then take another way.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, Frame, training_size
from gradiseg_core.compute.cpu_runtime import set_threads
from gradiseg_core.compute.placement import training_device
from gradiseg_core.config.geometry import GeometryConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files import geometry as saved
from gradiseg_core.files.geometry import Surface
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.trained import save_run
from gradiseg_core.geometry.find import (
    NoSurfaceError,
    Segmented,
    segment_scene,
    sharpened,
    to_save,
)
from gradiseg_core.geometry.options import GeometryOptions
from gradiseg_core.geometry.prepare import Renderings, render_cameras, train_colours
from gradiseg_core.geometry.support import Support
from gradiseg_core.progress import Progress
from gradiseg_core.stages.geometry.pictures import Shown, write_pictures

logger = logging.getLogger(__name__)

#: Fewer sparse points give no Gaussians to start from.
_MIN_POINTS = 4

#: Ignored pixels of views, [h, w]; None where there are none.
Ignored = Sequence[NDArray[np.bool_] | None]


@dataclass(frozen=True)
class _Outcome:
    """What came of the surface."""

    surface: Surface | None
    support: Support | None
    segmented: Segmented | None
    reason: str | None
    measured: dict[str, Any]


def reconstruct_surface(
    scene_dir: Path,
    colmap_dir: Path,
    out_dir: Path,
    config: GeometryConfig,
    *,
    seed: int,
    threads: int,
    options: GeometryOptions | None = None,
) -> dict[str, Any]:
    """Train from colour alone, fuse the surface, and cut it into objects.

    Writes what :mod:`gradiseg_core.files.geometry` describes. Training views alone are trained on
    and fused; depth and normals are written of all views that have a camera.

    Args:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`.
        out_dir: Where to write.
        config: Length and size of the training, and where it runs.
        seed: Of all randomness.
        threads: CPU threads.
        options: All other parameters; None takes the defaults.

    Returns:
        The content of ``geometry.json``.

    Raises:
        InputError: If no training view has a camera.
        GradisegError: If training diverges.
        BackendUnavailableError: If a GPU is asked for and cannot be used.
    """
    from gradiseg_core.files.colmap import load_cameras, load_points

    set_threads(threads)
    chosen = options or GeometryOptions()
    given = {"iterations": config.iterations, "longest_side": config.longest_side}
    chosen = chosen.model_copy(update={"prepare": chosen.prepare.model_copy(update=given)})
    manifest, cameras = SceneManifest.load(scene_dir), load_cameras(colmap_dir)
    training = [cameras[view.name] for view in manifest.train_views if view.name in cameras]
    testing = [cameras[view.name] for view in manifest.test_views if view.name in cameras]
    if not training:
        raise InputError(f"no training view of {scene_dir} has a camera in {colmap_dir}")
    _empty(out_dir)
    frame = Frame.load(colmap_dir)
    too_little = _too_little(len(training), len(load_points(colmap_dir)[0]), chosen)
    if too_little is not None:
        return _finish(out_dir, _Outcome(None, None, None, too_little, {}), [], 1.0, frame, "")

    device = training_device(config.device, "geometry.device")
    name = "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)
    logger.info(
        "%d iterations from colour alone at %d px, %d training views, on %s",
        config.iterations, config.longest_side, len(training), name,
    )  # fmt: skip
    names = [camera.name for camera in training]
    trainer = train_colours(colmap_dir, names, chosen.prepare, seed, device)
    # As any trained scene, although identities mean nothing there.
    save_run(trainer, out_dir / "gaussians", "geometry")
    small = [_resized(camera, config.longest_side) for camera in (*training, *testing)]
    renderings = render_cameras(trainer, small, chosen.prepare.depth)
    ignored = [read_ignored(colmap_dir, c.stem, (c.width, c.height)) for c in small]
    renderings = replace(renderings, alphas=_without(renderings.alphas, ignored))
    renderings = _sharpened(renderings, ignored[: len(training)], colmap_dir, chosen)
    outcome = _segment(renderings, len(training), chosen)
    unit = saved.depth_unit(max(float(depth.max()) for depth in renderings.depths) / frame.scale)
    shown = Shown(renderings.cameras, renderings.depths, outcome.surface, None)
    if outcome.segmented is not None:
        shown = Shown(
            renderings.cameras, renderings.depths, outcome.surface,
            outcome.segmented.cuts["objects"],
        )  # fmt: skip
    write_pictures(out_dir, colmap_dir, shown, chosen.labels, unit, frame)
    stems = [camera.stem for camera in renderings.cameras]
    return _finish(out_dir, outcome, stems, unit, frame, name)


def _too_little(views: int, points: int, options: GeometryOptions) -> str | None:
    """Return why a training would be of no use, before it takes its time."""
    if views < options.failure.min_views:
        return (
            f"{views} training views are too few to fuse a surface; at least "
            f"{options.failure.min_views} are needed"
        )
    if points < _MIN_POINTS:
        return f"the reconstruction has {points} sparse points, and Gaussians start from them"
    return None


def _resized(camera: Camera, longest_side: int) -> Camera:
    return camera.resized(*training_size(camera.width, camera.height, longest_side, None))


def _without(alphas: list[NDArray[np.float32]], ignored: Ignored) -> list[NDArray[np.float32]]:
    """Return opacities of 0 in ignored pixels, so that nothing is searched or fused there."""
    return [
        alpha if mask is None else np.where(mask, np.float32(0.0), alpha)
        for alpha, mask in zip(alphas, ignored, strict=True)
    ]


def _sharpened(
    renderings: Renderings, ignored: Ignored, colmap_dir: Path, options: GeometryOptions
) -> Renderings:
    """Sharpen the depth of the training views by their photographs; test views stay unseen.

    Ignored pixels of a photograph show what is rendered there, which is the scene behind them.
    """
    training = len(ignored)
    cameras = renderings.cameras[:training]
    photographs = [
        read_image(colmap_dir / "images" / camera.name, (camera.width, camera.height))
        for camera in cameras
    ]
    for view, mask in enumerate(ignored):
        if mask is not None:
            shown = (255.0 * renderings.colours[view] + 0.5).astype(np.uint8)
            photographs[view] = np.where(mask[..., None], shown, photographs[view])
    with Progress("sharpening depth", training, "views") as progress:
        depths = sharpened(
            renderings.depths[:training], renderings.alphas[:training], cameras, photographs,
            options, progress.advance,
        )  # fmt: skip
    return replace(renderings, depths=[*depths, *renderings.depths[training:]])


def _segment(renderings: Renderings, training: int, options: GeometryOptions) -> _Outcome:
    """Fuse and cut the first ``training`` views."""
    try:
        with Progress("fusing the surface", training, "views") as progress:
            segmented = segment_scene(
                renderings.depths[:training],
                renderings.alphas[:training],
                renderings.colours[:training],
                renderings.cameras[:training],
                options,
                progress.advance,
            )
    except NoSurfaceError as error:
        return _Outcome(error.surface, error.support, None, str(error), error.diagnostics)
    return _Outcome(segmented.surface, segmented.support, segmented, None, segmented.diagnostics)


def _empty(out_dir: Path) -> None:
    """Make sure that nothing of an earlier run survives."""
    if out_dir.is_dir():
        shutil.rmtree(out_dir)
    out_dir.mkdir(parents=True)


def _finish(
    out_dir: Path, outcome: _Outcome, stems: list[str], unit: float, frame: Frame, device: str
) -> dict[str, Any]:
    """Write surface and facts."""
    if outcome.segmented is not None:
        saved.save_surface(out_dir, to_save(outcome.segmented), frame)
    elif outcome.surface is not None:
        surface = outcome.surface
        saved.write_surface_ply(
            out_dir / "surface.ply", surface.points / frame.scale, surface.normals, surface.lab, {}
        )
    facts = {
        "verdict": "failed" if outcome.segmented is None else "found",
        "reason": outcome.reason,
        "agreement": outcome.measured.get("agreement"),
        "objects": outcome.measured.get("objects"),
        "support": _plane(outcome.support, frame),
        "depth_unit": unit,
        "views": stems,
        "device": device,
        "measured": outcome.measured,
    }
    saved.save_facts(out_dir, facts, frame)
    if outcome.reason is None:
        numbers = outcome.measured["objects"]
        logger.info("found %s", ", ".join(f"{count} {cut}" for cut, count in numbers.items()))
    else:
        logger.warning(
            "no objects from geometry: %s. Stage `tracking` will join the segments of `masks` "
            "instead (backend `sfm`)",
            outcome.reason,
        )
    return facts


def _plane(support: Support | None, frame: Frame) -> dict[str, Any] | None:
    """Return the support plane in the units of the files; None without."""
    if support is None or not np.any(support.normal):
        return None
    normal = support.normal / np.linalg.norm(support.normal)
    return {
        "about": "normal @ x = offset in the units and axes of surface.ply; into free space",
        "normal": [float(value) for value in normal],
        "offset": float(normal @ support.point) / frame.scale,
    }
