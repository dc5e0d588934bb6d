"""The paper's tables: its numbers line by line, ours beside them, and what is missing."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.cli import main
from gradiseg_core.config.labels import VARIANT_LABELS
from gradiseg_core.config.paper import FILES, PaperPlan
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tables.model import NOT_AVAILABLE, Cell, Table
from gradiseg_core.stages.tables.paper.build import make_paper_tables, write_paper_tables
from gradiseg_core.stages.tables.paper.figure_6 import plot_igd_start
from gradiseg_core.stages.tables.paper.theirs import entries_of, printed_value
from gradiseg_core.stages.tables.runs import published
from gradiseg_core.stages.tables.writers import markdown

LERF = ("figurines", "ramen", "teatime")
MIP = (
    "bicycle", "bonsai", "counter", "flowers", "garden", "kitchen", "room", "stump", "treehill",
)  # fmt: skip
PLAN = PaperPlan(scenes=LERF + MIP, starts={name: {"gradiseg": 12000} for name in LERF})


def run(
    scene: str, variant: str, miou: float | None = 0.5, *, seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """The parts of a run's metrics.json that the tables read."""
    mip, flat = scene in MIP, variant.endswith("_2d")
    prompts = {} if mip else dict.fromkeys(published()["datasets"]["lerf_mask"]["prompts"][scene])
    gg = {"miou": miou, "mbiou": None if miou is None else miou - 0.1, "prompts": prompts}
    lower = {"miou": None if miou is None else miou - 0.2, "mbiou": 0.1, "prompts": prompts}
    images = {"psnr": 27.0, "ssim": 0.8, "lpips_3dgs": 0.2, "lpips_authors": 0.3}
    return {
        "scene": scene, "variant": variant, "seed": seed,
        "source": "mipnerf360" if mip else "lerf_mask",
        "grounding": "groundingdino", "mask_rule": "tracked" if flat else "probability",
        "num_gaussians": None if flat else 1000, "iterations": 30_000,
        "masks": {"gg": gg, "strict": lower},
        "summary": images if not flat else dict.fromkeys(images),
        "photometric": {"lpips_about": {"available": True}},
        "coverage": {
            "test_views": 4, "test_views_rendered": 4, "test_views_annotated": 0 if mip else 3,
            "masks_annotated": 0 if mip else 6, "masks_scored": 0 if mip else 6,
            "masks_missing": [], "views_without_annotation": ["view_1"],
            "prompts_without_annotation": [],
        },
    } | changes  # fmt: skip


def write(folder: Path, runs: list[dict[str, Any]]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index}.json" for index in range(len(runs))]
    for path, entry in zip(paths, runs, strict=True):
        path.write_text(json.dumps(entry))
    return paths


def tables(folder: Path, runs: list[dict[str, Any]], plan: PaperPlan = PLAN) -> dict[str, Table]:
    parts = make_paper_tables(write(folder, runs), plan)
    return {table.name: table for part in parts.values() for table in part}


def cell(table: Table, label: str, key: str) -> Cell:
    [row] = [row for row in table.rows if row.label == label]
    return row.cells[[column.key for column in table.columns].index(key)]


# --- the paper's side ---


def test_every_line_of_the_papers_tables_is_published_data(shared_data: Path) -> None:
    paper = shared_data.parent / "paper" / "gradiseg.txt"
    if not paper.is_file():
        pytest.skip(f"the paper's text is not at {paper}")
    names = {
        name: (table, entry)
        for table in "1234"
        for entry in entries_of(table)
        for name in [f"{table}:{entry.get('tables', {}).get(table)}"]
        if table in entry.get("tables", {})
    }
    scenes = [f"{scene}.{metric}" for scene in LERF for metric in ("miou", "mbiou")]
    keys = {
        "1": scenes,
        "2": [*(f"{scene}.miou" for scene in LERF), "mean.miou"],
        "3": ["mean.psnr", "mean.ssim", "mean.lpips"],
        "4": scenes,
    }
    seen, waiting = set(), []
    for line in paper.read_text().splitlines():
        name, *numbers = line.split("\t")
        if numbers and all(re.fullmatch(r"[\d.]+", number) for number in numbers):
            waiting.append((name, [float(number) for number in numbers]))
        caption = re.match(r"Table (\d)\.", line)
        if caption and caption[1] in keys:
            for method, values in waiting:
                _, entry = names[f"{caption[1]}:{method}"]
                assert [printed_value(entry, key)[0] for key in keys[caption[1]]] == values
                seen.add(f"{caption[1]}:{method}")
            waiting = []
    assert seen == set(names)
    assert len(seen) == 6 + 5 + 2 + 4
    prompts = published()["datasets"]["lerf_mask"]["prompts"]
    for scene in LERF:
        assert f"{scene.title()}\t{', '.join(prompts[scene])}" in paper.read_text()


