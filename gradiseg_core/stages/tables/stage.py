"""Stage 9: from the scores of all runs to tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gradiseg_core.config.labels import VARIANT_LABELS
from gradiseg_core.config.tables import TablesConfig
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tables import writers
from gradiseg_core.stages.tables.model import COLUMNS, Cell, Column, Row, Table
from gradiseg_core.stages.tables.runs import (
    Mode,
    Run,
    dataset_of,
    published,
    read_runs,
    remark,
    value,
)

_ORDER = list(VARIANT_LABELS)

#: Columns that are shown even if no row has a number, by whether there are prompts. Other columns
#: without numbers are left out, and the caption says why.
_ALWAYS = {True: ("miou", "mbiou", "psnr", "ssim"), False: ("psnr", "ssim")}


def build(
    metrics: list[Path],
    out_dir: Path,
    config: TablesConfig,
    labels: Mapping[str, str] | None = None,
) -> list[Table]:
    """Write ``tables.md``, ``tables.tex`` and ``tables.csv``.

    Args:
        metrics: ``metrics.json`` of every scene, variant and seed.
        out_dir: Folder to write.
        config: What to show.
        labels: Names of variants that do not ship, if they have one.

    Returns:
        The tables: one for each scene, then one mean for each dataset that has several scenes.

    Raises:
        InputError: If a file is missing or not a ``metrics.json``, or two are of the same run.
    """
    tables = make_tables(metrics, config, labels)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "tables.md").write_text("# Results\n\n" + "\n".join(map(writers.markdown, tables)))
    needs = "% needs \\usepackage{booktabs}\n\n"
    (out_dir / "tables.tex").write_text(needs + "\n".join(map(writers.latex, tables)))
    (out_dir / "tables.csv").write_text(writers.csv_rows(tables))
    return tables


def terminal(metrics: list[Path], config: TablesConfig | None = None) -> str:
    """Return the tables as text for a terminal; arguments as for :func:`build`."""
    return "\n".join(map(writers.text, make_tables(metrics, config or TablesConfig())))


def make_tables(
    metrics: list[Path], config: TablesConfig, labels: Mapping[str, str] | None = None
) -> list[Table]:
    """Return the tables that :func:`build` writes."""
    runs = read_runs(metrics, labels or {})
    if not runs:
        raise InputError("no metrics.json was given, so there is nothing to tabulate")
    scenes = list(dict.fromkeys(run["scene"] for run in runs))
    tables = []
    for mode in modes(config):
        for scene in scenes:
            of_scene = [run for run in runs if run["scene"] == scene]
            for suffix, own in _protocols(of_scene):
                name = f"scene-{scene}{suffix and '-' + suffix}-{mode}"
                title = f"Scene {scene}" + (f", {suffix}" if suffix else "")
                tables.append(_table(name, title, own, mode, config))
        for title, group in groups(runs).items():
            names = list(dict.fromkeys(run["scene"] for run in group))
            if len(names) > 1:
                heading = f"Mean over {title} ({', '.join(names)})"
                name = f"mean-{slug(title)}-{mode}"
                tables.append(_table(name, heading, group, mode, config))
    return tables


def modes(config: TablesConfig) -> tuple[Mode, ...]:
    """Return the aggregations that are tabulated."""
    return ("gg", "strict") if config.aggregation == "both" else (config.aggregation,)


def slug(title: str) -> str:
    """Return a heading in the form used in a table's name."""
    return title.lower().replace(",", "").replace(" ", "-")


def _protocols(runs: list[Run]) -> list[tuple[str, list[Run]]]:
    """Divide runs by grounding backend; the name is empty if there is only one."""
    ways = list(dict.fromkeys(run["grounding"] for run in runs))
    if len(ways) == 1:
        return [("", runs)]
    return [(way, [run for run in runs if run["grounding"] == way]) for way in ways]


def _table(name: str, title: str, runs: list[Run], mode: Mode, config: TablesConfig) -> Table:
    scenes = list(dict.fromkeys(run["scene"] for run in runs))
    rows = [_our_row(variant, runs, scenes, mode) for variant in variants_in_order(runs, config)]
    notes: list[str] = []
    if config.published:
        rows += _published_rows(runs, scenes, notes)
    kept = [
        index
        for index in range(len(COLUMNS))
        if COLUMNS[index].key in _ALWAYS[any(map(_has_prompts, runs))]
        or any(row.cells[index].mean is not None for row in rows)
    ]
    columns = tuple(COLUMNS[index] for index in kept)
    rows = [
        Row(row.label, tuple(row.cells[i] for i in kept), row.published, row.source, row.notes)
        for row in rows
    ]
    absent = [column for column in COLUMNS if column not in columns]
    caption = _caption(runs, scenes, mode, {column.key for column in columns})
    missing = _why_missing(runs, absent)
    return Table(name, title, f"{caption} {missing}".strip(), columns, tuple(rows), tuple(notes))


def variants_in_order(runs: list[Run], config: TablesConfig) -> list[str]:
    """Return the variants of the runs, the reference first, then as the paper lists them."""
    return sorted(
        dict.fromkeys(run["variant"] for run in runs),
        key=lambda variant: (
            variant != config.reference_variant,
            _ORDER.index(variant) if variant in _ORDER else len(_ORDER),
        ),
    )


