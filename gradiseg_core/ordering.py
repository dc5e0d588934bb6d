"""The order of views: by name, numbers by value, so that `2.jpg` comes before `10.jpg`.

Cameras count without leading zeros as often as with them, and the order of views decides which of
them test, which are matched, and what a tracker sees as neighbours. For names whose numbers have
equally many digits this is the order of the characters. The package `natsort` would change that
one as well (it puts `a1` before `a-1`), hence these few lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"[0-9]+|[^0-9]")


def by_name(name: str) -> tuple[tuple[tuple[int, int], ...], str]:
    """Return the key that sorts names of views, for `sorted(..., key=by_name)`.

    A number stands where its first digit stands among the characters; equal numbers ("1", "01")
    leave the decision to what follows, and at last to the characters.
    """
    parts = _NUMBER.findall(name)
    key = tuple((ord("0"), int(p)) if p[0] in "0123456789" else (ord(p), 0) for p in parts)
    return key, name


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of views in their order."""
    return sorted(names, key=by_name)
