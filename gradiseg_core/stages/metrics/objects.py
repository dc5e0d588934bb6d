"""Argmax labels against exact object IDs, without prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.files.annotations import true_ids
from gradiseg_core.files.id_maps import read_id_map, resize_by_area, resize_by_centres
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.manifest import SceneView
from gradiseg_core.stages.metrics.availability import mean_over
from gradiseg_core.stages.metrics.iou import boundary_iou, iou

_MEANS = {"iou": "miou", "boundary_iou": "mbiou", "fine_boundary_iou": "fine_mbiou"}
_SIZES = ("", "render_")
#: Width of the boundary for a second, stricter boundary IoU, as a share of the image diagonal.
FINE_BOUNDARY_RATIO = 0.005


def score_objects(
    scene_dir: Path,
    colmap_dir: Path,
    ids_dir: Path,
    views: list[SceneView],
    match: dict[str, Any],
    config: MetricsConfig,
    no_views: str | None,
) -> dict[str, Any]:
    """Score labels: mean over views per object, then over objects.

    Labels are scored at the resolution of the truth (labels resized, like masks) and at that of the
    rendering (truth resized), so that coarser pixels cost nothing. An object that no training view
    shows has no score, because its ID could not be learned.

    Args:
        scene_dir: Exact IDs.
        colmap_dir: How photographs were undistorted.
        ids_dir: ID maps of the test views.
        views: Test views that have one.
        match: ``gt_match.json``.
        config: How to score.
        no_views: Why there is no test view; None if there is one.

    Returns:
        ``available`` and ``why`` not; ``miou``, ``mbiou``, ``fine_mbiou`` and the same with
        ``render_`` (None if not available), ``over`` (which objects the means cover, if not all),
        and ``objects``.
    """
    why = no_views or (None if match["available"] else match["why"])
    if why is not None:
        return {"available": False, "why": why}
    per_object: dict[str, list[dict[str, Any]]] = {}
    with_truth = 0
    for view in views:
        truth = true_ids(scene_dir, colmap_dir, view)
        if truth is None:
            continue
        with_truth += 1
        labels = read_id_map(ids_dir / f"{view.stem}.png")
        sizes = {
            "": (resize_by_centres(labels, truth.shape), truth),
            "render_": (labels, resize_by_area(truth, labels.shape)),
        }
        ignored = {
            prefix: read_ignored(colmap_dir, view.stem, true.shape[::-1])
            for prefix, (_, true) in sizes.items()
        }
        out = ignored[""]
        for gt_id in np.unique(truth[truth > 0 if out is None else (truth > 0) & ~out]):
            found = match["objects"].get(str(gt_id), {}).get("id")
            entry: dict[str, Any] = {"view": view.stem}
            for prefix, (predicted, true) in sizes.items():
                mask = true == gt_id
                guess = predicted == found if found is not None else np.zeros_like(mask)
                out = ignored[prefix]
                entry[prefix + "iou"] = iou(guess, mask, out)
                for name, ratio in (
                    ("boundary_iou", config.boundary_ratio),
                    ("fine_boundary_iou", FINE_BOUNDARY_RATIO),
                ):
                    entry[prefix + name] = boundary_iou(guess, mask, ratio, out)
            per_object.setdefault(str(gt_id), []).append(entry)
    if not per_object:
        return {
            "available": False,
            "why": "the exact IDs of the test views show no object (all are 0)"
            if with_truth
            else "no rendered test view has exact IDs (gt_ids/)",
        }
    return {"available": True, **_means(per_object, match)}


def _means(per_object: dict[str, list[dict[str, Any]]], match: dict[str, Any]) -> dict[str, Any]:
    keys = [prefix + name for prefix in _SIZES for name in _MEANS]
    objects: dict[str, dict[str, Any]] = {}
    values: dict[str, dict[str, float | str]] = {key: {} for key in keys}
    for gt_id, entries in per_object.items():
        own: dict[str, Any] = {}
        for key in keys:
            # At the rendering's size an object may have no pixel in a view (0 / 0).
            of_views = mean_over({entry["view"]: entry[key] for entry in entries}, "views")
            own[key] = of_views.value
            if gt_id not in match["objects"]:
                score: float | str = "no training view shows it"
            else:
                score = str(of_views.why) if of_views.value is None else of_views.value
            values[key][f"object {gt_id}"] = score
        objects[gt_id] = {**match["objects"].get(gt_id, {"id": None}), **own, "views": entries}
    means = {key: mean_over(values[key], "objects") for key in keys}
    result: dict[str, Any] = {
        prefix + _MEANS[name]: means[prefix + name].value for prefix in _SIZES for name in _MEANS
    }
    return {**result, "why": means["iou"].why, "over": means["iou"].over, "objects": objects}
