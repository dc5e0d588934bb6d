"""Differences of variants from one of them, paired by scene and seed.

Scenes and seeds differ more than variants do. The effect of a module is the difference of two
trainings of the same scene from the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gradiseg_core.config.tables import TablesConfig
from gradiseg_core.stages.tables.model import COLUMNS, Cell, Column, Row, Table
from gradiseg_core.stages.tables.runs import read_runs, value
from gradiseg_core.stages.tables.stage import groups, modes, slug, variants_in_order
from gradiseg_core.stages.tables.writers import markdown

Run = dict[str, Any]

#: Metrics whose differences are shown; image metrics and shares alike.
_KEYS = (
    "miou", "mbiou", "object_miou", "object_mbiou", "object_fine_mbiou", "psnr", "ssim",
    "num_gaussians",
)  # fmt: skip


def write_paired(
    metrics: list[Path], out: Path, config: TablesConfig, labels: Mapping[str, str]
) -> list[Table]:
    """Write the differences from the reference variant as Markdown, a table for each dataset.

    Args:
        metrics: ``metrics.json`` of every scene, variant and seed.
        out: File to write.
        config: Names the reference, and the aggregations.
        labels: Names of variants that do not ship, if they have one.

    Returns:
        The tables; none if the reference did not run, or nothing else ran on its scenes.

    Raises:
        InputError: If a file is missing or not a ``metrics.json``, or two are of the same run.
    """
    runs = read_runs(metrics, labels)
    tables = []
    for mode in modes(config):
        for title, group in groups(runs).items():
            compared = variants_in_order(group, config)
            if compared[0] != config.reference_variant:
                continue
            scenes = ", ".join(dict.fromkeys(run["scene"] for run in group))
            table = paired_table(
                f"differences-{slug(title)}-{mode}",
                f"Differences from {config.reference_variant}: {title} ({scenes})",
                group,
                compared,
                COLUMNS,
                partial(value, mode=mode),
                {run["variant"]: run["label"] for run in group},
            )
            if table is not None:
                tables.append(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("# Differences\n\n" + "\n".join(map(markdown, tables)))
    return tables


def paired_table(
    name: str,
    title: str,
    runs: Sequence[Run],
    variants: Sequence[str],
    columns: Sequence[Column],
    value: Callable[[Run, Column], float | None],
    labels: Mapping[str, str],
) -> Table | None:
    """Return a table of mean differences from the first of ``variants``.

    A cell is the mean over scenes of one seed's differences; mean and sample standard deviation
    over seeds are shown. Only scenes and seeds that both variants have take part.

    Args:
        name: Identifier of the table.
        title: Its heading.
        runs: Contents of ``metrics.json``.
        variants: In the order of the rows; the first is the reference.
        columns: All known columns.
        value: Returns a run's number for a column, or None.
        labels: Each variant's printed name.

    Returns:
        The table, or None if no other variant shares a scene and seed with the reference.
    """
    by_run = {(run["variant"], run["scene"], run["seed"]): run for run in runs}
    reference, *others = variants
    shown = [
        replace(column, header=f"Δ {column.header}", signed=True)
        for column in columns
        if column.key in _KEYS
    ]
    rows, counts = [], set()
    for variant in others:
        pairs = [
            (by_run[reference, scene, seed], run)
            for (own, scene, seed), run in by_run.items()
            if own == variant and (reference, scene, seed) in by_run
        ]
        if pairs:
            counts.add(len(pairs))
            cells = tuple(_cell(pairs, column, value) for column in shown)
            rows.append(Row(labels[variant], cells))
    kept = [i for i in range(len(shown)) if any(row.cells[i].mean is not None for row in rows)]
    if not kept:
        return None
    pairs_text = " or ".join(map(str, sorted(counts)))
    caption = (
        f"Variant minus {labels[reference]}, paired by scene and seed ({pairs_text} pairs); mean "
        "over scenes, and mean ± sample standard deviation over seeds where there are several."
    )
    rows = [replace(row, cells=tuple(row.cells[i] for i in kept)) for row in rows]
    return Table(name, title, caption, tuple(shown[i] for i in kept), tuple(rows))


def _cell(
    pairs: list[tuple[Run, Run]], column: Column, value: Callable[[Run, Column], float | None]
) -> Cell:
    by_seed: dict[int, list[float]] = {}
    for first, second in pairs:
        before, after = value(first, column), value(second, column)
        if before is not None and after is not None:
            by_seed.setdefault(first["seed"], []).append(after - before)
    used = sum(map(len, by_seed.values()))
    remarks = []
    if not used:
        remarks = [f"{column.header} is not available: no pair has a number on both sides."]
    elif used < len(pairs):
        remarks = [f"{column.header} over {used} of {len(pairs)} pairs: the others have no number."]
    return Cell.of([sum(values) / len(values) for values in by_seed.values()], remarks)
