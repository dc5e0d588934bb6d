"""Render a tabletop and write it in LERF-Mask's layout, with its truth."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.cameras import Camera
from gradiseg_core.files.id_maps import write_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SURFACE_FILE, split_views
from gradiseg_core.files.masks import write_mask
from studies.options import TabletopConfig
from studies.tabletop.denoise import denoise
from studies.tabletop.layout import arrange
from studies.tabletop.renderer import Geometry, Renderer, develop, import_mitsuba
from studies.tabletop.room import lights, room_parts
from studies.tabletop.sparse import write_sparse_model
from studies.tabletop.surface import surface_points
from studies.tabletop.viewpoints import viewpoints

logger = logging.getLogger(__name__)

_JPEG_OPTIONS: dict[str, Any] = {"quality": 95, "subsampling": 0}
_LEAST_VISIBLE_SHARE = 1 / 5000  # of the image: an object that shows less counts as hidden


def make_tabletop(
    config: TabletopConfig, folder: Path, *, name: str, seed: int, threads: int
) -> None:
    """Make the folder of a tabletop, whole or not at all.

    It is rendered beside ``folder`` under a hidden name and moved into place at the end. A killed
    rendering leaves that hidden folder, and the next call with the same arguments and code goes on
    from it.

    Args:
        config: Layout, cameras and quality; ``config.seed`` draws the table.
        folder: Folder to make; what was there is replaced.
        name: The scene's name.
        seed: Draws the rendering's noise (not the layout).
        threads: Threads that Mitsuba uses.

    Raises:
        BackendUnavailableError: If Mitsuba is missing.
        ConfigError: If the objects do not fit on the table.
    """
    partial = folder.with_name(f".{folder.name}.partial-{_fingerprint(config, name, seed)}")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        render_tabletop(config, partial, name=name, seed=seed, threads=threads)
        points, owners = surface_points(config)
        np.savez_compressed(partial / SURFACE_FILE, points=points.astype(np.float32), owners=owners)
    except BaseException:
        if not any((partial / "images").glob("*.jpg")):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    for leftover in folder.parent.glob(f".{folder.name}.partial-*"):
        shutil.rmtree(leftover)


def _fingerprint(config: TabletopConfig, name: str, seed: int) -> str:
    """Return a short hash of all that the files depend on: configuration, seed, our code."""
    digest = hashlib.sha256(f"{config.model_dump_json()}|{name}|{seed}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def render_tabletop(
    config: TabletopConfig, out_dir: Path, *, name: str, seed: int, threads: int
) -> None:
    """Render a tabletop into ``out_dir``: pictures, exact IDs, masks, cameras.

    Views whose image lies in ``out_dir`` already are kept, so that an interrupted rendering
    continues where it stopped. Arguments and errors are those of :func:`make_tabletop`.
    """
    import_mitsuba(threads)  # fails here, before the textures are made
    from gradiseg_core.progress import Progress

    things = arrange(config)
    renderer = make_renderer(config, threads=threads)
    views = viewpoints(config)
    names = [camera.name for camera, _ in views]
    test_names = {camera.name for camera, is_test in views if is_test}
    manifest_views = split_views(names, (config.width, config.height), test_names)
    prompts = [thing.prompt for thing in things]
    logger.info(
        "%d objects, %d views of %d x %d px, %d samples a pixel, %d threads",
        len(things), len(views), config.width, config.height, config.samples_per_pixel, threads,
    )  # fmt: skip

    (out_dir / "images").mkdir(parents=True, exist_ok=True)
    geometries: dict[str, Geometry] = {}
    with Progress("views", len(views), "views") as progress:
        for index, (camera, _) in enumerate(views):
            geometry = renderer.geometry(camera)
            path = out_dir / "images" / camera.name
            if not path.is_file():
                _save_whole(path, render_view(renderer, config, index, seed, geometry))
            geometries[camera.name] = geometry
            progress.advance()

    cameras = [camera for camera, _ in views]
    ids = {name: renderer.object_ids(geometry) for name, geometry in geometries.items()}
    for camera in cameras:
        write_id_map(out_dir / "gt_ids" / f"{camera.stem}.png", ids[camera.name])
    _write_split(out_dir, names, test_names)
    for view in manifest_views:
        if view.test_index is not None:
            folder = out_dir / "test_mask" / str(view.test_index)
            _write_test_masks(folder, ids[view.name], prompts)
    _write_ground_truth(out_dir / "ground_truth.json", name, prompts, views)
    if config.write_sparse:
        colors = {camera.name: read_image(out_dir / "images" / camera.name) for camera in cameras}
        points = {name: geometry.points_in_world for name, geometry in geometries.items()}
        write_sparse_model(
            out_dir / "sparse" / "0", cameras, points, ids, colors, config.sparse_points,
            seed=config.seed,
        )  # fmt: skip


def make_renderer(config: TabletopConfig, *, threads: int) -> Renderer:
    """Load the table and the room that ``config`` describes."""
    room = room_parts(np.random.default_rng([config.seed, 4]), config.texture_strength)
    return Renderer(arrange(config), room, lights(), threads=threads)


def render_view(
    renderer: Renderer, config: TabletopConfig, index: int, seed: int, geometry: Geometry
) -> NDArray[np.uint8]:
    """Return one view's picture, [H, W, 3].

    Args:
        renderer: Of the same configuration.
        config: As for :func:`render_tabletop`.
        index: The view's place among all, by name.
        seed: As for :func:`render_tabletop`; a view's noise depends on it and the index alone.
        geometry: What the view sees.
    """
    camera, _ = viewpoints(config)[index]
    return develop_view(renderer, config, camera, index, seed=seed, geometry=geometry)


def develop_view(
    renderer: Renderer,
    config: TabletopConfig,
    camera: Camera,
    index: int,
    *,
    seed: int,
    geometry: Geometry,
) -> NDArray[np.uint8]:
    """Return a camera's picture, [H, W, 3], of any table; arguments as for :func:`render_view`."""
    radiance = renderer.color(
        camera, samples=config.samples_per_pixel, depth=config.path_depth,
        seed=_view_seed(seed, index),
    )  # fmt: skip
    if config.denoise:
        radiance = denoise(
            radiance, renderer.albedo(camera), geometry.points_in_world, geometry.normals
        )
    return develop(radiance)


