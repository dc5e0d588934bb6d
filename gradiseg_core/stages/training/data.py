"""Training views: photographs, ID maps and cameras at training resolution.

Views stay in main memory as they are on disk, a byte a channel and two bytes a label, as far as a
budget reaches; the others are read again whenever their turn comes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras, load_points
from gradiseg_core.files.frame import Frame
from gradiseg_core.files.images import read_id_map, read_image
from gradiseg_core.files.manifest import SceneManifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingView:
    """One view at training resolution.

    Attributes:
        camera: Its camera.
        image: [H, W, 3] uint8; a byte a channel, as views stay in memory.
        labels: [H, W] IDs, int16 where they fit, else int32; None for test views, whose masks must
            never be trained on.
        viewmat: [4, 4] float32.
        K: [3, 3] float32.
        ids: [I] int64, the IDs of ``labels``, ascending; None without labels.
    """

    camera: Camera
    image: Tensor
    labels: Tensor | None
    viewmat: Tensor
    K: Tensor
    ids: Tensor | None = None

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        tensors = (self.image, self.labels, self.viewmat, self.K, self.ids)
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)

    def to(self, device: torch.device, *, pinned: bool = False) -> TrainingView:
        """Return it on a device; ``pinned`` copies without waiting, on the current stream."""

        def move(tensor: Tensor) -> Tensor:
            tensor = tensor.pin_memory() if pinned else tensor
            return tensor.to(device, non_blocking=pinned)

        labels, ids = (
            None if tensor is None else move(tensor) for tensor in (self.labels, self.ids)
        )
        image, viewmat, K = (move(tensor) for tensor in (self.image, self.viewmat, self.K))
        return TrainingView(self.camera, image, labels, viewmat, K, ids)


class Views(Sequence[TrainingView]):
    """Views that are read when they are asked for, and kept as far as a budget reaches.

    What came first stays. Training goes through all views once an epoch, in a new order each time:
    throwing out the longest unused would throw out what is about to be needed.
    """

    def __init__(
        self,
        cameras: list[Camera],
        load: Callable[[int], TrainingView],
        budget_bytes: int,
    ) -> None:
        """Set up; nothing is read yet.

        Args:
            cameras: Of each view, at training resolution.
            load: Reads the view of an index.
            budget_bytes: Views are kept up to this much memory.
        """
        self.cameras = cameras
        self._load, self._room = load, budget_bytes
        self._kept: dict[int, TrainingView] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.cameras)

    @overload
    def __getitem__(self, index: int) -> TrainingView: ...

    @overload
    def __getitem__(self, index: slice) -> list[TrainingView]: ...

    def __getitem__(self, index: int | slice) -> TrainingView | list[TrainingView]:
        """Return one view, from memory or from disk."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        view = self._kept.get(index)
        if view is None:
            view = self._load(index)
            with self._lock:
                if index not in self._kept and view.bytes <= self._room:
                    self._kept[index] = view
                    self._room -= view.bytes
        return view

    def kept(self, index: int) -> bool:
        """Tell whether a view is in memory."""
        return index in self._kept


@dataclass(frozen=True)
class TrainingData:
    """Everything that training reads.

    Attributes:
        train: Views with labels.
        test: Registered test views, for PSNR during training only.
        points: [P, 3] float64, SfM points.
        colors: [P, 3] uint8.
        num_classes: Classes of F, background included.
        frame: From the user's world to that of cameras and points.
    """

    train: Views
    test: Views
    points: NDArray[np.float64]
    colors: NDArray[np.uint8]
    num_classes: int
    frame: Frame = field(default_factory=Frame)

    def fingerprint(self) -> str:
        """Hash of all of it, so that a checkpoint of other inputs is not resumed."""
        digest = hashlib.blake2b(digest_size=16)
        for view in chain(self.train, self.test):
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
    """Read all registered views once, and keep as many as the budget allows.

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
    budget = int(config.views_gb * 1e9)
    test = _views(colmap_dir, [cameras[name] for name in test_names], config, budget // 10, None)
    train = _views(
        colmap_dir, [cameras[name] for name in train_names], config, budget, tracking_dir
    )
    for view in train:
        assert view.labels is not None
        highest = int(view.labels.max())
        if highest >= num_classes:
            raise InputError(
                f"{tracking_dir / 'ids' / (view.camera.stem + '.png')} holds ID {highest}, but the "
                f"classifier has {num_classes} classes; set train.num_classes to 'auto' or to at "
                f"least {highest + 1}"
            )
    read_again = sum(not train.kept(index) for index in range(len(train)))
    if read_again:
        logger.warning(
            "%d of %d training views exceed train.views_gb (%g GB) and are read from disk "
            "whenever their turn comes",
            read_again,
            len(train),
            config.views_gb,
        )
    return TrainingData(train, test, points, colors, num_classes, Frame.load(colmap_dir))


def _views(
    colmap_dir: Path,
    cameras: list[Camera],
    config: TrainConfig,
    budget_bytes: int,
    tracking_dir: Path | None,
) -> Views:
    sizes = [
        training_size(camera.width, camera.height, config.longest_side, config.downsample)
        for camera in cameras
    ]
    return Views(
        [camera.resized(*size) for camera, size in zip(cameras, sizes, strict=True)],
        lambda index: _load(colmap_dir, cameras[index], config, tracking_dir),
        budget_bytes,
    )


def _load(
    colmap_dir: Path, camera: Camera, config: TrainConfig, tracking_dir: Path | None
) -> TrainingView:
    size = training_size(camera.width, camera.height, config.longest_side, config.downsample)
    image = read_image(colmap_dir / "images" / camera.name, size)
    labels = present = None
    if tracking_dir is not None:
        path = tracking_dir / "ids" / f"{camera.stem}.png"
        full = read_id_map(path)
        if full.shape[0] * camera.width != full.shape[1] * camera.height:
            raise InputError(
                f"{path} is {full.shape[1]} x {full.shape[0]} px, its image {camera.width} x "
                f"{camera.height}; ID maps must have their image's aspect ratio"
            )
        ids = read_id_map(path, size)
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
    )
