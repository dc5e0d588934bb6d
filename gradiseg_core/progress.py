"""How far a job is: a bar on a terminal; a line now and then where output is kept or shared.

A bar redraws itself a thousand times, which fills a log file, and two bars on one terminal
overwrite each other. So one job at a time draws on a terminal, and the others write lines.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import Any

logger = logging.getLogger(__name__)

LINES = 10
"""As many lines in all,"""
APART_S = 30.0
"""but none sooner after the last than this,"""
LATEST_S = 600.0
"""and none later."""
#: As tqdm has it, with what its time is said.
_BAR = (
    "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {remaining} left at this speed, "
    "{rate_fmt}{postfix}]"
)


class Progress:
    """Progress of one piece of work; a context manager.

    Lines go to the log, so a rule's log file has them on a terminal too. There they carry
    ``not_shown``, by which a handler leaves out what the bar shows.
    """

    def __init__(
        self, title: str, total: int | None, unit: str, *, done: int = 0, keep: bool = False
    ) -> None:
        """Begin.

        Args:
            title: What is done, such as the scene and variant.
            total: Number of units in all; None where nobody knows.
            unit: Name of the unit; ``B`` for bytes.
            done: Units that were done before, as in a resumed run.
            keep: Leave the bar on the terminal at the end.
        """
        self.title, self.total, self.unit = title, total, unit
        self.done = done
        self._facts: dict[str, str] = {}
        self._last = (time.monotonic(), done)
        self._next = self._after(done)
        self._terminal = _take_terminal()
        self._bar: Any = None
        if self._terminal is not None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, desc=title, unit=unit, unit_scale=unit == "B",
                mininterval=1.0, leave=keep, bar_format=_BAR if total else None,
            )  # fmt: skip

    def advance(self, count: int = 1) -> None:
        """Count units that were done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        passed = time.monotonic() - self._last[0]
        # The first comparison is the common one: this is called for every iteration.
        if passed >= APART_S and (self.done >= self._next or passed >= LATEST_S):
            self._write()

    def note(self, **facts: str) -> None:
        """Set what is shown beside the numbers, such as the loss."""
        self._facts = facts
        if self._bar is not None:
            self._bar.set_postfix(refresh=False, **facts)

    def close(self) -> None:
        """End the bar; the terminal is free for another."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._terminal is not None:
            os.close(self._terminal)  # and the lock on it
            self._terminal = None

    def __enter__(self) -> Progress:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _after(self, done: int) -> int:
        """Return the number of units at which the next line is due."""
        if not self.total:
            return 0
        return -(-(done * LINES // self.total + 1) * self.total // LINES)  # rounded up

    def _write(self) -> None:
        now = time.monotonic()
        then, before = self._last
        rate = (self.done - before) / (now - then)
        number, unit = str(self.done), f" {self.unit}"
        if self.unit == "B":
            number, unit = f"{self.done / 1e6:.0f}", " MB"
        parts = [f"{number}{unit}"]
        if self.total:
            whole = f"{self.total / 1e6:.0f}" if self.unit == "B" else str(self.total)
            parts = [f"{100 * self.done / self.total:.0f} %, {number} of {whole}{unit}"]
            if rate > 0:
                parts.append(f"{_duration((self.total - self.done) / rate)} left at this speed")
        parts += [f"{key} {value}" for key, value in self._facts.items()]
        shown = {"not_shown": self._bar is not None}
        logger.info("%s: %s", self.title, ", ".join(parts), extra=shown)
        self._last, self._next = (now, self.done), self._after(self.done)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


def _take_terminal() -> int | None:
    """Return a descriptor of the terminal with a lock on it; None without one, or if it is taken.

    The lock is on the device itself, so that it leaves no file and ends with the process.
    """
    try:
        if not sys.stderr.isatty():
            return None
        descriptor = os.open(os.ttyname(sys.stderr.fileno()), os.O_RDONLY | os.O_NOCTTY)
    except (OSError, ValueError, AttributeError):  # closed, replaced, or a terminal without a name
        return None
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
