"""What a table is, and how its numbers are rounded: the one place that every writer uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

#: Printed for a number that is not available: an en dash. A footnote says why.
NOT_AVAILABLE = "\u2013"


@dataclass(frozen=True)
class Column:
    """One metric.

    Attributes:
        key: Name in ``metrics.json``'s ``summary``.
        header: Text above the column.
        digits: Decimals shown.
        factor: Factor of values before rounding (100 for percent).
        best: ``max``, ``min`` or "" (no best).
        signed: Whether a mean is shown with its sign, as a difference.
    """

    key: str
    header: str
    digits: int
    factor: float = 1.0
    best: str = "max"
    signed: bool = False


COLUMNS = (
    Column("miou", "mIoU", 1, 100.0),
    Column("mbiou", "mBIoU", 1, 100.0),
    Column("argmax_miou", "argmax mIoU", 1, 100.0),
    Column("argmax_mbiou", "argmax mBIoU", 1, 100.0),
    Column("object_miou", "object mIoU", 1, 100.0),
    Column("object_mbiou", "object mBIoU", 1, 100.0),
    Column("object_fine_mbiou", "object fine mBIoU", 1, 100.0),
    Column("psnr", "PSNR", 2),
    Column("ssim", "SSIM", 3),
    Column("lpips", "LPIPS", 3, best="min"),
    Column("num_gaussians", "Gaussians", 0, best=""),
)


@dataclass(frozen=True)
class Cell:
    """A mean, and its sample standard deviation if several seeds ran.

    Attributes:
        mean: In the metric's own unit (a share for IoU); None if not available.
        deviation: Likewise; None for fewer than two seeds.
        count: Number of seeds.
        instead: Text in place of a missing mean, in rows that are not published.
        remarks: Why there is no mean, or which part it covers; footnotes of the cell.
    """

    mean: float | None
    deviation: float | None = None
    count: int = 1
    instead: str = NOT_AVAILABLE
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Sequence[float | None], remarks: Sequence[str] = ()) -> Cell:
        """Summarise one value for each seed; without one of them there is no mean.

        Args:
            values: One for each seed.
            remarks: See :attr:`remarks`.
        """
        kept = tuple(dict.fromkeys(remarks))
        numbers = [value for value in values if value is not None]
        if not numbers or len(numbers) < len(values):
            return cls(None, None, len(values), remarks=kept)
        deviation = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None
        return cls(float(np.mean(numbers)), deviation, len(numbers), remarks=kept)

    def texts(self, column: Column, *, signed: bool = False) -> tuple[str, str]:
        """Return mean and deviation as they are shown; empty where there is none."""
        return (
            _round(self.mean, column, signed=signed or column.signed),
            _round(self.deviation, column, signed=False),
        )


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        label: Its name.
        cells: One per column.
        published: Whether the numbers are copied from a paper.
        source: Source of published rows.
        notes: Numbers of the table's notes that belong to it, from 1.
        difference: Whether it is ours minus a published row: signed, and never the best.
    """

    label: str
    cells: tuple[Cell, ...]
    published: bool = False
    source: str = ""
    notes: tuple[int, ...] = ()
    difference: bool = False

    @property
    def ours(self) -> bool:
        """Whether the numbers were measured here."""
        return not (self.published or self.difference)


@dataclass(frozen=True)
class Table:
    """A table, ready for any writer.

    Attributes:
        name: Identifier, such as ``scene-ramen-strict``.
        title: First line of the caption.
        caption: What was measured and how; names the aggregation.
        columns: Metrics shown.
        rows: Ours first, then published ones, then differences of the two.
        notes: Footnotes.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def footnotes(self) -> tuple[str, ...]:
        """All notes: the table's own, then the remarks of its cells."""
        remarks = (line for row in self.rows for cell in row.cells for line in cell.remarks)
        return tuple(dict.fromkeys((*self.notes, *remarks)))

    def marks(self, cell: Cell) -> tuple[int, ...]:
        """Return the numbers of a cell's footnotes, from 1."""
        lines = self.footnotes
        return tuple(lines.index(line) + 1 for line in cell.remarks)

    def is_best(self, row: Row, index: int) -> bool:
        """Whether a cell is the best of our rows, as shown; never where all of them are equal."""
        column = self.columns[index]
        shown = [
            float(other.cells[index].texts(column)[0])
            for other in self.rows
            if other.ours and other.cells[index].mean is not None
        ]
        equal = len(set(shown)) < 2
        if not row.ours or not column.best or equal or row.cells[index].mean is None:
            return False
        best = max(shown) if column.best == "max" else min(shown)
        return float(row.cells[index].texts(column)[0]) == best


def _round(value: float | None, column: Column, *, signed: bool) -> str:
    if value is None:
        return ""
    return f"{value * column.factor:{'+' if signed else ''}.{column.digits}f}"
