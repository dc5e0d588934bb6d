"""From scores of single masks to one number a scene: over views, then over prompts.

Two modes. ``gg`` computes what Gaussian Grouping's ``eval_lerf_mask.py`` computes, its traps
included:

* an annotated mask whose prediction *file* is missing is skipped (a published result was inflated
  by this);
* a prompt is cut at its first dot, so prompts that agree up to the dot are pooled;
* 0 / 0 (both masks empty) is NaN and makes its prompt's and the scene's mean NaN.

``strict`` skips nothing: a missing prediction scores 0, prompts stay whole, and two empty masks
agree (1). Neither judges a prediction for a prompt that a view does not annotate: LERF-Mask leaves
hidden objects out, and an absent annotation is not a statement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

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


def aggregate(scores: Iterable[MaskScore], mode: Mode) -> dict[str, Any]:
    """Return means over views per prompt and over prompts.

    Args:
        scores: One entry per annotated mask.
        mode: ``gg`` or ``strict``, see the module's docstring.

    Returns:
        ``miou``, ``mbiou`` (NaN if a mean is undefined), ``prompts`` (prompt -> iou, boundary_iou,
        views), ``skipped`` (view/prompt of masks that were not scored), ``undefined``
        (view/prompt of masks that scored 0 / 0).

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in ("gg", "strict"):
        raise ValueError(f"aggregation is 'gg' or 'strict', got {mode!r}")
    pooled: dict[str, list[tuple[float, float]]] = {}
    skipped, undefined = [], []
    for score in scores:
        label = f"{score.view}/{score.prompt}"
        if score.predicted and math.isnan(score.iou):
            undefined.append(label)
        if mode == "gg":
            if not score.predicted:
                skipped.append(label)
                continue
            pair = (score.iou, score.boundary_iou)
            pooled.setdefault(score.prompt.split(".")[0], []).append(pair)
        else:
            pooled.setdefault(score.prompt, []).append(_strict_pair(score))
    prompts = {
        prompt: {
            "iou": float(np.mean([pair[0] for pair in pairs])),
            "boundary_iou": float(np.mean([pair[1] for pair in pairs])),
            "views": len(pairs),
        }
        for prompt, pairs in pooled.items()
    }
    return {
        "miou": _mean([entry["iou"] for entry in prompts.values()]),
        "mbiou": _mean([entry["boundary_iou"] for entry in prompts.values()]),
        "prompts": prompts,
        "skipped": skipped,
        "undefined": undefined,
    }


def _strict_pair(score: MaskScore) -> tuple[float, float]:
    if not score.predicted:
        return 0.0, 0.0
    return (
        1.0 if math.isnan(score.iou) else score.iou,
        1.0 if math.isnan(score.boundary_iou) else score.boundary_iou,
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
