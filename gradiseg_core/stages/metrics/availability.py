"""Means with what they cover, or the reason why there is none.

A score that cannot be computed is left out, with the reason. Where a mean covers only a part of the
entries, that is stated beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: Names that a sentence lists at most; it counts the rest.
LISTED = 4


@dataclass(frozen=True)
class Mean:
    """A mean, or the reason why there is none.

    Attributes:
        value: The mean; None where it is not available.
        why: Why there is no value.
        over: Where the mean covers a part only: how many of how many, and why not the rest.
    """

    value: float | None
    why: str | None = None
    over: str | None = None


def mean_over(values: Mapping[str, float | str], what: str, nothing: str = "") -> Mean:
    """Return the mean of the entries that have a number.

    Args:
        values: By name, a number, or the reason why there is none. NaN and infinity are no numbers.
        what: What the entries are, in the plural.
        nothing: The reason where there is no entry at all.
    """
    numbers, reasons = [], {}
    for name, value in values.items():
        if isinstance(value, str):
            reasons[name] = value
        elif math.isfinite(value):
            numbers.append(value)
        else:
            reasons[name] = "undefined (0 / 0)" if math.isnan(value) else "infinite"
    if not numbers:
        return Mean(None, list_reasons(reasons) if reasons else nothing or f"there are no {what}")
    over = f"over {len(numbers)} of {len(values)} {what} (not {list_reasons(reasons)})"
    return Mean(float(np.mean(numbers)), over=over if reasons else None)


def list_reasons(reasons: Mapping[str, str]) -> str:
    """Return the names of each reason, and the reason."""
    names_of: dict[str, list[str]] = {}
    for name, why in reasons.items():
        names_of.setdefault(why, []).append(name)
    return "; ".join(f"{_list(names)}: {why}" for why, names in names_of.items())


def _list(names: list[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
