"""Training views on the device, with the next one fetched while the present one is used.

A GPU keeps views (uint8 and int16) up to a budget. The others are copied from pinned memory on a
CUDA stream of their own. The thread that does so also reads views from disk that main memory has no
room for. A view that is in main memory already is returned as it is to a training on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from gradiseg_core.splatting.views import TrainingView, Views


@dataclass
class _Fetched:
    """A view on the device, and what to wait for before it may be read."""

    view: TrainingView
    wait: Callable[[], None]


class Prefetcher:
    """Returns views on a device, and fetches one ahead."""

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
            for tensor in (moved.image, moved.labels, moved.viewmat, moved.K, moved.ids):
                if tensor is not None:
                    tensor.record_stream(stream)  # its memory is not given away while in use

        return _Fetched(moved, wait)
