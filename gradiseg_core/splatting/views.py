"""Views that are trained on, and what else training starts from.

Views stay in main memory up to a budget, as on disk: one byte for a channel, two for a label. The
others are read again each time they are needed. :class:`Prefetcher` brings them to the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera, Frame
from gradiseg_core.splatting.gaussians import GivenGaussians


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
        ignored: [H, W] bool, pixels that are no part of any loss or score; None: none.
        surface_depth: [H, W] float32, depth of the surface of stage `geometry` along the optical
            axis, world units, 0: nothing there; None where no loss term reads it.
    """

    camera: Camera
    image: Tensor
    labels: Tensor | None
    viewmat: Tensor
    K: Tensor
    ids: Tensor | None = None
    ignored: Tensor | None = None
    surface_depth: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that it holds."""
        return [value for value in vars(self).values() if isinstance(value, Tensor)]

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def to(self, device: torch.device, *, pinned: bool = False) -> TrainingView:
        """Return it on a device; ``pinned`` copies without waiting, on the current stream."""

        def move(tensor: Tensor) -> Tensor:
            tensor = tensor.pin_memory() if pinned else tensor
            return tensor.to(device, non_blocking=pinned)

        labels, ids, ignored, depth = (
            None if tensor is None else move(tensor)
            for tensor in (self.labels, self.ids, self.ignored, self.surface_depth)
        )
        image, viewmat, K = (move(tensor) for tensor in (self.image, self.viewmat, self.K))
        return TrainingView(self.camera, image, labels, viewmat, K, ids, ignored, depth)


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


@dataclass
class _Fetched:
    """A view on the device, and what to wait for before it may be read."""

    view: TrainingView
    wait: Callable[[], None]


class Prefetcher:
    """Returns views on a device, and fetches the next one while the present one is used.

    A GPU keeps views (uint8 and int16) up to a budget. The others are copied from pinned memory on
    a CUDA stream of their own. The thread that does so also reads views from disk that main memory
    has no room for. A view that is in main memory already is returned as it is to a training on the
    CPU.
    """

    def __init__(self, views: Views, device: torch.device, budget_bytes: int) -> None:
        """Set up; nothing is copied yet.

        Args:
            views: In main memory or on disk.
            device: Where views are wanted.
            budget_bytes: Most memory of a GPU for views that stay there.
        """
        self.views, self.device, self._room = views, device, budget_bytes
        self._resident: dict[int, TrainingView] = {}
        self._pending: tuple[int, Future[_Fetched]] | None = None
        self._worker = ThreadPoolExecutor(1, "views")
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def get(self, index: int, upcoming: int | None = None) -> TrainingView:
        """Return a view, and start to fetch the next.

        Args:
            index: Of the view.
            upcoming: Index of the view that will be asked for next, if known.

        Raises:
            InputError: If a view cannot be read from disk.
        """
        view = self._resident.get(index)
        if view is None and self._is_resident(index):
            view = self.views[index]
        if view is None:
            view = self._fetched(index)
        if upcoming is not None and self._pending is None and not self._is_resident(upcoming):
            self._pending = (upcoming, self._worker.submit(self._fetch, upcoming))
        return view

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(cancel_futures=True)

    def _is_resident(self, index: int) -> bool:
        if self.device.type == "cpu":
            return self.views.kept(index)
        return index in self._resident

    def _fetched(self, index: int) -> TrainingView:
        """Return a view that is not resident, and keep it on a GPU that has room."""
        pending, self._pending = self._pending, None
        if pending is not None and pending[0] == index:
            fetched = pending[1].result()
        else:
            fetched = self._worker.submit(self._fetch, index).result()
        fetched.wait()
        if self._stream is not None and fetched.view.bytes <= self._room:
            self._resident[index] = fetched.view
            self._room -= fetched.view.bytes
        return fetched.view

    def _fetch(self, index: int) -> _Fetched:
        """Read or copy one view (in the worker)."""
        view = self.views[index]
        if self._stream is None:
            return _Fetched(view, lambda: None)
        with torch.cuda.stream(self._stream):
            moved = view.to(self.device, pinned=True)
            done = torch.cuda.Event()
            done.record()

        def wait() -> None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(done)
            for tensor in moved.tensors:
                tensor.record_stream(stream)  # its memory is not given away while in use

        return _Fetched(moved, wait)


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
        given: Gaussians to train identities on, in the place of those from points; None: none.
    """

    train: Views
    test: Views
    points: NDArray[np.float64]
    colors: NDArray[np.uint8]
    num_classes: int
    frame: Frame = field(default_factory=Frame)
    given: GivenGaussians | None = None

    def fingerprint(self) -> str:
        """Hash of all of it, so that a checkpoint of other inputs is not resumed."""
        digest = hashlib.blake2b(digest_size=16)
        for view in chain(self.train, self.test):
            digest.update(view.camera.name.encode())
            read = (view.image, view.labels, view.viewmat, view.K, view.ignored)
            for tensor in (*read, view.surface_depth):
                if tensor is not None:
                    digest.update(tensor.numpy().tobytes())
        digest.update(self.points.tobytes())
        digest.update(self.colors.tobytes())
        digest.update(str(self.num_classes).encode())
        if self.given is not None:
            for name, value in sorted(self.given.values.items()):
                digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()


def of_one_colour(image: NDArray) -> bool:
    """Return whether a picture [H, W, 3], uint8 or in 0..1, shows nothing to be rendered.

    That is where no channel deviates by a grey level from its mean, as in a black frame. Renderings
    of nothing equal such a picture, so that scores against it mean nothing.
    """
    level = 1.0 if image.dtype == np.uint8 else 1.0 / 255.0
    return float(image.std(axis=(0, 1), dtype=np.float64).max()) < level
