"""Figure 6: scores over the iteration at which IGD starts."""

from __future__ import annotations

from collections.abc import Mapping

from gradiseg_core.config.paper import PaperPlan
from gradiseg_core.stages.tables.model import Cell, Row, Table
from gradiseg_core.stages.tables.paper.masks import (
    mask_caption,
    our_row,
    prompt_notes,
    scene_columns,
)
from gradiseg_core.stages.tables.paper.ours import Runs, mask_number
from gradiseg_core.stages.tables.paper.theirs import Notes, entries_of, printed_name, printed_value
from gradiseg_core.stages.tables.runs import Mode, published

_OURS = (
    "Ours: how long IGD runs from a start is the configuration's choice; in config/paper.yaml it "
    "is 3,000 iterations, as in the paper's own run, and densification and LA-KNN do not move."
)


def variants_by_start(plan: PaperPlan) -> dict[int, str]:
    """Return the variant of every start of IGD, in order; of two, GradiSeg's own."""
    found: dict[int, str] = {}
    for starts in plan.starts.values():
        for variant, start in starts.items():
            if start not in found or variant == "gradiseg":
                found[start] = variant
    return dict(sorted(found.items()))


def only_in_sweep(plan: PaperPlan) -> list[str]:
    """Return the variants that belong only to Figure 6."""
    return [variant for variant in variants_by_start(plan).values() if variant != "gradiseg"]


def curves(runs: Runs, mode: Mode) -> dict[str, dict[int, Cell]]:
    """Return mIoU by scene and start, for the plot."""
    number = mask_number("miou", mode)
    return {
        scene: {
            start: runs.cell(variant, scene, number)
            for start, variant in variants_by_start(runs.plan).items()
        }
        for scene in runs.scenes
    }


def published_start() -> tuple[int, Mapping[str, float]]:
    """Return the start at which the paper says that mIoU peaks, and its mIoU there by scene."""
    statement = published()["tables"]["6"]["statement"]
    entry = _entry_of(statement)
    scenes = entry["scenes"]
    return statement["start"], {name: scores["miou"] for name, scores in scenes.items()}


def sweep_table(runs: Runs, mode: Mode) -> Table:
    """Return the sweep as a table, one row for each start."""
    about = published()["tables"]["6"]
    statement = about["statement"]
    columns = scene_columns(runs.scenes)
    by_start = variants_by_start(runs.plan)
    by_start.setdefault(statement["start"], "gradiseg")
    rows = {
        start: our_row(runs, variant, f"IGD from {start:,}", mode)
        for start, variant in sorted(by_start.items())
    }
    notes = Notes()
    entry = _entry_of(statement)
    cells = tuple(
        Cell(None if value is None else value / column.factor)
        for column in columns
        for value, _ in [printed_value(entry, column.key)]
    )
    name = printed_name(entry, statement["table"])
    label = f"{name}, IGD from {statement['start']:,} (Table {statement['table']})"
    numbers = notes.numbers([f"{entry['source']}.", *entry["caveats"]])
    notes.numbers([*about["caveats"], _OURS, *prompt_notes(runs), *runs.why_missing()])
    own = runs.only(list(by_start.values()))
    return Table(
        f"figure-6-{mode}",
        f"Figure 6: {about['title']}, aggregation {mode}",
        " ".join([mask_caption(own, mode), *_peaks(runs, mode)]),
        columns,
        (*rows.values(), Row(label, cells, True, entry["source"], numbers)),
        tuple(notes.lines),
    )


def _entry_of(statement: Mapping[str, str]) -> dict:
    entries = entries_of(statement["table"])
    return next(entry for entry in entries if entry["method"] == statement["method"])


def _peaks(runs: Runs, mode: Mode) -> list[str]:
    """Return a note on the start with our highest mIoU, for scenes with several starts."""
    found = []
    for scene, curve in curves(runs, mode).items():
        values = {start: cell.mean for start, cell in curve.items() if cell.mean is not None}
        best = [start for start, value in values.items() if value == max(values.values())]
        if len(values) > 1 and len(best) == 1:
            found.append(f"{scene} {best[0]:,}")
    return [f"Highest mIoU of ours: {', '.join(found)}."] if found else []
