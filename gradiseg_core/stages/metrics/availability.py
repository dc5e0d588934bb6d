"""Means and the entries that they cover, or the reason why there is no mean.

A score that cannot be computed is left out, and the reason is recorded. If a mean covers only a
part of the entries, this is stated beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

#: A sentence lists at most so many names and counts the rest.
LISTED = 4


@dataclass(frozen=True)
class Mean:
    """A mean, or the reason why there is none.

    Attributes:
        value: The mean; None where it is not available.
        why: Why there is no value.
        over: If the mean covers only a part: how many of how many, and why not the rest.
    """

    value: float | None
    why: str | None = None
    over: str | None = None


def mean_over(values: Mapping[str, float | str], what: str, nothing: str = "") -> Mean:
    """Return the mean of the entries that have a number.

    Args:
        values: By name, a number, or the reason why there is none. NaN and infinity do not count.
        what: What the entries are, in the plural.
        nothing: The reason if there is no entry at all.
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
    """Return each reason with the names that it applies to, as text."""
    names_of: dict[str, list[str]] = {}
    for name, why in reasons.items():
        names_of.setdefault(why, []).append(name)
    return "; ".join(f"{_list(names)}: {why}" for why, names in names_of.items())


def _list(names: list[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
