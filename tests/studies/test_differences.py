"""Differences of a study's variants, paired by scene and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.errors import InputError
from studies.differences import groups, plot_differences, write_differences


def run(scene: str, variant: str, seed: int, miou: float | None, psnr: float = 20.0) -> dict:
    return {
        "scene": scene,
        "variant": variant,
        "seed": seed,
        "num_gaussians": 100 + seed,
        "object_miou": miou,
        "object_mbiou": miou,
        "object_fine_mbiou": miou,
        "psnr": psnr,
    }


RUNS: list[dict[str, Any]] = [
    run("a", "reference", 0, 0.5),
    run("a", "option", 0, 0.6, psnr=20.5),
    run("a", "reference", 1, 0.7),
    run("a", "option", 1, 0.9),
    run("b", "option", 0, 0.1),
    run("b", "reference", 0, 0.4),
    run("c", "reference", 0, 0.5),
    run("c", "other", 0, None),
    run("d", "option", 0, 0.5),
]


def test_scenes_with_the_same_variants_belong_together(caplog: pytest.LogCaptureFixture) -> None:
    found = groups(RUNS, "reference")
    assert [group.scenes for group in found] == [["a", "b"], ["c"]]
    assert [group.variants for group in found] == [["option"], ["other"]]
    assert "d has no reference" in caplog.text
    differences = found[0].differences("option", "reference", "object_miou")
    assert differences == pytest.approx([0.1, 0.2, -0.3])
    assert found[1].differences("other", "reference", "object_miou") == []


def test_the_table_has_means_and_standard_errors(tmp_path: Path) -> None:
    write_differences(RUNS, "reference", tmp_path / "table.md")
    text = (tmp_path / "table.md").read_text()
    assert "a, b; reference: mIoU 53.3" in text
    # 10, 20, -30: mean 0, standard deviation sqrt(700), over sqrt(3)
    assert "| option | 3 | +0.0 ± 15.3 |" in text
    assert "+0.17 ± 0.17 | +0 |" in text
    assert "| other | 1 | - | - | - | +0.00 | +0 |" in text


def test_scenes_that_belong_together_are_also_listed_one_by_one(tmp_path: Path) -> None:
    write_differences(RUNS, "reference", tmp_path / "table.md")
    text = (tmp_path / "table.md").read_text()
    assert "| mBIoU | reference | option |" in text
    assert "| a | 60.0 | +15.0 ± 5.0 |" in text
    assert "| b | 40.0 | -30.0 |" in text
    assert "| c |" not in text, "one scene is the first table again"


def test_the_plot_is_drawn_with_and_without_spread(tmp_path: Path) -> None:
    plot_differences(RUNS, "reference", tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert text.count("<svg") == 1
    assert len(text) > 10_000


def test_a_reference_that_nobody_has_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no scene .* 'nobody'; set tables\.reference_variant"):
        groups(RUNS, "nobody")
