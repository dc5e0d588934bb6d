"""From scores of single masks to one number for a scene: over views, then over prompts.

Two modes. ``gg`` computes the same as Gaussian Grouping's ``eval_lerf_mask.py``, with its traps:

* an annotated mask whose prediction *file* is missing is skipped (a published result was inflated
  by this);
* a prompt is cut at its first dot, so prompts that agree up to the dot are pooled;
* 0 / 0 (both masks empty) is NaN and makes its prompt's and the scene's mean NaN.

``strict`` skips no prediction: a missing one scores 0, and prompts stay whole. An empty annotation
scores 0 if something was predicted. If nothing was, it is left out, because an empty prediction is
no success. A prompt whose annotations are all empty has no score. Means are over the prompts that
have a score, and state which these are.

Neither mode scores a prediction for a prompt that a view does not annotate: LERF-Mask leaves hidden
objects out, so a missing annotation does not mean that the object is not there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gradiseg_core.stages.metrics.availability import mean_over

Mode = Literal["gg", "strict"]


@dataclass(frozen=True)
class MaskScore:
    """The score of one annotated mask.

    Attributes:
        view: Stem of the view.
        test_index: k of ``test_mask/<k>``.
        prompt: The annotation's file name without ``.png``.
        predicted: Whether a prediction file exists.
        iou: IoU, NaN for 0 / 0 or without a prediction.
        boundary_iou: Boundary IoU, likewise.
        true_px: Pixels of the annotation.
        predicted_px: Pixels of the prediction after resizing to the annotation.
    """

    view: str
    test_index: int
    prompt: str
    predicted: bool
    iou: float
    boundary_iou: float
    true_px: int
    predicted_px: int


def aggregate(
    scores: Iterable[MaskScore],
    mode: Mode,
    prompts: Sequence[str] = (),
    no_views: str | None = None,
) -> dict[str, Any]:
    """Return means over views per prompt and over prompts.

    Args:
        scores: One entry per annotated mask.
        mode: ``gg`` or ``strict``, see the module's docstring.
        prompts: All prompts of the scene; those without an annotation are reported.
        no_views: Why there is no prediction of any test view, so that nothing can be scored.

    Returns:
        ``miou``, ``mbiou`` (None if not available); ``why`` there is no mean; ``over``: which
        prompts the mean covers, if not all; ``prompts`` (prompt -> iou, boundary_iou, views that
        count), ``not_available`` (prompt -> why it has no score), ``skipped`` (view/prompt of masks
        that were not scored), ``undefined`` (view/prompt of masks that scored 0 / 0).

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in ("gg", "strict"):
        raise ValueError(f"aggregation is 'gg' or 'strict', got {mode!r}")
    of_prompt: dict[str, list[MaskScore]] = {}
    skipped, undefined = [], []
    for score in scores:
        label = f"{score.view}/{score.prompt}"
        if score.predicted and math.isnan(score.iou):
            undefined.append(label)
        if mode == "gg" and not score.predicted:
            skipped.append(label)
            continue
        of_prompt.setdefault(_name(score.prompt, mode), []).append(score)
    pairs = {prompt: _pairs(own, mode) for prompt, own in of_prompt.items()}
    missing = {
        name: "no test view annotates it"
        for name in dict.fromkeys(_name(prompt, mode) for prompt in prompts)
        if name not in pairs
    }
    missing |= {
        name: "no test view with its annotation has a prediction"
        for name in dict.fromkeys(_name(label.partition("/")[2], mode) for label in skipped)
        if name not in pairs
    }
    no_score = {name: why for name, why in pairs.items() if isinstance(why, str)} | missing
    means: dict[str, Any] = {"miou": None, "mbiou": None, "why": no_views, "over": None}
    if no_views is None:
        means |= _over_prompts(pairs, missing, mode, undefined)
    return {
        **means,
        "prompts": {
            name: {
                "iou": None if isinstance(found, str) else _mean(found, 0),
                "boundary_iou": None if isinstance(found, str) else _mean(found, 1),
                "views": 0 if isinstance(found, str) else len(found),
            }
            for name, found in pairs.items()
        },
        "not_available": no_score,
        "skipped": skipped,
        "undefined": undefined,
    }


def _over_prompts(
    pairs: dict[str, list[tuple[float, float]] | str],
    missing: dict[str, str],
    mode: Mode,
    undefined: list[str],
) -> dict[str, Any]:
    """Return ``miou`` and ``mbiou``, as far as they are available, ``why`` not, and ``over`` what.

    Args:
        pairs: By prompt: IoU and boundary IoU of every mask that counts, or why none counts.
        missing: By prompt without a mask to score: why.
        mode: In mode ``gg`` a mask that scored 0 / 0 makes the mean undefined.
        undefined: These masks, for the message.
    """
    result: dict[str, Any] = {}
    for key, place in (("miou", 0), ("mbiou", 1)):
        values: dict[str, float | str] = {
            name: found if isinstance(found, str) else _mean(found, place)
            for name, found in pairs.items()
        }
        if mode == "gg" and any(isinstance(v, float) and math.isnan(v) for v in values.values()):
            # Gaussian Grouping's own mean: one undefined mask makes it undefined.
            result["why"] = (
                f"both masks are empty (0 / 0) in {', '.join(undefined)}, which makes the mean "
                "of Gaussian Grouping's script undefined"
            )
            continue
        mean = mean_over(values | missing, "prompts", "the scene has no prompts")
        result |= {key: mean.value, "why": mean.why, "over": mean.over}
    return result


def _name(prompt: str, mode: Mode) -> str:
    return prompt.split(".")[0] if mode == "gg" else prompt


def _pairs(scores: list[MaskScore], mode: Mode) -> list[tuple[float, float]] | str:
    """Return IoU and boundary IoU of a prompt over the masks that count, or why none counts."""
    if mode == "gg":
        return [(score.iou, score.boundary_iou) for score in scores]
    if not any(score.true_px for score in scores):
        return "its annotations are empty" if len(scores) > 1 else "its annotation is empty"
    return [
        (score.iou, score.boundary_iou) if score.predicted else (0.0, 0.0)
        for score in scores
        if score.true_px or score.predicted_px
    ]


def _mean(pairs: list[tuple[float, float]], place: int) -> float:
    return float(np.mean([pair[place] for pair in pairs]))