def test_contradictions_stand_as_printed_and_are_flagged(tmp_path: Path) -> None:
    found = tables(tmp_path, [])
    table = found["table-2-gg"]
    assert cell(table, "OmniSeg3D", "mean.miou").mean == pytest.approx(0.794)
    assert cell(table, "OmniSeg3D", "ramen.miou").mean == pytest.approx(0.770)
    [row] = [row for row in table.rows if row.label == "OmniSeg3D"]
    assert any("72.8" in table.notes[number - 1] for number in row.notes)
    for name, label in (("table-1-gg", "GradiSeg"), ("table-3", "GradiSeg")):
        [row] = [row for row in found[name].rows if row.label == label and row.published]
        assert any("12,000" in found[name].notes[number - 1] for number in row.notes)
    assert any("printed as GradSeg" in note for note in found["table-4-gg"].notes)
    assert any("none were read off" in note for note in found["figure-6-gg"].notes)


def test_means_that_the_paper_does_not_print_say_so(tmp_path: Path) -> None:
    table = tables(tmp_path, [])["table-1-gg"]
    [row] = [row for row in table.rows if row.label == "Gau-Group"]
    assert cell(table, "Gau-Group", "mean.miou").mean == pytest.approx(0.728)
    assert any("Mean computed here" in table.notes[number - 1] for number in row.notes)
    [later] = [row for row in table.rows if row.label == "Gaga"]
    assert not any("Mean computed here" in table.notes[number - 1] for number in later.notes)


# --- ours ---


def test_ours_differences_and_seeds(tmp_path: Path) -> None:
    runs = [
        run(scene, "gradiseg", value + 0.1 * seed, seed=seed)
        for scene, value in zip(LERF, (0.8, 0.7, 0.6), strict=True)
        for seed in (0, 1)
    ]
    runs += [run("figurines", "deva_2d", 0.4)]
    table = tables(tmp_path, runs)["table-1-gg"]
    ours = "GradiSeg (IGD + LA-KNN)"
    found = cell(table, ours, "figurines.miou")
    assert (found.mean, found.count) == (pytest.approx(0.85), 2)
    assert found.deviation == pytest.approx(0.1 / 2**0.5)
    mean = cell(table, ours, "mean.miou")
    assert (mean.mean, mean.deviation) == (pytest.approx(0.75), pytest.approx(0.1 / 2**0.5))
    minus = f"{ours} minus GradiSeg as published"
    assert cell(table, minus, "figurines.miou").mean == pytest.approx(0.85 - 0.813)
    assert cell(table, minus, "figurines.miou").deviation == found.deviation
    assert cell(table, minus, "mean.miou").mean == pytest.approx(0.75 - 2.342 / 3)
    text = markdown(table)
    assert "| +3.7 ± 7.1 |" in text
    assert cell(
        table, "DEVA (2D tracks, no Gaussians) minus DEVA as published", "figurines.miou"
    ).mean == pytest.approx(0.4 - 0.462)
    assert "Seeds: 0, 1; mean ± sample" in table.caption
    assert "30,000 iterations, as in the paper" in table.caption
    assert "42 of 42" in table.caption


def test_both_aggregations(tmp_path: Path) -> None:
    found = tables(tmp_path, [run(scene, "baseline", 0.6) for scene in LERF])
    for part in ("table-1", "table-4"):
        gg, strict = found[f"{part}-gg"], found[f"{part}-strict"]
        label = "baseline (Gaussian Grouping)"
        assert cell(gg, label, "ramen.miou").mean == pytest.approx(0.6)
        assert cell(strict, label, "ramen.miou").mean == pytest.approx(0.4)
        assert "aggregation gg" in gg.title
        assert "aggregation strict" in strict.title
        assert any("compare with aggregation gg" in note for note in strict.notes)


def test_a_mean_takes_the_seeds_that_ran_on_all_scenes(tmp_path: Path) -> None:
    runs = [run(scene, "gradiseg", 0.5) for scene in LERF]
    runs.append(run("ramen", "gradiseg", 0.9, seed=1))
    table = tables(tmp_path, runs)["table-1-gg"]
    ours = "GradiSeg (IGD + LA-KNN)"
    assert cell(table, ours, "ramen.miou").count == 2
    assert cell(table, ours, "mean.miou") == Cell(
        pytest.approx(0.5), None, 1, remarks=("Without seed 1, which has not run on all scenes.",)
    )


