"""Table 3: quality of the renderings on Mip-NeRF 360."""

from __future__ import annotations

from dataclasses import replace

from gradiseg_core.config.labels import VARIANT_LABELS
from gradiseg_core.config.paper import PaperPlan
from gradiseg_core.stages.tables.model import Column, Row, Table
from gradiseg_core.stages.tables.paper.ours import Runs, facts, image_number, own_variants
from gradiseg_core.stages.tables.paper.theirs import Notes, published_rows
from gradiseg_core.stages.tables.runs import published

LISTED = ("baseline", "gradiseg")
#: The reduction of the images in the paper's Table 3.
FACTOR = 8

#: Columns, and their names in ``metrics.json``. Published LPIPS is taken to be on 0..1.
COLUMNS = (
    (Column("mean.psnr", "PSNR", 2), "psnr"),
    (Column("mean.ssim", "SSIM", 3), "ssim"),
    (Column("mean.lpips", "LPIPS on 0..1", 3, best="min"), "lpips_3dgs"),
    (Column("mean.lpips_authors", "LPIPS on -1..1", 3, best="min"), "lpips_authors"),
)


def image_tables(runs: Runs) -> list[Table]:
    """Return Table 3, and the same scene by scene, which the paper does not print."""
    variants = own_variants(runs, LISTED, ())
    labels = {name: runs.label(name, VARIANT_LABELS.get(name, name)) for name in variants}
    columns = tuple(column for column, _ in COLUMNS)
    # Rows of different scenes have no best one.
    plain = tuple(replace(column, best="") for column in columns)
    numbers = [image_number(key) for _, key in COLUMNS]
    whole = {
        name: Row(
            labels[name], tuple(runs.mean_cell(name, runs.scenes, number) for number in numbers)
        )
        for name in variants
    }
    notes = Notes()
    theirs = published_rows("3", columns, whole, notes)
    about = published()["tables"]["3"]
    notes.numbers([*about["caveats"], *_factors(runs.plan), *runs.why_missing()])
    some = [] if runs.scenes_run == runs.scenes else _means_of_some(runs, labels)
    caption = _caption(runs)
    by_scene = [
        Row(
            f"{scene}: {labels[name]}",
            tuple(runs.cell(name, scene, number) for number in numbers),
        )
        for scene in runs.scenes
        for name in variants
    ]
    return [
        Table(
            "table-3", f"Table 3: {about['title']}", caption, columns,
            (*whole.values(), *some, *theirs), tuple(notes.lines),
        ),
        Table(
            "table-3-scenes", "Table 3, scene by scene", caption + " The paper prints no scenes.",
            plain, tuple(by_scene), (*_factors(runs.plan), *runs.why_missing()),
        ),
    ]  # fmt: skip


def _means_of_some(runs: Runs, labels: dict[str, str]) -> list[Row]:
    """Return means over the scenes that ran; the published means are of nine."""
    there = runs.scenes_run
    return [
        Row(
            f"{label}, mean of {len(there)} of {len(runs.scenes)} scenes",
            tuple(runs.mean_cell(name, there, image_number(key)) for _, key in COLUMNS),
        )
        for name, label in labels.items()
        if there
    ]


def _caption(runs: Runs) -> str:
    parts = [
        "Mean over test views (every 8th by name), then over the nine scenes. SSIM with an 11 x 11 "
        "Gaussian window; LPIPS with VGG-16, in both input ranges: 0..1 as 3DGS's script feeds it, "
        "-1..1 as its authors define it."
    ]
    parts += facts(runs.all())
    without = {
        run["photometric"]["lpips_about"]["why"]
        for run in runs.all()
        if not run["photometric"]["lpips_about"]["available"]
    }
    parts += [f"No LPIPS: {why}." for why in sorted(without)]
    if not runs.all():
        parts.append("Ours: there is no run of this table.")
    return " ".join(parts)


def _factors(plan: PaperPlan) -> list[str]:
    other = {scene: factor for scene, factor in plan.factors.items() if factor != FACTOR}
    return [
        f"{scene}: images reduced {factor} times, the paper's {FACTOR} times."
        for scene, factor in other.items()
    ]
