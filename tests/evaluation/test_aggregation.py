"""Both aggregations, and each of Gaussian Grouping's traps."""

from __future__ import annotations

import math

import pytest

from gradiseg_core.evaluation.aggregation import MaskScore, aggregate

NAN = float("nan")


def score(
    view: int, prompt: str, iou: float, boundary_iou: float | None = None, *, predicted: bool = True
) -> MaskScore:
    boundary_iou = iou if boundary_iou is None else boundary_iou
    return MaskScore(f"view{view}", view, prompt, predicted, iou, boundary_iou, 10, 10)


def test_mean_over_views_then_over_prompts() -> None:
    scores = [score(0, "cup", 1.0, 0.8), score(1, "cup", 0.5, 0.2), score(0, "fork", 0.2, 0.1)]
    for mode in ("gg", "strict"):
        result = aggregate(scores, mode)
        assert result["prompts"]["cup"] == {"iou": 0.75, "boundary_iou": 0.5, "views": 2}
        assert result["miou"] == pytest.approx((0.75 + 0.2) / 2)
        assert result["mbiou"] == pytest.approx((0.5 + 0.1) / 2)
        assert result["skipped"] == []


def test_trap_missing_prediction_is_skipped_by_gg_and_zero_in_strict() -> None:
    scores = [
        score(0, "cup", 0.8),
        score(1, "cup", NAN, predicted=False),
        score(0, "fork", NAN, predicted=False),
    ]
    gg, strict = aggregate(scores, "gg"), aggregate(scores, "strict")
    assert gg["miou"] == pytest.approx(0.8)
    assert list(gg["prompts"]) == ["cup"]
    assert gg["skipped"] == ["view1/cup", "view0/fork"]
    assert strict["miou"] == pytest.approx((0.4 + 0.0) / 2)
    assert strict["prompts"]["fork"]["iou"] == 0.0
    assert strict["skipped"] == []


def test_trap_prompt_is_cut_at_the_dot_by_gg() -> None:
    scores = [score(0, "st. nicholas", 1.0), score(0, "st. george", 0.0), score(0, "cup", 0.8)]
    gg, strict = aggregate(scores, "gg"), aggregate(scores, "strict")
    assert gg["prompts"]["st"] == {"iou": 0.5, "boundary_iou": 0.5, "views": 2}
    assert gg["miou"] == pytest.approx((0.5 + 0.8) / 2)
    assert strict["miou"] == pytest.approx(1.8 / 3)


def test_trap_zero_by_zero_poisons_gg_and_agrees_in_strict() -> None:
    scores = [score(0, "cup", NAN), score(0, "fork", 0.5)]
    gg, strict = aggregate(scores, "gg"), aggregate(scores, "strict")
    assert math.isnan(gg["miou"])
    assert math.isnan(gg["mbiou"])
    assert strict["miou"] == 0.75
    assert gg["undefined"] == strict["undefined"] == ["view0/cup"]


def test_nothing_scored_is_undefined() -> None:
    assert math.isnan(aggregate([], "strict")["miou"])
    assert math.isnan(aggregate([score(0, "cup", NAN, predicted=False)], "gg")["miou"])


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="strict"):
        aggregate([], "mean")  # type: ignore[arg-type]
