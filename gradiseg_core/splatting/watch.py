"""Noticing a loss that is not finite, on a GPU without waiting for it in every iteration."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from gradiseg_core.errors import GradisegError

EVERY = 100  # iterations between looks at what a GPU found


class LossWatch:
    """Raises when a loss is infinite or not a number.

    On a CPU the loss is checked in every iteration. On a GPU the host would have to wait for the
    device each time. There the device notes the first bad iteration, and the host reads it every
    :data:`EVERY` iterations and whenever :meth:`check` is called.
    """

    def __init__(self, device: torch.device) -> None:
        """Set up for losses on ``device``."""
        self._on_device = device.type != "cpu"
        self._first_bad = torch.zeros((), dtype=torch.int64, device=device)
        self._checked = 0
        self._names: deque[tuple[int, str, int]] = deque(maxlen=2 * EVERY)

    def observe(self, step: int, loss: Tensor, view: str, count: int) -> None:
        """Look at the loss of one iteration, before its gradient is used.

        Args:
            step: Iteration, from 1.
            loss: Scalar.
            view: Name of the view, for the message.
            count: Number of Gaussians, for the message.

        Raises:
            GradisegError: If the loss, or on a GPU one of an earlier iteration, is not finite.
        """
        if not self._on_device:
            if not math.isfinite(loss.item()):
                raise self._error(f"became {loss.item()} at", step, view, count)
            return
        self._names.append((step, view, count))
        bad = (self._first_bad == 0) & ~torch.isfinite(loss.detach())
        self._first_bad = torch.where(bad, step, self._first_bad)
        if step - self._checked >= EVERY:
            self.check(step)

    def check(self, step: int) -> None:
        """Wait for the device, and raise if any loss so far was not finite.

        Raises:
            GradisegError: If one was not.
        """
        if not self._on_device:
            return
        self._checked = step
        first = int(self._first_bad.item())
        if first:
            known = {name[0]: name[1:] for name in self._names}
            view, count = known.get(first, ("an unknown view", 0))
            raise self._error("was not finite at", first, view, count)

    @staticmethod
    def _error(what: str, step: int, view: str, count: int) -> GradisegError:
        return GradisegError(
            f"the loss {what} iteration {step} on {view} ({count} Gaussians); lower "
            "train.learning_rates or check that view's pose. The last checkpoint is kept"
        )
