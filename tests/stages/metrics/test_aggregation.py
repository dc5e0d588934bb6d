"""Both aggregations, and each of Gaussian Grouping's traps."""

from __future__ import annotations

import pytest

from gradiseg_core.stages.metrics.aggregation import MaskScore, aggregate

NAN = float("nan")


def score(
    view: int,
    prompt: str,
    iou: float,
    boundary_iou: float | None = None,
    *,
    predicted: bool = True,
    true_px: int = 10,
    predicted_px: int = 10,
) -> MaskScore:
    boundary_iou = iou if boundary_iou is None else boundary_iou
    return MaskScore(
        f"view{view}", view, prompt, predicted, iou, boundary_iou, true_px, predicted_px
    )


def nothing(view: int, prompt: str) -> MaskScore:
    """An empty annotation and an empty prediction."""
    return score(view, prompt, NAN, true_px=0, predicted_px=0)


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


def test_trap_zero_by_zero_poisons_gg_and_is_no_success_in_strict() -> None:
    scores = [nothing(0, "cup"), score(0, "fork", 0.5)]
    gg, strict = aggregate(scores, "gg"), aggregate(scores, "strict")
    assert gg["miou"] is None
    assert gg["mbiou"] is None
    assert "view0/cup" in gg["why"]
    assert strict["miou"] == strict["mbiou"] == 0.5
    assert strict["over"] == "over 1 of 2 prompts (not cup: its annotation is empty)"
    assert strict["prompts"]["cup"] == {"iou": None, "boundary_iou": None, "views": 0}
    assert gg["undefined"] == strict["undefined"] == ["view0/cup"]


def test_empty_annotations_of_everything_score_nothing() -> None:
    scores = [nothing(view, prompt) for view in (0, 1) for prompt in ("cup", "fork")]
    result = aggregate(scores, "strict")
    assert result["miou"] is None
    assert result["why"] == "cup, fork: its annotations are empty"
    found = [score(view, "cup", 0.0, true_px=0) for view in (0, 1)]
    assert aggregate(found, "strict")["miou"] is None
    # Gaussian Grouping's own quotient is defined there: nothing of what was predicted is true.
    assert aggregate(found, "gg")["miou"] == 0.0


def test_an_empty_annotation_of_a_known_prompt() -> None:
    seen = score(0, "cup", 0.8)
    silent = aggregate([seen, nothing(1, "cup")], "strict")
    assert silent["prompts"]["cup"] == {"iou": 0.8, "boundary_iou": 0.8, "views": 1}
    loud = aggregate([seen, score(1, "cup", 0.0, true_px=0)], "strict")
    assert loud["prompts"]["cup"]["iou"] == 0.4


def test_prompts_without_annotation_are_said() -> None:
    for mode in ("gg", "strict"):
        result = aggregate([score(0, "cup", 0.8)], mode, ["cup", "fork"])
        assert result["miou"] == 0.8
        assert result["over"] == "over 1 of 2 prompts (not fork: no test view annotates it)"
        assert aggregate([score(0, "cup", 0.8)], mode, ["cup"])["over"] is None
        assert aggregate([], mode, ["cup"])["why"] == "cup: no test view annotates it"


def test_nothing_scored_is_not_available() -> None:
    assert aggregate([], "strict")["miou"] is None
    assert aggregate([], "strict")["why"] == "the scene has no prompts"
    lost = [score(0, "cup", NAN, predicted=False)]
    assert aggregate(lost, "gg")["miou"] is None
    assert "prediction" in aggregate(lost, "gg")["why"]
    assert aggregate(lost, "strict")["miou"] == 0.0
    assert aggregate(lost, "strict", no_views="no test views")["miou"] is None
    assert aggregate(lost, "strict", no_views="no test views")["why"] == "no test views"


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="strict"):
        aggregate([], "mean")  # type: ignore[arg-type]