def test_a_single_scene_gets_its_columns_and_the_others_are_missing(tmp_path: Path) -> None:
    plan = PaperPlan(scenes=("figurines",), absent={"ramen": "no photographs at data/ramen"})
    found = tables(tmp_path, [run("figurines", "gradiseg", 0.7)], plan)
    for name in ("table-1-gg", "table-1-strict", "table-4-gg", "figure-6-gg"):
        table = found[name]
        assert [column.key for column in table.columns[:4:2]] == ["figurines.miou", "ramen.miou"]
        [row] = [row for row in table.rows if row.label.startswith(("GradiSeg (", "IGD from"))][:1]
        assert row.cells[0].mean is not None
        assert [other.instead for other in row.cells[2:]] == ["missing"] * 6
        assert "Missing: ramen (no photographs at data/ramen)." in table.notes
        assert "Missing: teatime (not in this configuration)." in table.notes
    assert "| missing |" in markdown(found["table-1-gg"])
    [row] = [row for row in found["table-1-gg"].rows if row.ours and row.label.startswith("DEVA")]
    assert {other.instead for other in row.cells} == {"missing"}


def test_without_any_run_every_table_stands(tmp_path: Path) -> None:
    found = tables(tmp_path, [], PaperPlan())
    assert len(found) == 11
    assert "there is no run" in found["table-3"].caption
    assert "Missing: figurines, ramen, teatime (not in this configuration)." in (
        found["table-2-strict"].notes
    )
    assert cell(found["table-3"], "Gau-Group", "mean.psnr").mean == 27.09


def test_what_is_planned_and_did_not_run_is_not_called_absent(tmp_path: Path) -> None:
    table = tables(tmp_path, [run("ramen", "gradiseg")])["table-1-gg"]
    assert "Missing: figurines, teatime (not run yet)." in table.notes


def test_an_undefined_score_is_not_a_missing_run(tmp_path: Path) -> None:
    table = tables(tmp_path, [run("ramen", "baseline", None)])["table-1-gg"]
    label = "baseline (Gaussian Grouping)"
    assert cell(table, label, "ramen.miou").instead == NOT_AVAILABLE
    [remark] = cell(table, label, "ramen.miou").remarks
    assert remark.startswith("ramen: not available: ")
    assert cell(table, label, "teatime.miou").instead == "missing"
    minus = f"{label} minus Gau-Group as published"
    assert cell(table, minus, "ramen.miou").instead == NOT_AVAILABLE


def test_table_2_takes_the_ids_chosen_by_hand(tmp_path: Path) -> None:
    runs = [run(scene, "gradiseg", 0.3) for scene in LERF]
    runs += [run(scene, "gradiseg", 0.9, grounding="manual") for scene in LERF]
    found = tables(tmp_path, runs)
    ours = "GradiSeg (IGD + LA-KNN)"
    assert cell(found["table-1-gg"], ours, "mean.miou").mean == pytest.approx(0.3)
    assert cell(found["table-2-gg"], ours, "mean.miou").mean == pytest.approx(0.9)
    minus = f"{ours} minus GradiSeg as published"
    assert cell(found["table-2-gg"], minus, "mean.miou").mean == pytest.approx(0.9 - 0.896)
    assert cell(found["table-2-gg"], minus, "mean.mbiou") == Cell(None, count=0, instead="")
    assert any("annotated test view" in note for note in found["table-2-gg"].notes)


def test_each_scene_has_its_own_way_from_text(tmp_path: Path) -> None:
    runs = [
        run("ramen", "gradiseg", 0.2, grounding="colour_words"),
        run("ramen", "gradiseg", 0.6),
        run("teatime", "gradiseg", 0.3, grounding="colour_words"),
    ]
    table = tables(tmp_path, runs)["table-1-gg"]
    ours = "GradiSeg (IGD + LA-KNN)"
    assert cell(table, ours, "ramen.miou").mean == pytest.approx(0.6)
    assert cell(table, ours, "teatime.miou").mean == pytest.approx(0.3)
    assert any("ours do not" in note for note in table.notes)