def _view_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0] >> 1)


def _save_whole(path: Path, image: NDArray[np.uint8]) -> None:
    """Save under a temporary name first: a killed job leaves no half-written image."""
    temporary = path.with_name(f".{path.name}")
    Image.fromarray(image).save(temporary, **_JPEG_OPTIONS)
    temporary.replace(path)


def _write_split(out_dir: Path, names: list[str], test_names: set[str]) -> None:
    for name in names:
        target = out_dir / "images_train" / name
        if name not in test_names and not target.is_symlink():
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(Path("..", "images", name))


def _write_test_masks(folder: Path, ids: NDArray[np.int32], prompts: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, prompt in enumerate(prompts):
        mask = ids == index + 1
        if mask.sum() >= max(1.0, _LEAST_VISIBLE_SHARE * mask.size):
            write_mask(folder / f"{prompt}.png", mask)


def _write_ground_truth(
    path: Path, name: str, prompts: list[str], views: list[tuple[Camera, bool]]
) -> None:
    truth = {
        "scene": name,
        "prompts": prompts,
        "gt_id_of_prompt": {prompt: index + 1 for index, prompt in enumerate(prompts)},
        "cameras": [
            {
                "name": camera.name,
                "K": camera.K.tolist(),
                "cam_from_world": camera.cam_from_world[:3].tolist(),
                "test": is_test,
            }
            for camera, is_test in views
        ],
    }
    path.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
