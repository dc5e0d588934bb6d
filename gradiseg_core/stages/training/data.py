"""Reading what training starts from: photographs, ID maps, cameras and points."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gradiseg_core.cameras import Camera, Frame, training_size
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras, load_points
from gradiseg_core.files.id_maps import read_id_map, resize_by_area
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.splatting.views import TrainingData, TrainingView, Views

logger = logging.getLogger(__name__)


#: Returns the depth of the surface in a view of this stem and (width, height).
DepthOf = Callable[[str, tuple[int, int]], torch.Tensor]


def load_training_data(
    scene_dir: Path,
    colmap_dir: Path,
    tracking_dir: Path,
    config: TrainConfig,
    geometry_dir: Path | None = None,
) -> TrainingData:
    """Read all registered views once, and keep as many as the budget allows.

    Args:
        scene_dir: Output of stage `scene`.
        colmap_dir: Output of stage `colmap`.
        tracking_dir: Output of stage `tracking`.
        config: Training parameters.
        geometry_dir: Output of stage `geometry`, for loss terms that read it.

    Raises:
        InputError: If no training view is registered, an ID map is missing or of another size than
            its image, or an ID does not fit the classifier.
        ConfigError: If a loss term reads a surface that is not there.
    """
    depth_of = None
    if config.needs_geometry:
        from gradiseg_core.stages.training.surface import load_depth

        depth_of = load_depth(config, geometry_dir)
    manifest = SceneManifest.load(scene_dir)
    cameras = load_cameras(colmap_dir)
    points, colors = load_points(colmap_dir)
    if len(points) < 4:
        raise InputError(
            f"{colmap_dir} holds {len(points)} 3D points; training starts from at least 4. "
            "Check the reconstruction's sfm.json"
        )
    objects = json.loads((tracking_dir / "objects.json").read_text())
    num_classes = (
        max(2, objects["num_ids"] + 1) if config.num_classes == "auto" else config.num_classes
    )
    train_names = [view.name for view in manifest.train_views if view.name in cameras]
    test_names = [view.name for view in manifest.test_views if view.name in cameras]
    dropped = len(manifest.train_views) - len(train_names)
    if dropped:
        logger.warning("%d training views have no pose and are left out", dropped)
    if not train_names:
        raise InputError(f"no training view of {scene_dir} is registered in {colmap_dir}")
    budget = int(config.views_gb * 1e9)
    test = _views(colmap_dir, [cameras[name] for name in test_names], config, budget // 10, None)
    train = _views(
        colmap_dir, [cameras[name] for name in train_names], config, budget, tracking_dir, depth_of
    )
    _check_ids(train, num_classes, tracking_dir)
    read_again = sum(not train.kept(index) for index in range(len(train)))
    if read_again:
        logger.warning(
            "%d of %d training views exceed train.views_gb (%g GB) and are read from disk "
            "whenever their turn comes",
            read_again,
            len(train),
            config.views_gb,
        )
    frame = Frame.load(colmap_dir)
    given = None
    if config.init_from is not None:
        from gradiseg_core.stages.training.given import load_given

        given = load_given(config, frame)
    return TrainingData(train, test, points, colors, num_classes, frame, given)


def _check_ids(views: Views, num_classes: int, tracking_dir: Path) -> None:
    """Make sure that the classifier has a class for every ID, which also reads all views."""
    for view in views:
        assert view.ids is not None
        highest = int(view.ids[-1])
        if highest >= num_classes:
            raise InputError(
                f"{tracking_dir / 'ids' / (view.camera.stem + '.png')} holds ID {highest}, but the "
                f"classifier has {num_classes} classes; set train.num_classes to 'auto' or to at "
                f"least {highest + 1}"
            )


def _views(
    colmap_dir: Path,
    cameras: list[Camera],
    config: TrainConfig,
    budget_bytes: int,
    tracking_dir: Path | None,
    depth_of: DepthOf | None = None,
) -> Views:
    sizes = [
        training_size(camera.width, camera.height, config.longest_side, config.downsample)
        for camera in cameras
    ]
    return Views(
        [camera.resized(*size) for camera, size in zip(cameras, sizes, strict=True)],
        lambda index: _load(colmap_dir, cameras[index], config, tracking_dir, depth_of),
        budget_bytes,
    )


def _load(
    colmap_dir: Path,
    camera: Camera,
    config: TrainConfig,
    tracking_dir: Path | None,
    depth_of: DepthOf | None,
) -> TrainingView:
    size = training_size(camera.width, camera.height, config.longest_side, config.downsample)
    image = read_image(colmap_dir / "images" / camera.name, size)
    ignored = read_ignored(colmap_dir, camera.stem, size)
    labels = present = None
    if tracking_dir is not None:
        path = tracking_dir / "ids" / f"{camera.stem}.png"
        ids = read_id_map(path)
        if ids.shape[0] * camera.width != ids.shape[1] * camera.height:
            raise InputError(
                f"{path} is {ids.shape[1]} x {ids.shape[0]} px, its image {camera.width} x "
                f"{camera.height}; ID maps must have their image's aspect ratio"
            )
        ids = resize_by_area(ids, image.shape[:2])
        small = int(ids.max(initial=0)) <= np.iinfo(np.int16).max
        labels = torch.from_numpy(ids.astype(np.int16 if small else np.int32))
        present = torch.from_numpy(np.unique(ids).astype(np.int64))
    camera = camera.resized(*size)
    return TrainingView(
        camera,
        torch.from_numpy(image.copy()),
        labels,
        torch.from_numpy(camera.cam_from_world.astype(np.float32)),
        torch.from_numpy(camera.K.astype(np.float32)),
        present,
        None if ignored is None else torch.from_numpy(ignored.copy()),
        None if depth_of is None else depth_of(camera.stem, size),
    )