def test_table_4_lists_the_ablation_in_the_papers_order(tmp_path: Path) -> None:
    plan = PaperPlan(scenes=LERF, starts={"ramen": {"gradiseg": 12000, "late": 15000}})
    runs = [
        run("ramen", variant)
        for variant in ("gradiseg", "igd", "la_knn", "baseline", "late", "gradiseg_plus", "deva_2d")
    ]
    found = tables(tmp_path, runs, plan)
    labels = [row.label for row in found["table-4-gg"].rows]
    assert labels[:4] == [
        "baseline (Gaussian Grouping)", "baseline + LA-KNN", "baseline + IGD",
        "GradiSeg (IGD + LA-KNN)",
    ]  # fmt: skip
    assert labels[4:8] == ["w/o IGD & LA-KNN", "w/o IGD", "w/o LA-KNN", "GradSeg"]
    assert labels[9] == "baseline + LA-KNN minus w/o IGD as published"
    ours = [row.label for row in found["table-1-gg"].rows if row.ours]
    assert ours == [
        "DEVA (2D tracks, no Gaussians)", "baseline (Gaussian Grouping)", "GradiSeg (IGD + LA-KNN)",
        VARIANT_LABELS["gradiseg_plus"],
    ]  # fmt: skip


def test_table_3_over_nine_scenes(tmp_path: Path) -> None:
    runs = []
    for index, scene in enumerate(MIP):
        numbers = {"psnr": 20.0 + index, "ssim": 0.8, "lpips_3dgs": 0.2, "lpips_authors": 0.3}
        runs.append(run(scene, "gradiseg", summary=numbers))
    found = tables(tmp_path, runs)
    table, ours = found["table-3"], "GradiSeg (IGD + LA-KNN)"
    assert cell(table, ours, "mean.psnr").mean == pytest.approx(24.0)
    assert cell(table, ours, "mean.lpips").mean == pytest.approx(0.2)
    assert cell(table, ours, "mean.lpips_authors").mean == pytest.approx(0.3)
    minus = f"{ours} minus GradiSeg as published"
    assert cell(table, minus, "mean.psnr").mean == pytest.approx(24.0 - 27.05)
    assert cell(table, minus, "mean.lpips").mean == pytest.approx(0.2 - 0.167)
    assert cell(table, minus, "mean.lpips_authors").instead == ""
    assert not any("of 9 scenes" in row.label for row in table.rows)
    assert cell(found["table-3-scenes"], f"room: {ours}", "mean.psnr").mean == pytest.approx(26.0)
    assert "**" not in markdown(found["table-3-scenes"])


def test_table_3_over_some_scenes_is_compared_with_nothing(tmp_path: Path) -> None:
    plan = PaperPlan(scenes=("garden", "room"), factors={"garden": 8, "room": 4})
    why = {"lpips_about": {"available": False, "why": "no weights"}}
    found = tables(
        tmp_path,
        [
            run("garden", "baseline"),
            run("room", "baseline", photometric=why, summary=dict.fromkeys(
                ("psnr", "ssim", "lpips_3dgs", "lpips_authors"), None) | {"psnr": 29.0}),
        ],
        plan,
    )  # fmt: skip
    table, label = found["table-3"], "baseline (Gaussian Grouping)"
    assert cell(table, label, "mean.psnr").instead == "missing"
    assert cell(table, f"{label} minus Gau-Group as published", "mean.psnr").instead == "missing"
    some = f"{label}, mean of 2 of 9 scenes"
    assert cell(table, some, "mean.psnr").mean == pytest.approx(28.0)
    assert cell(table, some, "mean.lpips").instead == NOT_AVAILABLE
    assert cell(table, some, "mean.lpips").remarks[0].startswith("room: not available: ")
    assert "No LPIPS: no weights." in table.caption
    assert "room: images reduced 4 times, the paper's 8 times." in table.notes
    assert not any(note.startswith("garden:") for note in table.notes)


SWEEP = PaperPlan(
    scenes=LERF,
    starts={name: {"gradiseg": 12000, "late": 18000, "early": 3000} for name in LERF[:2]},
)


def sweep_runs() -> list[dict[str, Any]]:
    values = {"early": 0.5, "gradiseg": 0.7, "late": 0.6}
    runs = [run("figurines", name, value) for name, value in values.items()]
    return [*runs, run("figurines", "la_knn", 0.55), run("ramen", "gradiseg", 0.4)]


def test_figure_6_goes_by_the_start_of_igd(tmp_path: Path) -> None:
    table = tables(tmp_path, sweep_runs(), SWEEP)["figure-6-gg"]
    assert [row.label for row in table.rows] == [
        "IGD from 3,000", "IGD from 12,000", "IGD from 18,000",
        "GradiSeg, IGD from 12,000 (Table 1)",
    ]  # fmt: skip
    assert cell(table, "IGD from 18,000", "figurines.miou").mean == pytest.approx(0.6)
    assert cell(table, "IGD from 18,000", "ramen.miou").instead == "missing"
    assert "Highest mIoU of ours: figurines 12,000." in table.caption
    assert table.rows[-1].published


