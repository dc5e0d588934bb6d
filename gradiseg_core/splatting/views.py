"""Views that are trained on, and what else training starts from.

Views stay in main memory up to a budget, as on disk: one byte for a channel, two for a label. The
others are read again each time they are needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.frame import Frame


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
    """Views that are read when they are asked for, and kept up to a budget.

    The first ones stay. Training goes through all views once an epoch, in a new order each time, so
    that the least recently used view is likely to be needed next.
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


def of_one_colour(image: NDArray) -> bool:
    """Return whether a picture [H, W, 3], uint8 or in 0..1, shows nothing to be rendered.

    That is where no channel deviates by a grey level from its mean, as in a black frame. Renderings
    of nothing equal such a picture, so that scores against it mean nothing.
    """
    level = 1.0 if image.dtype == np.uint8 else 1.0 / 255.0
    return float(image.std(axis=(0, 1), dtype=np.float64).max()) < level