def _our_row(variant: str, runs: list[Run], scenes: list[str], mode: Mode) -> Row:
    """Return a variant's cells: over seeds, of the mean over scenes.

    A seed that has not run on all scenes is left out, and every cell says so.
    """
    own = {(run["scene"], run["seed"]): run for run in runs if run["variant"] == variant}
    seeds = sorted({seed for _, seed in own})
    complete = [seed for seed in seeds if all((scene, seed) in own for scene in scenes)]
    cells = []
    left_out = [seed for seed in seeds if seed not in complete]
    partly = [
        f"Without seed {', '.join(map(str, left_out))}, which has not run on all scenes."
    ] * bool(left_out)
    for column in COLUMNS:
        values: list[float | None] = []
        remarks = [remark(own[s, seed], column, mode) for seed in complete for s in scenes]
        for seed in complete:
            per_scene = [value(own[scene, seed], column, mode) for scene in scenes]
            numbers = [value for value in per_scene if value is not None]
            full = len(numbers) == len(scenes)
            values.append(sum(numbers) / len(numbers) if full else None)
        cells.append(Cell.of(values, [*partly, *filter(None, remarks)]))
    label = next(run["label"] for run in runs if run["variant"] == variant)
    return Row(label, tuple(cells))


def _has_prompts(run: Run) -> bool:
    coverage = run["coverage"]
    return bool(coverage["masks_annotated"] or coverage.get("prompts_without_annotation"))


def groups(runs: list[Run]) -> dict[str, list[Run]]:
    """Return the runs of which a common mean is taken, by the title of their dataset."""
    together: dict[str, list[Run]] = {}
    for run in runs:
        key = dataset_of(run)
        title = published()["datasets"][key]["title"] if key else "own scenes"
        together.setdefault(title, []).append(run)
    return {
        title + (f", {suffix}" if suffix else ""): part
        for title, group in together.items()
        for suffix, part in _protocols(group)
    }


def _published_rows(runs: list[Run], scenes: list[str], notes: list[str]) -> list[Row]:
    """Return published rows of the same dataset and protocol; fills ``notes``."""
    keys = {dataset_of(run) for run in runs}
    key = keys.pop() if len(keys) == 1 else None
    if key is None:
        return []
    protocol = "manual" if all(run["grounding"] == "manual" for run in runs) else "text"
    whole = {scene.lower() for scene in scenes} == set(published()["datasets"][key]["scenes"])
    if protocol == "text" and any(run["grounding"] != "groundingdino" for run in runs):
        notes.append("Published rows find their objects with Grounding DINO, ours do not.")
    rows = []
    for entry in published()["entries"]:
        if entry["dataset"] != key or entry["protocol"] not in (protocol, "any"):
            continue
        caveats = list(entry["caveats"])
        if len(scenes) == 1:
            values = entry.get("scenes", {}).get(scenes[0].lower())
        elif not whole:
            values = None
        elif "average" in entry:
            values = entry["average"]
        else:
            listed = entry["scenes"].values()
            values = {
                metric: sum(scene[metric] for scene in listed) / len(listed)
                for metric in next(iter(listed))
            }
            caveats.append("Average computed here from the paper's scenes.")
        if values is None:
            continue
        cells = tuple(
            Cell(values[column.key] / column.factor if column.key in values else None)
            for column in COLUMNS
        )
        lines = [f"{entry['source']}.", *caveats]
        numbers = []
        for line in lines:
            if line not in notes:
                notes.append(line)
            numbers.append(notes.index(line) + 1)
        rows.append(Row(entry["method"], cells, True, entry["source"], tuple(numbers)))
    return rows


def _caption(runs: list[Run], scenes: list[str], mode: Mode, shown: set[str]) -> str:
    """Say what the numbers are, of the columns that are shown."""
    grounding = ", ".join(dict.fromkeys(_grounded(run) for run in runs))
    rule = ", ".join(dict.fromkeys(run["mask_rule"] for run in runs))
    seeds = len({run["seed"] for run in runs})
    parts = []
    if not shown.isdisjoint({"miou", "mbiou", "argmax_miou", "argmax_mbiou"}):
        parts.append(
            f"mIoU and mBIoU in percent: prompts grounded by {grounding}, {rule} masks (argmax: "
            "the same IDs, pixels of the label map), aggregation "
            + (
                "gg (as Gaussian Grouping's script: missing predictions are skipped)."
                if mode == "gg"
                else "strict (nothing is skipped; a missing prediction scores 0)."
            )
        )
    if any(run["summary"]["object_miou"] is not None for run in runs):
        parts.append("Object scores: argmax labels against exact IDs, without prompts.")
    if len(scenes) > 1:
        parts.append("Mean over scenes.")
    if seeds > 1:
        parts.append(f"Mean ± sample standard deviation over {seeds} seeds.")
    covered = sum(run["coverage"]["masks_scored"] for run in runs)
    annotated = sum(run["coverage"]["masks_annotated"] for run in runs)
    if annotated:
        parts.append(f"Annotated masks with a prediction: {covered} of {annotated} over all runs.")
    return " ".join(parts)


def _grounded(run: Run) -> str:
    """Return what answered a run's prompts, and what a reader must know of how."""
    protocol = run.get("grounding_protocol")
    return run["grounding"] + (f" ({protocol})" if protocol else "")


def _why_missing(runs: list[Run], absent: list[Column]) -> str:
    """Say why columns are not shown."""
    keys = {column.key for column in absent}
    parts = []
    if "miou" in keys:
        parts.append("No mIoU: no prompt of the scene is annotated.")
    for key, name in (("object_miou", "object scores"), ("lpips", "LPIPS")):
        if key in keys:
            reasons = dict.fromkeys(_why_not(run, key) for run in runs)
            parts += [f"No {name}: {why}." for why in reasons]
    return " ".join(parts)


def _why_not(run: Run, key: str) -> str:
    if key in run.get("not_available", {}):
        return run["not_available"][key]
    where = run["objects"] if key == "object_miou" else run["photometric"]["lpips_about"]
    return str(where.get("why") or "undefined")
