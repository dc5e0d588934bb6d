"""Formulas against what three captures took: `gradiseg run --quality draft`, two idle cores.

Commit fc0f4c6, an empty cache, AMD EPYC with AVX-512: wall times by Snakemake's benchmarks, and of
Snakemake as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gradiseg_core.config.root import Settings, load
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.planning import costs, estimate, trainings
from gradiseg_core.planning.budgets import budget_maker
from gradiseg_core.planning.costs import Job, Scene
from gradiseg_core.planning.rates import Rates
from gradiseg_core.planning.trainings import Iterations


@dataclass(frozen=True)
class Capture:
    """Photographs, and seconds that their stages took."""

    views: int
    size: tuple[int, int]
    took: dict[str, float]
    whole: float


#: A shelf of which half the photographs had no camera at first; a table; the embedded scene.
CAPTURES = {
    "shelf": Capture(16, (1008, 670), {"colmap": 31.9, "geometry": 27.9, "train": 113.2}, 203),
    "table": Capture(44, (640, 480), {"colmap": 16.8, "geometry": 51.6, "train": 113.6}, 213),
    "demo": Capture(36, (400, 300), {"colmap": 6.2, "geometry": 42.5, "train": 87.7}, 159),
}


def settings(folder: Path, capture: Capture, **keys: Any) -> Settings:
    photos = folder / "photos"
    photos.mkdir()
    for number in range(capture.views):
        Image.new("RGB", capture.size).save(photos / f"{number}.jpg")
    raw = {"scenes": {"a": {"path": str(photos)}}, "results": str(folder / "results")}
    return load({"quality": "draft", **raw, **keys}, budget_of=budget_maker(2))


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize("name", CAPTURES)
def test_the_whole_is_right_within_a_fifth(name: str, tmp_path: Path) -> None:
    capture = CAPTURES[name]
    made = settings(tmp_path, capture)
    jobs = estimate.jobs_to_do(made, views=True)
    whole = estimate.estimate(made, jobs, 2, Rates())
    # Kernels were compiled before, but in the first run 11 s in `geometry` and `tracking`.
    took = capture.whole - (11 if name == "shelf" else 0)
    assert whole.total == pytest.approx(took, rel=0.2)
    for stage, seconds in capture.took.items():
        job = Job(stage, "a", "gradiseg_plus" if stage == "train" else None, 0)
        # How often cameras are searched for shows only when it is done.
        near = 0.55 if stage == "colmap" else 0.2
        said = costs.wall(made, job, costs.scene_of(made, "a"), 2)
        assert said == pytest.approx(seconds, rel=near), stage


def test_given_cameras_are_quick(tmp_path: Path) -> None:
    capture = CAPTURES["shelf"]
    made = settings(tmp_path, capture)
    given = Scene(capture.views, capture.size, cameras=True)
    assert costs.wall(made, Job("colmap", "a"), given, 2) < 5
    ignored = load(
        {"colmap": {"existing": "ignore"}, "quality": "draft",
         "scenes": {"a": {"path": str(tmp_path / "photos")}}},
        budget_of=budget_maker(2),
    )  # fmt: skip
    assert costs.wall(ignored, Job("colmap", "a"), given, 2) > 10


PLUS = with_variant(TrainConfig(iterations=1000), "gradiseg_plus")
PLAIN = with_variant(TrainConfig(iterations=1000), "baseline")


def test_a_training_has_a_dearer_part() -> None:
    assert trainings.late_from(PLUS) == pytest.approx(0.4)
    assert trainings.late_from(PLAIN) == 1
    assert trainings.late_from(with_variant(TrainConfig(), "gradiseg")) == pytest.approx(0.4)
    each = Iterations(early=1.0, late=3.0)
    assert each.mean(PLUS) == pytest.approx(0.4 * 1 + 0.6 * 3)
    assert each.mean(PLAIN) == pytest.approx(1.0)
    # Ten seconds at the speed of the first tenth: 30 % are as quick, 60 % take three times as long.
    assert trainings.rest_of(PLUS, each, 0.1, 9.0) == pytest.approx(3 + 6 * 3)
    assert trainings.rest_of(PLUS, each, 0.4, 9.0) == 9.0
    assert trainings.rest_of(PLAIN, each, 0.1, 9.0) == 9.0


def test_what_was_done_before_is_not_counted() -> None:
    def seconds(done: float) -> float:
        return trainings.core_seconds(PLUS, (480, 320), 20_000, done, gpu=False) - around

    around = trainings.core_seconds(PLUS, (480, 320), 20_000, 1.0, gpu=False)
    each = trainings.by_formula(PLUS, (480, 320), 20_000, gpu=False)
    assert seconds(0.0) == pytest.approx(1000 * each.mean(PLUS))
    assert seconds(0.4) == pytest.approx(600 * each.late)
    assert seconds(0.2) == pytest.approx(200 * each.early + 600 * each.late)
    assert seconds(0.7) == pytest.approx(300 * each.late)


def test_igd_adds_gaussians_above_the_limit() -> None:
    assert trainings.at_most(PLUS, 20_000) == pytest.approx(26_000)
    assert trainings.at_most(PLAIN, 20_000) == 20_000
    assert trainings.grown(PLUS, 20_000) == pytest.approx(22_000)
    none = PLUS.model_copy(update={"igd": PLUS.igd.model_copy(update={"max_growth": 0.05})})
    assert trainings.grown(none, 20_000) == pytest.approx(21_000)
