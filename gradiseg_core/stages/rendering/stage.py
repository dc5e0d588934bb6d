"""Stage 6: render the views of a trained scene and keep what later stages read.

Grounding and metrics work from these files alone, so that no score depends on rendering again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.compute.cpu_runtime import set_threads
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.annotations import true_id_map
from gradiseg_core.files.id_maps import read_id_map, resize_by_centres, write_id_map
from gradiseg_core.files.images import read_image, write_image
from gradiseg_core.files.palette import colorize_ids
from gradiseg_core.files.pictures import (
    Moments,
    depth_picture,
    matched_palette,
    overlay_ids,
    panel_row,
    shown_photograph,
)
from gradiseg_core.files.renderings import Probabilities, load_features
from gradiseg_core.splatting.labels import most_probable

if TYPE_CHECKING:
    from gradiseg_core.files.manifest import SceneManifest, SceneView
    from gradiseg_core.files.trained import TrainedScene
    from gradiseg_core.splatting.rasterization.interface import Rasterizer, Rendering

logger = logging.getLogger(__name__)

#: Most training views that are rendered where there is no test view.
STAND_INS = 4
#: Percent of the nearest and of the farthest depths that saturate in the depth picture.
DEPTH_PERCENTILE = 1.0
#: Pixels whose accumulated opacity is below it are drawn black in the depth picture.
ALPHA_THRESHOLD = 0.5
#: Opacity of the object colours over the photograph in side-by-side pictures.
OVERLAY_OPACITY = 0.55


@dataclass(frozen=True)
class RenderedView:
    """One view's rendering as arrays.

    Attributes:
        color: [H, W, 3] float32 in 0..1.
        features: [H, W, D] float32, blended identity encodings (Eq. 2).
        ids: [H, W] int32, most probable IDs.
        depth: [H, W] float32, world units; 0 where nothing was hit.
        alpha: [H, W] float32.
        probabilities: Of the most probable IDs, where probabilities were blended; else None.
        not_finite_px: Pixels of ``color`` that were not finite (drawn black).
    """

    color: NDArray[np.float32]
    features: NDArray[np.float32]
    ids: NDArray[np.int32]
    depth: NDArray[np.float32]
    alpha: NDArray[np.float32]
    probabilities: Probabilities | None = None
    not_finite_px: int = 0


def label_rule(config: RenderConfig, metadata: dict[str, Any]) -> str:
    """Return what labels are read from: ``encodings`` or ``probabilities``."""
    return metadata.get("labels", "encodings") if config.labels == "trained" else config.labels


def render_size(camera: Camera, config: RenderConfig, metadata: dict[str, Any]) -> tuple[int, int]:
    """Return the (width, height) a view is rendered at, px."""
    if config.size == "photograph":
        return camera.width, camera.height
    return training_size(
        camera.width, camera.height, metadata["longest_side"], metadata["downsample"]
    )


@torch.no_grad()
def render_view(
    scene: TrainedScene, camera: Camera, rasterizer: Rasterizer, labels: str = "encodings"
) -> RenderedView:
    """Render one view of a trained scene.

    Args:
        scene: The trained scene.
        camera: View at the size to render.
        rasterizer: Any implementation of the interface.
        labels: What IDs are read from, ``encodings`` or ``probabilities`` (see
            :mod:`gradiseg_core.splatting.labels`).
    """
    from gradiseg_core.splatting.losses.identity import label_map

    dtype, device = scene.means.dtype, scene.means.device
    white = scene.metadata.get("background", "black") == "white"

    def rasterize(identities: torch.Tensor, *, with_depth: bool) -> Rendering:
        return rasterizer(
            scene.means,
            scene.quats,
            scene.scales.exp(),
            scene.opacities.sigmoid(),
            scene.sh0,
            scene.shN,
            identities,
            viewmat=torch.as_tensor(camera.cam_from_world, dtype=dtype, device=device),
            K=torch.as_tensor(camera.K, dtype=dtype, device=device),
            width=camera.width,
            height=camera.height,
            sh_degree=int(scene.metadata["sh_degree"]),
            background=torch.ones(3, dtype=dtype, device=device) if white else None,
            with_depth=with_depth,
        )

    result = rasterize(scene.identities, with_depth=True)
    if result.depth is None:
        raise TypeError("the rasterizer returned no depth although it was asked for it")
    probabilities = None
    if labels == "probabilities":

        def blend(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            rendering = rasterize(values, with_depth=False)
            return rendering.identity, rendering.alpha

        names, best = most_probable(scene.identities, scene.classifier, blend)
        ids = names[..., 0]
        probabilities = Probabilities(names.cpu().numpy(), best.float().cpu().numpy())
    else:
        ids = label_map(result.identity, scene.classifier)
    finite = result.color.isfinite().all(dim=-1)
    color = torch.where(finite[..., None], result.color, torch.zeros_like(result.color))
    return RenderedView(
        color=color.clamp(0.0, 1.0).float().cpu().numpy(),
        features=result.identity.float().cpu().numpy(),
        ids=ids.cpu().numpy().astype(np.int32),
        depth=result.depth.float().cpu().numpy(),
        alpha=result.alpha.float().cpu().numpy(),
        probabilities=probabilities,
        not_finite_px=int((~finite).sum()),
    )


def shown_views(
    manifest: SceneManifest, registered: Collection[str], *, train_views: bool
) -> tuple[list[SceneView], list[SceneView]]:
    """Return the views to render, and the wanted ones that structure from motion left out.

    Test views; on request also training views. Where no test view is registered, or the scene has
    none, up to :data:`STAND_INS` training views instead, evenly spread, so that there is something
    to look at. They are not held out, and nothing scores them as if they were.

    Raises:
        InputError: If no view at all is registered.
    """
    wanted = manifest.views if train_views else manifest.test_views
    views = [view for view in wanted if view.name in registered]
    absent = [view for view in wanted if view.name not in registered]
    if any(view.split == "test" for view in views):
        return views, absent
    training = [view for view in manifest.train_views if view.name in registered]
    if not training:
        raise InputError(
            f"scene {manifest.name}: none of its {len(manifest.views)} views has a camera, so "
            "there is nothing to render; run the colmap stage again"
        )
    if not train_views:
        places = np.linspace(0, len(training) - 1, min(STAND_INS, len(training)))
        training = [training[int(place)] for place in places.round()]
    return training, absent


def render_views(
    scene_dir: Path,
    colmap_dir: Path,
    train_dir: Path,
    out_dir: Path,
    config: RenderConfig,
    *,
    threads: int,
) -> dict[str, Any]:
    """Render every registered test view (on request also the training views).

    Without a registered test view some training views are rendered instead (:func:`shown_views`).

    Writes ``color/<stem>.png``, ``ids/<stem>.png`` (16 bit), ``features/<stem>.npz`` (float16,
    key ``features``), ``depth/<stem>.npy`` (float32, the user's units) and ``.png``,
    ``identity_pca/<stem>.png``, ``side_by_side/<stem>.png`` and ``render.json``; where labels are
    read from blended probabilities, also ``probabilities/<stem>.npz``
    (:class:`gradiseg_core.files.renderings.Probabilities`).

    Args:
        scene_dir: Scene folder with ``scene.json``.
        colmap_dir: Undistorted images and cameras.
        train_dir: Trained scene.
        out_dir: Folder to write.
        config: What to render.
        threads: CPU threads of torch.

    Returns:
        The contents of ``render.json``: the scene's and run's name, views rendered and views that
        structure from motion left out.

    Raises:
        InputError: If no view is registered.
        BackendUnavailableError: If a GPU is asked for and there is none.
    """
    from gradiseg_core.cameras import Frame
    from gradiseg_core.files.colmap import load_cameras
    from gradiseg_core.files.manifest import SceneManifest
    from gradiseg_core.progress import Progress

    set_threads(threads)
    manifest = SceneManifest.load(scene_dir)
    cameras = load_cameras(colmap_dir)
    scene, rasterizer = _loaded(train_dir, config)
    views, absent = shown_views(manifest, cameras, train_views=config.train_views)
    _warn_of_absent(manifest, views, absent, colmap_dir)

    rule = label_rule(config, scene.metadata)
    unit = 1.0 / Frame.load(colmap_dir).scale
    moments = Moments(scene.identities.shape[1])
    facts = []
    with Progress("rendering", len(views), "views") as progress:
        for view in views:
            camera = cameras[view.name]
            camera = camera.resized(*render_size(camera, config, scene.metadata))
            rendered = render_view(scene, camera, rasterizer, rule)
            if rendered.not_finite_px:
                logger.warning(
                    "%s: %d pixels are not finite; the view is not scored",
                    view.name, rendered.not_finite_px,
                )  # fmt: skip
            moments.add(rendered.features)
            _write_arrays(out_dir, view.stem, rendered, config, unit)
            facts.append(_facts(view, camera, rendered))
            progress.advance()
    logger.info("rendered %d views", len(views))
    _write_pictures(out_dir, views, manifest, scene_dir, colmap_dir, moments, config)

    summary = _summary(manifest, scene, config, rule) | {
        "views": facts,
        "not_registered": [view.name for view in absent],
    }
    (out_dir / "render.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def _summary(
    manifest: SceneManifest, scene: TrainedScene, config: RenderConfig, rule: str
) -> dict[str, Any]:
    """Return what ``render.json`` says of the scene, the run and how it was rendered."""
    return {
        "scene": manifest.name,
        "source": manifest.source,
        "variant": scene.metadata.get("variant"),
        "seed": scene.metadata.get("seed"),
        "iterations": scene.metadata.get("iterations"),
        "num_gaussians": int(scene.means.shape[0]),
        "num_classes": int(scene.classifier.weight.shape[0]),
        "rasterizer": config.rasterizer,
        "labels": rule,
        "device": scene.means.device.type,
    }


def _loaded(train_dir: Path, config: RenderConfig) -> tuple[TrainedScene, Rasterizer]:
    """Return the trained scene on the device that renders it, and the rasterizer."""
    from gradiseg_core.compute.placement import training_device
    from gradiseg_core.files.trained import load_trained
    from gradiseg_core.splatting.rasterization.registry import get_rasterizer

    fast = config.rasterizer == "fast"
    device = training_device(config.device if fast else "cpu", "render.device")
    rasterizer = get_rasterizer(device.type if fast else "reference")
    return load_trained(train_dir).to(device), rasterizer


def _warn_of_absent(
    manifest: SceneManifest, views: list[SceneView], absent: list[SceneView], colmap_dir: Path
) -> None:
    """Warn of views that have no camera, and where training views stand in for test views."""
    if not any(view.split == "test" for view in views):
        logger.warning(
            "scene %s has no registered test view: %d training views are rendered instead, and "
            "nothing is scored (see %s)",
            manifest.name, len(views), colmap_dir / "sfm.json",
        )  # fmt: skip
    if absent:
        logger.warning(
            "not registered, so not rendered: %s", ", ".join(view.name for view in absent)
        )


def _facts(view: SceneView, camera: Camera, rendered: RenderedView) -> dict[str, Any]:
    """Return a view's entry in ``render.json``."""
    return {
        "name": view.name,
        "split": view.split,
        "test_index": view.test_index,
        "width": camera.width,
        "height": camera.height,
        "not_finite_px": rendered.not_finite_px,
    }


def _write_arrays(
    out_dir: Path, stem: str, rendered: RenderedView, config: RenderConfig, unit: float
) -> None:
    """Write the arrays of one view; ``unit``: user's units in one of the training frame."""
    write_image(out_dir / "color" / f"{stem}.png", rendered.color)
    write_id_map(out_dir / "ids" / f"{stem}.png", rendered.ids)
    for folder in ("features", "depth"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out_dir / "features" / f"{stem}.npz", features=rendered.features.astype(np.float16)
    )
    if rendered.probabilities is not None:
        rendered.probabilities.save(out_dir / "probabilities" / f"{stem}.npz")
    # A depth below the alpha threshold is not shown; NaN would break readers that sum.
    depth = np.where(rendered.alpha >= ALPHA_THRESHOLD, rendered.depth, 0.0)
    np.save(out_dir / "depth" / f"{stem}.npy", (unit * depth).astype(np.float32))


def _write_pictures(
    out_dir: Path,
    views: list[SceneView],
    manifest: SceneManifest,
    scene_dir: Path,
    colmap_dir: Path,
    moments: Moments,
    config: RenderConfig,
) -> None:
    """Write the pictures whose colours are common to all views, so after all were rendered."""
    basis = moments.pca()
    near, far = _depth_range(out_dir, views, DEPTH_PERCENTILE)
    for view in views:
        stem = view.stem
        write_image(
            out_dir / "identity_pca" / f"{stem}.png", basis.colors(load_features(out_dir, stem))
        )
        depth = np.load(out_dir / "depth" / f"{stem}.npy")
        write_image(out_dir / "depth" / f"{stem}.png", depth_picture(depth, depth > 0, near, far))
        row = _side_by_side(out_dir, view, manifest, scene_dir, colmap_dir, config)
        write_image(out_dir / "side_by_side" / f"{stem}.png", row)


def _depth_range(out_dir: Path, views: list[SceneView], percentile: float) -> tuple[float, float]:
    """Return the nearest and farthest depth to show, over all views."""
    ranges = []
    for view in views:
        depth = np.load(out_dir / "depth" / f"{view.stem}.npy")
        if (depth > 0).any():
            ranges.append(np.percentile(depth[depth > 0], [percentile, 100.0 - percentile]))
    if not ranges:
        return 1.0, 1.0
    return float(min(low for low, _ in ranges)), float(max(high for _, high in ranges))


def _side_by_side(
    out_dir: Path,
    view: SceneView,
    manifest: SceneManifest,
    scene_dir: Path,
    colmap_dir: Path,
    config: RenderConfig,
) -> NDArray[np.uint8]:
    color = read_image(out_dir / "color" / f"{view.stem}.png")
    ids = read_id_map(out_dir / "ids" / f"{view.stem}.png")
    size = (color.shape[1], color.shape[0])
    photo = shown_photograph(colmap_dir, view.name, size)
    panels = [
        ("photograph", photo),
        ("rendering", color),
        ("rendered labels", overlay_ids(color, ids, OVERLAY_OPACITY)),
    ]
    truth = true_id_map(scene_dir, colmap_dir, manifest, view)
    if truth is not None:
        truth = resize_by_centres(truth, ids.shape)
        palette = matched_palette(ids, truth)
        panels.append(("true masks", overlay_ids(photo, truth, OVERLAY_OPACITY, palette)))
    else:
        panels.append(("labels alone", colorize_ids(ids)))
    return panel_row(panels)
