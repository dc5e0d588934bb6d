"""What of the annotations was predicted and scored, scene by scene."""

from __future__ import annotations

from collections.abc import Sequence

from gradiseg_core.tables.model import Cell, Column, Row, Table
from gradiseg_core.tables.paper.ours import MISSING, Runs
from gradiseg_core.tables.runs import Run

#: Key in ``coverage``, heading, and which run is shown where runs differ.
_COUNTS = (
    ("test_views", "test views", min),
    ("test_views_rendered", "with a prediction", min),
    ("test_views_annotated", "annotated", min),
    ("masks_annotated", "annotated masks", min),
    ("masks_scored", "of them scored", min),
)


def coverage_table(groups: Sequence[Runs]) -> Table:
    """Return one row for each scene and way of grounding.

    Args:
        groups: Runs of one dataset and one way of grounding each.
    """
    columns = (
        Column("runs", "runs", 0, best=""),
        *(Column(key, heading, 0, best="") for key, heading, _ in _COUNTS),
    )
    rows, notes = [], []
    for group in groups:
        for scene in group.scenes:
            runs = [run for (_, at, _), run in group.by_key.items() if at == scene]
            way = (
                f" ({runs[0]['grounding']})"
                if runs and runs[0]["masks"]["strict"]["prompts"]
                else ""
            )
            rows.append(Row(f"{scene}{way}", _cells(runs, len(columns))))
            notes += _notes(scene, runs)
        notes += group.why_missing()
    caption = (
        "Views and masks by run; where runs differ, those of the run with the fewest. `strict` "
        "scores a mask without a prediction 0, `gg` skips it."
    )
    return Table("coverage", "Coverage", caption, columns, tuple(rows), tuple(dict.fromkeys(notes)))


def _cells(runs: list[Run], columns: int) -> tuple[Cell, ...]:
    if not runs:
        return (MISSING,) * columns
    counts = [choose(run["coverage"][key] for run in runs) for key, _, choose in _COUNTS]
    return tuple(Cell(float(count)) for count in (len(runs), *counts))


def _notes(scene: str, runs: list[Run]) -> list[str]:
    lines = []
    for key, text in (
        ("masks_missing", "annotated masks without a prediction (test view/prompt)"),
        ("views_without_annotation", "test views without annotations"),
        ("prompts_without_annotation", "prompts without annotations"),
    ):
        names = sorted({name for run in runs for name in run["coverage"][key]})
        annotated = any(run["coverage"]["masks_annotated"] for run in runs)
        if names and annotated:
            lines.append(f"{scene}: {text}: {', '.join(names)}.")
    return lines