def test_figure_6_is_drawn_with_and_without_runs(tmp_path: Path) -> None:
    pictures = []
    changed = [run("figurines", "gradiseg", 0.9), *sweep_runs()[2:]]
    for index, (runs, plan) in enumerate(
        [(sweep_runs(), SWEEP), (changed, SWEEP), ([], PaperPlan())]
    ):
        out = tmp_path / f"{index}.png"
        plot_igd_start(write(tmp_path / str(index), runs), plan, out)
        pictures.append(np.asarray(Image.open(out).convert("L")))
    assert all(picture.std() > 5 for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1])


def test_prompts_that_are_not_those_of_table_5(tmp_path: Path) -> None:
    entry = run("ramen", "gradiseg")
    entry["masks"]["strict"]["prompts"] = {"egg": None, "spoon": None}
    notes = tables(tmp_path, [entry])["table-1-gg"].notes
    assert any(
        "ramen: prompts of the paper's Table 5 without" in n and "glass of water" in n
        for n in notes
    )
    assert "ramen: annotated prompts that its Table 5 does not list: spoon." in notes


def test_another_length_is_stated(tmp_path: Path) -> None:
    entry = run("ramen", "gradiseg", iterations=7000)
    caption = tables(tmp_path, [entry])["table-1-gg"].caption
    assert "Ours trained 7,000 iterations where the paper trains 30,000." in caption


def test_coverage(tmp_path: Path) -> None:
    entry = run("ramen", "gradiseg")
    entry["coverage"] |= {"masks_scored": 5, "masks_missing": ["2/egg"]}
    table = tables(tmp_path, [entry, run("ramen", "baseline"), run("room", "gradiseg")])["coverage"]
    label = "ramen, by text"
    assert cell(table, label, "runs").mean == 2
    assert cell(table, label, "masks_scored").mean == 5
    assert "ramen: annotated masks without a prediction (test view/prompt): 2/egg." in table.notes
    assert "ramen: test views without annotations: view_1." in table.notes
    assert not any(note.startswith("room:") for note in table.notes)  # nothing is annotated there
    assert cell(table, "stump", "runs").instead == "missing"


def test_files_hold_the_same_numbers(tmp_path: Path) -> None:
    runs = [run(scene, "gradiseg", 0.8142) for scene in LERF]
    parts = write_paper_tables(write(tmp_path / "in", runs), tmp_path / "out", PLAN)
    assert list(parts) == list(FILES)
    text = (tmp_path / "out" / "tables.md").read_text()
    tex = (tmp_path / "out" / "tables.tex").read_text()
    assert "figure_6.png" in text
    assert text.count("\n## ") == tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 11
    for content in (text, tex):
        assert "81.4" in content
        assert "+0.1" in content
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "table_1.csv").read_text())))
    [row] = [
        row
        for row in rows
        if row["published"] == "difference"
        and row["table"] == "table-1-gg"
        and row["metric"] == "figurines mIoU"
        and row["method"].startswith("GradiSeg")
    ]
    assert row["mean"] == "+0.1"
    assert {row["published"] for row in rows} == {"yes", "no", "difference"}


def test_bad_inputs(tmp_path: Path) -> None:
    paths = write(tmp_path, [run("ramen", "gradiseg")])
    with pytest.raises(InputError, match="twice"):
        make_paper_tables(paths * 2, PLAN)
    with pytest.raises(InputError, match="metrics stage"):
        make_paper_tables([tmp_path / "none.json"], PLAN)


def test_the_command_prints_what_has_run_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ramen" / "images").mkdir(parents=True)
    (tmp_path / "a.yaml").write_text("scenes: {ramen: {source: lerf_mask, path: nowhere}}\n")
    (tmp_path / "b.yaml").write_text(
        "scenes: {ramen: {path: ramen}}\nsecond_grounding: {backend: manual}\n"
    )
    run_dir = tmp_path / "results" / "ramen" / "gradiseg" / "seed0"
    for name, entry in (
        ("metrics", run("ramen", "gradiseg", 0.61)),
        ("second_metrics", run("ramen", "gradiseg", 0.87, grounding="manual")),
    ):
        (run_dir / name).mkdir(parents=True)
        (run_dir / name / "metrics.json").write_text(json.dumps(entry))
    assert main(["paper-tables", "a.yaml", "b.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "61.0" in printed
    assert "87.0" in printed
    assert main(["paper-tables", "a.yaml", "b.yaml", "--out", "so_far"]) == 0
    assert (tmp_path / "so_far" / "table_2.csv").is_file()
    assert main(["paper-tables", "a.yaml"]) == 1
    assert "scenes.ramen.path: no such folder" in capsys.readouterr().err
