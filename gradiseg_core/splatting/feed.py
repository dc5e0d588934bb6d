"""Views on the device that trains, the next one brought while the present one is used.

On a GPU, views stay there (uint8 and int16) as far as a budget reaches. The others are copied from
pinned memory on a stream of their own, by a thread that also reads from disk what main memory has
no room for. In main memory nothing moves: a view that is there is handed out as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch

from gradiseg_core.splatting.views import TrainingView, Views


@dataclass
class _Brought:
    """A view on the device, and what to wait for before it may be read."""

    view: TrainingView
    wait: Callable[[], None]


class Feed:
    """Hands out views on a device."""

    def __init__(self, views: Views, device: torch.device, budget_bytes: int) -> None:
        """Set up; nothing is copied yet.

        Args:
            views: In main memory or on disk.
            device: Where views are wanted.
            budget_bytes: What may stay on a GPU.
        """
        self.views, self.device, self._room = views, device, budget_bytes
        self._resident: dict[int, TrainingView] = {}
        self._coming: tuple[int, Future[_Brought]] | None = None
        self._worker = ThreadPoolExecutor(1, "views")
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def get(self, index: int, upcoming: int | None = None) -> TrainingView:
        """Return a view, and begin to bring the next.

        Args:
            index: Of the view.
            upcoming: Index of the view that will be asked for next, if that is known.

        Raises:
            InputError: As reading a view from disk does.
        """
        view = self._resident.get(index)
        if view is None and self._is_here(index):
            view = self.views[index]
        if view is None:
            view = self._take(index)
        if upcoming is not None and self._coming is None and not self._is_here(upcoming):
            self._coming = (upcoming, self._worker.submit(self._bring, upcoming))
        return view

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(cancel_futures=True)

    def _is_here(self, index: int) -> bool:
        if self.device.type == "cpu":
            return self.views.kept(index)
        return index in self._resident

    def _take(self, index: int) -> TrainingView:
        coming, self._coming = self._coming, None
        if coming is not None and coming[0] == index:
            brought = coming[1].result()
        else:
            brought = self._worker.submit(self._bring, index).result()
        brought.wait()
        if self._stream is not None and brought.view.bytes <= self._room:
            self._resident[index] = brought.view
            self._room -= brought.view.bytes
        return brought.view

    def _bring(self, index: int) -> _Brought:
        """Copy one view (in the worker)."""
        view = self.views[index]
        if self._stream is None:
            return _Brought(view, lambda: None)
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

        return _Brought(moved, wait)
