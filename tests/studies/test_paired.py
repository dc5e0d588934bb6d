"""Differences from the reference variant, paired by scene and seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradiseg_core.config.tables import TablesConfig
from studies.paired import write_paired
from tests.stages.tables.runs import cells, run, write


def test_differences_are_paired_by_scene_and_seed(tmp_path: Path) -> None:
    runs = [
        run("a", "baseline", 0, 0.2), run("a", "igd", 0, 0.3),
        run("b", "baseline", 0, 0.8), run("b", "igd", 0, 0.84),
        run("a", "baseline", 1, 0.4), run("a", "igd", 1, 0.38),
        run("b", "igd", 1, 0.1),  # no baseline of its own: no pair
        run("a", "la_knn", 0, 0.1),
    ]  # fmt: skip
    out = tmp_path / "tables" / "differences.md"
    tables = write_paired(write(tmp_path, runs), out, TablesConfig(), {})
    [table] = tables
    assert table.name == "differences-own-scenes-strict"
    [cell] = cells(table, "baseline + IGD", "miou")
    assert cell.mean == pytest.approx((0.07 - 0.02) / 2)
    assert cell.deviation == pytest.approx(0.09 / 2**0.5)  # of +0.07 and -0.02
    [other] = cells(table, "baseline + LA-KNN", "miou")
    assert other.mean == pytest.approx(-0.1)
    text = out.read_text()
    assert "+2.5 ± 6.4" in text
    assert "-10.0" in text
    assert "1 or 3 pairs" in table.caption


def test_labels_of_own_variants(tmp_path: Path) -> None:
    runs = [run("a", "baseline", 0, 0.2), run("a", "mine", 0, 0.3), run("a", "other", 0, 0.4)]
    paths = write(tmp_path, runs)
    [table] = write_paired(paths, tmp_path / "d.md", TablesConfig(), {"mine": "My own"})
    assert [row.label for row in table.rows] == ["My own", "other"]


def test_without_the_reference_there_are_no_differences(tmp_path: Path) -> None:
    runs = [run("a", "igd", 0, 0.2), run("a", "gradiseg", 0, 0.3)]
    assert write_paired(write(tmp_path, runs), tmp_path / "d.md", TablesConfig(), {}) == []


def test_a_pair_without_a_number_is_said(tmp_path: Path) -> None:
    why = "no test views: the scene holds none out"
    scores = run("a", "igd", 0, None)["summary"] | {"psnr": None, "ssim": None}
    gone = {"gg": {"miou": None, "mbiou": None, "why": why, "over": None}}
    gone["strict"] = gone["gg"]
    none = run(
        "a", "igd", 0, None, masks=gone, argmax_masks=gone, summary=scores,
        not_available={"psnr": why, "ssim": why},
    )  # fmt: skip
    runs = [none, run("a", "baseline", 0, 0.5)]
    [table] = write_paired(write(tmp_path, runs), tmp_path / "d.md", TablesConfig(), {})
    assert [column.key for column in table.columns] == ["num_gaussians"]
    (tmp_path / "pairs").mkdir()
    pairs = write(
        tmp_path / "pairs", [*runs, *(run("a", variant, 1, 0.5) for variant in ("igd", "baseline"))]
    )
    write_paired(pairs, tmp_path / "d.md", TablesConfig(), {})
    said = (tmp_path / "d.md").read_text()
    assert "Δ PSNR over 1 of 2 pairs: the others have no number." in said
