"""The GPU benchmark's code, run on a CPU with gsplat's own PyTorch functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_parts.table import aims, markdown
from benchmarks.gpu_parts.timing import Limit, Rates


def test_a_limit_is_the_longer_of_moving_and_computing() -> None:
    rates = Rates(bytes_per_s=1e9, flop_per_s=1e12)
    assert Limit(2e6, 1e6).ms(rates) == pytest.approx(2.0)
    assert Limit(2e3, 5e9).ms(rates) == pytest.approx(5.0)


def record(part: str, scene: str, code: str, ms: float, peak_mb: float | None = None) -> dict:
    values = {"part": part, "scene": scene, "code": code, "ms": ms, "best_ms": ms, "runs": 3}
    memory = {"peak_mb": peak_mb, "total_mb": peak_mb and 1000 + peak_mb}
    return values | memory | {"limit_ms": ms / 2, "note": ""}


def test_aims_compare_the_right_records() -> None:
    million = "1 M, 986 x 728"
    summary = {
        "records": [
            record("iteration", million, "ours, gradiseg, split", 14.0),
            record("iteration", million, "ours, gradiseg, padded", 12.0),
            record("iteration", million, "ours, baseline, padded", 1.0),
            record("iteration", million, "colour alone, gsplat", 10.0),
            record("iteration", "3 M, 1600 x 1064", "ours, gradiseg, split", 50.0, 3000.0),
            record("identity head", "986 x 728", "naive PyTorch", 9.0, 1000.0),
            record("identity head", "986 x 728", "ours (triton)", 1.0, 50.0),
        ],
        "machine": {"device": "d", "cuda": "13.0", "versions": {}},
        "rates": {"bytes_per_s": 1e12, "flop_per_s": 1e12},
        "command": "c",
        "failed": {"neighbours": "E: x"},
        "skipped": ["garden"],
    }
    found = {name: (value, met) for name, value, _, met in aims(summary)}
    assert found["iteration over colour alone, 1 M"] == (pytest.approx(1.2), True)
    assert found["naive head's time over ours"] == (pytest.approx(9.0), False)
    assert found["naive head's memory over ours"] == (pytest.approx(20.0), True)
    assert found["LA-KNN, 1 M, 1000 samples, ms"] == (None, None)
    assert found["memory of 3 M, 1600 x 1064, GB"] == (pytest.approx(4.0), True)
    text = markdown(summary)
    assert "| LA-KNN, 1 M, 1000 samples, ms | not measured | <= 2 |  |" in text
    assert "**failed**, neighbours: E: x" in text
    assert "garden" in text


@pytest.mark.slow
def test_smoke_run_measures_every_part(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("gsplat", reason="needs gsplat (Python part): pip install gsplat")
    from benchmarks import gpu
    from benchmarks.gpu_parts import kernels

    def broken(results, scene) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to\nmore")

    monkeypatch.setattr(kernels, "measure_optimizer", broken)
    assert gpu.main(["--smoke", "--out", str(tmp_path), "--seconds", "3600"]) == 1
    summary = json.loads((tmp_path / "gpu.json").read_text())
    assert summary["failed"] == {
        "neighbours, Adam, 0.0003 M": "OutOfMemoryError: CUDA out of memory. Tried to"
    }
    measured = {r["part"] for r in summary["records"]}
    assert measured == {
        "identity head", "L1 + SSIM", "iteration", "projection", "colour", "lists", "blending",
        "whole pass", "global KNN, query", "global KNN, update", "LA-KNN, all", "LA-KNN, 32",
        "L_3d",
    }  # fmt: skip
    assert all(r["ms"] > 0 for r in summary["records"])
    assert summary["machine"]["device"].startswith("CPU")
    monkeypatch.undo()
    assert gpu.main(["--smoke", "--out", str(tmp_path), "--seconds", "0"]) == 0
    summary = json.loads((tmp_path / "gpu.json").read_text())
    assert summary["records"] == []
    assert len(summary["skipped"]) == 4


def test_optimizer_and_densifiers_are_measured() -> None:
    from benchmarks.gpu_parts.kernels import measure_optimizer
    from benchmarks.gpu_parts.scenes import synthetic
    from benchmarks.gpu_parts.timing import Results

    cpu = torch.device("cpu")
    results = Results(cpu, Rates(1e9, 1e9), 0.0)
    measure_optimizer(results, synthetic(300, 48, 32, cpu))
    assert [r.code for r in results.records] == [
        "torch, fused", "adc, 5 % grow", "adc", "mcmc, 5 % relocated", "mcmc",
    ]  # fmt: skip
    noise = results.records[-1]
    assert noise.ms > 0.01  # it ran, instead of finding a rate of 0
