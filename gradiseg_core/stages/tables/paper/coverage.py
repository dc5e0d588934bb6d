"""How many annotations were predicted and scored, scene by scene."""

from __future__ import annotations

from collections.abc import Mapping

from gradiseg_core.stages.tables.model import Cell, Column, Row, Table
from gradiseg_core.stages.tables.paper.ours import MISSING, Runs
from gradiseg_core.stages.tables.runs import Run

#: Key in ``coverage`` and heading.
_COUNTS = (
    ("test_views", "test views"),
    ("test_views_rendered", "with a prediction"),
    ("test_views_annotated", "annotated"),
    ("masks_annotated", "annotated masks"),
    ("masks_scored", "of them scored"),
)


def coverage_table(groups: Mapping[str, Runs]) -> Table:
    """Return one row for each scene and group.

    Args:
        groups: Runs by how their prompts were grounded; "" for runs without prompts.
    """
    columns = (
        Column("runs", "runs", 0, best=""),
        *(Column(key, heading, 0, best="") for key, heading in _COUNTS),
    )
    rows, notes = [], []
    for name, group in groups.items():
        for scene in group.scenes:
            runs = [run for (_, at, _), run in group.by_key.items() if at == scene]
            rows.append(Row(f"{scene}, {name}" if name else scene, _cells(runs)))
            notes += _notes(scene, runs)
        notes += [f"{name}: {line}" if name else line for line in group.why_missing()]
    caption = (
        "Views and masks by run; where runs differ, those of the run with the fewest. `strict` "
        "scores a mask without a prediction 0, `gg` skips it."
    )
    return Table("coverage", "Coverage", caption, columns, tuple(rows), tuple(dict.fromkeys(notes)))


def _cells(runs: list[Run]) -> tuple[Cell, ...]:
    if not runs:
        return (MISSING,) * (1 + len(_COUNTS))
    counts = [min(run["coverage"][key] for run in runs) for key, _ in _COUNTS]
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
