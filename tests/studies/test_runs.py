"""The record of a study's runs."""

from __future__ import annotations

import json
from pathlib import Path

from studies.runs import collect_runs


def write_metrics(folder: Path, variant: str, seed: int, purity: float | None) -> Path:
    folder.mkdir()
    metrics = {
        "scene": "table", "variant": variant, "seed": seed, "iterations": 10, "num_gaussians": 7,
        "summary": {"miou": 0.123456789, "psnr": None}, "masks": {"left": "out"},
    }  # fmt: skip
    if purity is not None:
        metrics["gaussians"] = {"available": True, "purity": purity, "iou": 0.5}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder / "metrics.json"


def test_runs_are_sorted_and_short(tmp_path: Path) -> None:
    files = [
        write_metrics(tmp_path / "a", "igd", 1, None),
        write_metrics(tmp_path / "b", "igd", 0, 0.75),
        write_metrics(tmp_path / "c", "baseline", 0, None),
    ]
    out = tmp_path / "tables" / "runs.json"
    collect_runs(files, out, variants={"own": {"train": {"la_knn": None}}})
    content = json.loads(out.read_text())
    assert content["variants"] == {"own": {"train": {"la_knn": None}}}
    runs = content["runs"]
    assert [(run["variant"], run["seed"]) for run in runs] == [
        ("baseline", 0), ("igd", 0), ("igd", 1)
    ]  # fmt: skip
    assert runs[1]["gaussian_purity"] == 0.75
    assert runs[2]["gaussian_purity"] is None
    assert runs[0]["miou"] == 0.12346
    assert runs[0]["psnr"] is None
    assert len(out.read_text().splitlines()) == 5 + len(runs)  # a line each: changes can be read
