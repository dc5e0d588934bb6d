"""Training views: photographs, ID maps and cameras at training resolution."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import InputError
from gradiseg_core.imaging import read_id_map, read_image
from gradiseg_core.scene.manifest import SceneManifest
from gradiseg_core.sfm.model import load_cameras, load_points

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingView:
    """One view at training resolution.

    Attributes:
        camera: Its camera.
        image: [H, W, 3] uint8; a byte a channel, as all views stay in memory.
        labels: [H, W] int32 IDs; None for test views, whose masks must never be trained on.
        viewmat: [4, 4] float32.
        K: [3, 3] float32.
    """

    camera: Camera
    image: Tensor
    labels: Tensor | None
    viewmat: Tensor
    K: Tensor


@dataclass(frozen=True)
class TrainingData:
    """Everything that training reads.

    Attributes:
        train: Views with labels.
        test: Registered test views, for PSNR during training only.
        points: [P, 3] float64, SfM points.
        colors: [P, 3] uint8.
        num_classes: Classes of F, background included.
    """

    train: list[TrainingView]
    test: list[TrainingView]
    points: NDArray[np.float64]
    colors: NDArray[np.uint8]
    num_classes: int

    def fingerprint(self) -> str:
        """Hash of all of it, so that a checkpoint of other inputs is not resumed."""
        digest = hashlib.blake2b(digest_size=16)
        for view in (*self.train, *self.test):
            digest.update(view.camera.name.encode())
            for tensor in (view.image, view.labels, view.viewmat, view.K):
                if tensor is not None:
                    digest.update(tensor.numpy().tobytes())
        digest.update(self.points.tobytes())
        digest.update(self.colors.tobytes())
        digest.update(str(self.num_classes).encode())
        return digest.hexdigest()


def load_training_data(
    scene_dir: Path, colmap_dir: Path, tracking_dir: Path, config: TrainConfig
) -> TrainingData:
    """Read all registered views.

    Raises:
        InputError: If no training view is registered, an ID map is missing or of another size than
            its image, or an ID does not fit the classifier.
    """
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
    train = [_load(colmap_dir, cameras[name], config, tracking_dir) for name in train_names]
    test = [_load(colmap_dir, cameras[name], config, None) for name in test_names]
    for view in train:
        assert view.labels is not None
        highest = int(view.labels.max())
        if highest >= num_classes:
            raise InputError(
                f"{tracking_dir / 'ids' / (view.camera.stem + '.png')} holds ID {highest}, but the "
                f"classifier has {num_classes} classes; set train.num_classes to 'auto' or to at "
                f"least {highest + 1}"
            )
    return TrainingData(train, test, points, colors, num_classes)


def _load(
    colmap_dir: Path, camera: Camera, config: TrainConfig, tracking_dir: Path | None
) -> TrainingView:
    size = training_size(camera.width, camera.height, config.longest_side, config.downsample)
    image = read_image(colmap_dir / "images" / camera.name, size)
    labels = None
    if tracking_dir is not None:
        path = tracking_dir / "ids" / f"{camera.stem}.png"
        full = read_id_map(path)
        if full.shape[0] * camera.width != full.shape[1] * camera.height:
            raise InputError(
                f"{path} is {full.shape[1]} x {full.shape[0]} px, its image {camera.width} x "
                f"{camera.height}; ID maps must have their image's aspect ratio"
            )
        labels = torch.from_numpy(read_id_map(path, size))
    camera = camera.resized(*size)
    return TrainingView(
        camera,
        torch.from_numpy(image.copy()),
        labels,
        torch.from_numpy(camera.cam_from_world.astype(np.float32)),
        torch.from_numpy(camera.K.astype(np.float32)),
    )
