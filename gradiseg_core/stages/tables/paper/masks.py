"""Tables 1, 2 and 4: scores of the prompts' masks on LERF-Mask."""

from __future__ import annotations

from collections.abc import Sequence

from gradiseg_core.config.labels import VARIANT_LABELS
from gradiseg_core.stages.tables.model import Column, Row, Table
from gradiseg_core.stages.tables.paper.ours import Runs, facts, mask_number, own_variants
from gradiseg_core.stages.tables.paper.theirs import Notes, published_rows
from gradiseg_core.stages.tables.runs import Mode, Run, dataset_of, published

DATASET = "lerf_mask"
METRICS = (("miou", "mIoU"), ("mbiou", "mBIoU"))
MODES: tuple[Mode, ...] = ("gg", "strict")

_AGGREGATION = {
    "gg": "gg (as Gaussian Grouping's script: missing predictions are skipped)",
    "strict": "strict (nothing is skipped; a missing prediction scores 0)",
}

#: Grounding backends that find a prompt without reading it.
_NO_TEXT = ("manual", "clicks")

#: The variants that a table always lists; Table 4 lists no others.
LISTED = {
    "1": ("deva_2d", "baseline", "gradiseg"),
    "2": ("baseline", "gradiseg"),
    "4": ("baseline", "la_knn", "igd", "gradiseg"),
}


def by_text(runs: Sequence[Run]) -> list[Run]:
    """Return the runs of LERF-Mask whose prompts were found by text, as in Tables 1 and 4.

    If a scene was grounded by text twice, the run of Grounding DINO counts, as in the paper.
    """
    own = [run for run in runs if dataset_of(run) == DATASET and run["grounding"] not in _NO_TEXT]
    ways: dict[str, str] = {}
    for run in own:
        if run["scene"] not in ways or run["grounding"] == "groundingdino":
            ways[run["scene"]] = run["grounding"]
    return [run for run in own if run["grounding"] == ways[run["scene"]]]


def by_hand(runs: Sequence[Run]) -> list[Run]:
    """Return the runs of LERF-Mask whose IDs were chosen without text, as in Table 2."""
    return [run for run in runs if dataset_of(run) == DATASET and run["grounding"] == "manual"]


def scene_columns(scenes: Sequence[str]) -> tuple[Column, ...]:
    """Return mIoU and mBIoU of each scene and of their mean."""
    return tuple(
        Column(f"{scene}.{metric}", f"{scene} {name}", 1, 100.0)
        for scene in (*scenes, "mean")
        for metric, name in METRICS
    )


def our_row(runs: Runs, variant: str, label: str, mode: Mode) -> Row:
    """Return a variant's scores of all scenes and their mean."""
    cells = []
    for column in scene_columns(runs.scenes):
        scene, metric = column.key.split(".")
        number = mask_number(metric, mode)
        cells.append(
            runs.mean_cell(variant, runs.scenes, number)
            if scene == "mean"
            else runs.cell(variant, scene, number)
        )
    return Row(label, tuple(cells))


def mask_table(table: str, runs: Runs, mode: Mode, sweep: Sequence[str]) -> Table:
    """Return Table 1, 2 or 4.

    Args:
        table: Its number.
        runs: The runs of LERF-Mask, grounded as the table requires.
        mode: Aggregation.
        sweep: Variants that belong only to Figure 6.
    """
    listed = LISTED[table]
    left_out = [*sweep, "igd", "la_knn"]
    variants = list(listed) if table == "4" else own_variants(runs, listed, left_out)
    columns = scene_columns(runs.scenes)
    ours = {}
    for variant in variants:
        label = runs.label(variant, VARIANT_LABELS.get(variant, variant))
        ours[variant] = our_row(runs, variant, label, mode)
    notes = Notes()
    theirs = published_rows(table, columns, ours, notes)
    about = published()["tables"][table]
    shown = runs.only(variants)
    extra = [*about["caveats"], *_about_ids(table, shown), *prompt_notes(runs), *runs.why_missing()]
    notes.numbers(extra)
    return Table(
        f"table-{table}-{mode}",
        f"Table {table}: {about['title']}, aggregation {mode}",
        mask_caption(shown, mode),
        columns,
        (*ours.values(), *theirs),
        tuple(notes.lines),
    )


def mask_caption(runs: Runs, mode: Mode) -> str:
    """Return what was measured and how."""
    parts = [f"mIoU and mBIoU in percent, aggregation {_AGGREGATION[mode]}."]
    trained = [run for run in runs.all() if run["num_gaussians"] is not None]
    if trained:
        ways = ", ".join(dict.fromkeys(run["grounding"] for run in trained))
        rules = ", ".join(dict.fromkeys(run["mask_rule"] for run in trained))
        parts.append(f"Ours: prompts grounded by {ways}, {rules} masks.")
    parts += facts(runs.all())
    scored = sum(run["coverage"]["masks_scored"] for run in runs.all())
    annotated = sum(run["coverage"]["masks_annotated"] for run in runs.all())
    if annotated:
        parts.append(f"Annotated masks with a prediction: {scored} of {annotated} over all runs.")
    if not runs.all():
        parts.append("Ours: there is no run of this table.")
    return " ".join(parts)


def _about_ids(table: str, runs: Runs) -> list[str]:
    if table == "2":
        return [
            "Ours: the IDs of the file grounding.manual.selection where it names them, otherwise "
            "the ID that overlaps the annotation best. LERF-Mask has no annotated training view, "
            "so that this choice looks at one annotated test view (docs/evaluation.md)."
        ] * bool(runs.all())
    ways = {run["grounding"] for run in runs.all()} - {"groundingdino"}
    return ["Published rows find their objects with Grounding DINO, ours do not."] * bool(ways)


def prompt_notes(runs: Runs) -> list[str]:
    """Return notes on annotated prompts that differ from the paper's Table 5."""
    listed = published()["datasets"][runs.dataset]["prompts"]
    lines = []
    for scene in runs.scenes_run:
        run = next(run for (_, at, _), run in runs.by_key.items() if at == scene)
        annotated, wanted = set(run["masks"]["strict"]["prompts"]), set(listed[scene])
        for text, names in (
            ("prompts of the paper's Table 5 without annotation here", wanted - annotated),
            ("annotated prompts that its Table 5 does not list", annotated - wanted),
        ):
            if names:
                lines.append(f"{scene}: {text}: {', '.join(sorted(names))}.")
    return lines
