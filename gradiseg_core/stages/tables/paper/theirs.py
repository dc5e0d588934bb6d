"""The paper's side of its tables: rows as printed, their caveats, and differences from ours.

Nothing is corrected here. Contradictions in the paper stay as printed, with the caveat of
``published.json`` as a note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradiseg_core.stages.tables.model import Cell, Column, Row
from gradiseg_core.stages.tables.runs import published

_COMPUTED = "Mean computed here: the paper prints none."


class Notes:
    """The numbered notes of a table."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def numbers(self, lines: Sequence[str]) -> tuple[int, ...]:
        """Return the numbers of some notes, and append new ones."""
        self.lines += [line for line in dict.fromkeys(lines) if line not in self.lines]
        return tuple(self.lines.index(line) + 1 for line in dict.fromkeys(lines))


def entries_of(table: str) -> list[dict[str, Any]]:
    """Return the entries of a table of the paper, in its order.

    Table 1 is followed by methods that came later, which report averages over the same scenes.
    """
    entries = published()["entries"]
    printed = [entry for entry in entries if table in entry.get("tables", {})]
    later = [entry for entry in entries if "tables" not in entry and entry["protocol"] == "text"]
    return printed + (later if table == "1" else [])


def printed_name(entry: Mapping[str, Any], table: str) -> str:
    """Return a method's name as the table prints it, without reference and "(ours)"."""
    name = entry.get("tables", {}).get(table, entry["method"])
    return re.sub(r" \[\d+\]| \(ours\)", "", name)


def printed_value(entry: Mapping[str, Any], key: str) -> tuple[float | None, bool]:
    """Return the printed number of ``<scene>.<metric>`` or ``mean.<metric>``.

    Returns:
        The number in the paper's unit, or None; and whether it is a mean that the paper does not
        print and that was computed here from its scenes.
    """
    scene, metric = key.split(".")
    if scene != "mean":
        return entry.get("scenes", {}).get(scene, {}).get(metric), False
    if "average" in entry:
        return entry["average"].get(metric), False
    values = [scores[metric] for scores in entry["scenes"].values() if metric in scores]
    return (sum(values) / len(values), True) if values else (None, False)


def published_rows(
    table: str, columns: Sequence[Column], ours: Mapping[str, Row], notes: Notes
) -> list[Row]:
    """Return a table's published rows, then the differences of ours from them.

    Args:
        table: Number of the table.
        columns: Keyed ``<scene>.<metric>`` or ``mean.<metric>``.
        ours: Our rows by variant.
        notes: Notes of the table; sources and caveats are added.
    """
    rows, differences = [], []
    for entry in entries_of(table):
        found = [printed_value(entry, column.key) for column in columns]
        cells = tuple(
            Cell(None if number is None else number / column.factor)
            for (number, _), column in zip(found, columns, strict=True)
        )
        lines = [f"{entry['source']}.", *entry["caveats"]]
        lines += [_COMPUTED] if any(computed for _, computed in found) else []
        name = printed_name(entry, table)
        rows.append(Row(name, cells, True, entry["source"], notes.numbers(lines)))
        own = ours.get(entry.get("ours", ""))
        if own is not None:
            cells = tuple(map(_difference, own.cells, cells))
            label = f"{own.label} minus {name} as published"
            differences.append(Row(label, cells, difference=True))
    return rows + differences


def _difference(ours: Cell, theirs: Cell) -> Cell:
    if theirs.mean is None:
        return Cell(None, count=0, instead="")
    if ours.mean is None:
        return ours
    return replace(ours, mean=ours.mean - theirs.mean)
