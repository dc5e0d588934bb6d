"""Stage 8: score cached predictions. Nothing is rendered and no model is read here."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.annotations import (
    annotation_files,
    mask_file,
    resize_nearest,
    true_ids,
    true_mask,
)
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.errors import InputError
from gradiseg_core.evaluation.aggregation import MaskScore, aggregate
from gradiseg_core.evaluation.iou import boundary_iou, iou
from gradiseg_core.evaluation.ownership import score_gaussians
from gradiseg_core.evaluation.photometric import Lpips, LpipsRange, psnr, ssim
from gradiseg_core.imaging import read_id_map, read_image, read_mask, resize_ids
from gradiseg_core.scene.manifest import SceneManifest, View

logger = logging.getLogger(__name__)

LPIPS_RANGES: tuple[LpipsRange, ...] = ("3dgs", "authors")
#: Scores of images; `lpips` is the one of the two ranges that the configuration names.
IMAGE_METRICS = ("psnr", "ssim", "lpips", "lpips_3dgs", "lpips_authors")

Predictor = Callable[[View, str], NDArray[np.bool_] | None]


def evaluate(
    scene_dir: Path,
    colmap_dir: Path,
    train_dir: Path,
    render_dir: Path,
    grounding_dir: Path,
    out_dir: Path,
    config: MetricsConfig,
    weights: Mapping[str, Path] | None = None,
    surface: Path | None = None,
) -> dict[str, Any]:
    """Score one trained scene's renderings and masks.

    Writes ``metrics.json`` and ``per_view.csv``.

    Args:
        scene_dir: Annotations.
        colmap_dir: Undistorted photographs.
        train_dir: Trained scene; read only where there is a surface.
        render_dir: Renderings and argmax ID maps.
        grounding_dir: Predicted masks, ``selection.json`` and ``gt_match.json``.
        out_dir: Folder to write.
        config: How to score.
        weights: Checkpoints by the names of ``config.weights()``.
        surface: Exact surfaces and their owners, where the scene has them.

    Returns:
        The contents of ``metrics.json``:

        * ``summary``: ``miou``, ``mbiou`` (masks of ``grounding``, headline aggregation),
          ``psnr``, ``ssim``, ``lpips``, ``object_miou``, ``object_mbiou``,
          ``object_fine_mbiou``; None where undefined;
        * ``masks`` (grounding's mask files) and ``argmax_masks`` (the selected IDs' pixels of the
          argmax map): each with ``gg`` and ``strict`` (see :func:`aggregation.aggregate`);
        * ``objects``: argmax labels against exact IDs, independent of any prompt;
        * ``gaussians``: labels of single Gaussians against exact surfaces (see
          :func:`ownership.label_purity`), or why not;
        * ``photometric``, ``coverage``, and what was evaluated.

    Raises:
        InputError: If a cached prediction that must exist is missing, or a checkpoint is unusable.
    """
    manifest = SceneManifest.load(scene_dir)
    render = _read_json(render_dir / "render.json", "render")
    rendered = {view["name"] for view in render["views"]}
    views = [view for view in manifest.test_views if view.name in rendered]
    facts = {
        "variant": render["variant"],
        "seed": render["seed"],
        "train": train_dir.parent.name + "/" + train_dir.name,
        "iterations": render["iterations"],
        "num_gaussians": render["num_gaussians"],
    }
    if surface is None:
        facts["gaussians"] = {"available": False, "why": "the scene has no exact surfaces"}
    else:
        match = _read_json(grounding_dir / "gt_match.json", "grounding")
        own = score_gaussians(train_dir, scene_dir, colmap_dir, surface, match)
        facts["gaussians"] = {"available": True, **own}
    images = _score_images(colmap_dir, render_dir, views, config, weights or {})
    folders = _Folders(scene_dir, colmap_dir, render_dir / "ids", grounding_dir, out_dir)
    return _score(manifest, views, folders, facts, images, config)


def evaluate_tracks(
    scene_dir: Path,
    colmap_dir: Path,
    tracking_dir: Path,
    grounding_dir: Path,
    out_dir: Path,
    config: MetricsConfig,
) -> dict[str, Any]:
    """Score the tracked ID maps of the test views themselves: a method without Gaussians.

    Args:
        scene_dir: Annotations.
        colmap_dir: Undistorted photographs.
        tracking_dir: ID maps of all views, and ``objects.json``.
        grounding_dir: As for :func:`evaluate`; see :func:`grounding.tracks_2d.ground_tracks`.
        out_dir: Folder to write.
        config: How to score; nothing is rendered, so that the options of LPIPS do not matter.

    Returns:
        As :func:`evaluate`; the variant is the tracker's name with ``_2d``, and there are no scores
        of images and no Gaussians.

    Raises:
        InputError: If a cached prediction that must exist is missing.
    """
    manifest = SceneManifest.load(scene_dir)
    tracker = _read_json(tracking_dir / "objects.json", "tracking_2d")["backend"]
    ids_dir = tracking_dir / "ids"
    views = [view for view in manifest.test_views if (ids_dir / f"{view.stem}.png").is_file()]
    facts = {
        "variant": f"{tracker}_2d",
        "seed": 0,
        "train": None,
        "iterations": 0,
        "num_gaussians": None,
    }
    why = "a method in 2D renders no images"
    images: dict[str, Any] = dict.fromkeys(IMAGE_METRICS)
    images |= {"lpips_about": {"available": False, "why": why}, "views": {}}
    folders = _Folders(scene_dir, colmap_dir, ids_dir, grounding_dir, out_dir)
    return _score(manifest, views, folders, facts, images, config)


@dataclass(frozen=True)
class _Folders:
    """Where the predictions of a run lie; ``ids`` holds the ID maps of its test views."""

    scene: Path
    colmap: Path
    ids: Path
    grounding: Path
    out: Path


def _score(
    manifest: SceneManifest,
    views: list[View],
    folders: _Folders,
    facts: dict[str, Any],
    photometric: dict[str, Any],
    config: MetricsConfig,
) -> dict[str, Any]:
    """Score masks and labels of the views that have predictions, and write the files."""
    selection = _read_json(folders.grounding / "selection.json", "grounding")
    match = _read_json(folders.grounding / "gt_match.json", "grounding")
    predicted = {view.name for view in views}

    def from_files(view: View, prompt: str) -> NDArray[np.bool_] | None:
        path = folders.grounding / "masks" / str(view.test_index) / mask_file(prompt)
        return read_mask(path) if path.is_file() else None

    def from_argmax(view: View, prompt: str) -> NDArray[np.bool_] | None:
        if prompt not in selection["prompts"] or view.name not in predicted:
            return None
        ids = read_id_map(folders.ids / f"{view.stem}.png")
        return np.isin(ids, selection["prompts"][prompt]["ids"])

    scores = {
        kind: _score_masks(folders.scene, folders.colmap, manifest, predicted, predict, config)
        for kind, predict in (("masks", from_files), ("argmax_masks", from_argmax))
    }
    objects = _score_objects(folders.scene, folders.colmap, folders.ids, views, match, config)
    metrics: dict[str, Any] = {
        "scene": manifest.name,
        "source": manifest.source,
        **facts,
        "grounding": selection["backend"],
        "mask_rule": selection["masks"],
        "aggregation": config.aggregation,
    }
    for kind, entries in scores.items():
        metrics[kind] = {mode: aggregate(entries, mode) for mode in ("gg", "strict")}
    metrics["objects"] = objects
    metrics["photometric"] = photometric
    metrics["coverage"] = _coverage(manifest, predicted, scores["masks"], folders.grounding)
    headline = metrics["masks"][config.aggregation]
    metrics["summary"] = {
        "miou": headline["miou"],
        "mbiou": headline["mbiou"],
        "object_miou": objects["miou"] if objects["available"] else None,
        "object_mbiou": objects["mbiou"] if objects["available"] else None,
        "object_fine_mbiou": objects["fine_mbiou"] if objects["available"] else None,
        **{key: photometric[key] for key in IMAGE_METRICS},
    }
    folders.out.mkdir(parents=True, exist_ok=True)
    metrics = _json_ready(metrics)
    text = json.dumps(metrics, indent=1, allow_nan=False)
    (folders.out / "metrics.json").write_text(text + "\n")
    _write_csv(folders.out / "per_view.csv", scores, objects, photometric)
    logger.info("%s: %s", manifest.name, metrics["summary"])
    return metrics


def _score_masks(
    scene_dir: Path,
    colmap_dir: Path,
    manifest: SceneManifest,
    rendered: set[str],
    predict: Predictor,
    config: MetricsConfig,
) -> list[MaskScore]:
    """Score every annotated mask, those of views that were not rendered included."""
    scores = []
    nan = float("nan")
    for view in manifest.test_views:
        for prompt, path in annotation_files(scene_dir, view).items():
            prediction = predict(view, prompt)
            index = int(view.test_index or 0)
            if prediction is None:
                true_px = int(np.count_nonzero(read_mask(path)))
                scores.append(MaskScore(view.stem, index, prompt, False, nan, nan, true_px, 0))
                continue
            # A view without a camera cannot be warped, and has no prediction either.
            truth = true_mask(colmap_dir, view, path) if view.name in rendered else read_mask(path)
            prediction = resize_nearest(prediction, truth.shape)
            scores.append(
                MaskScore(
                    view.stem,
                    index,
                    prompt,
                    True,
                    iou(prediction, truth),
                    boundary_iou(prediction, truth, config.boundary_ratio),
                    int(np.count_nonzero(truth)),
                    int(np.count_nonzero(prediction)),
                )
            )
    return scores


def _score_objects(
    scene_dir: Path,
    colmap_dir: Path,
    ids_dir: Path,
    views: list[View],
    match: dict[str, Any],
    config: MetricsConfig,
) -> dict[str, Any]:
    """Score argmax labels against exact IDs: mean over views per object, then over objects.

    Scored at the truth's resolution (labels resized, as masks are) and, beside it, at the
    rendering's (truth resized), which does not charge the model for the coarser pixels.
    """
    if not match["available"]:
        return {"available": False, "why": match["why"]}
    per_object: dict[str, list[dict[str, Any]]] = {}
    for view in views:
        truth = true_ids(scene_dir, colmap_dir, view)
        if truth is None:
            continue
        labels = read_id_map(ids_dir / f"{view.stem}.png")
        sizes = {
            "": (resize_nearest(labels, truth.shape), truth),
            "render_": (labels, resize_ids(truth, labels.shape[::-1])),
        }
        for gt_id in np.unique(truth[truth > 0]):
            found = match["objects"].get(str(gt_id), {}).get("id")
            entry: dict[str, Any] = {"view": view.stem}
            for prefix, (predicted, true) in sizes.items():
                mask = true == gt_id
                guess = predicted == found if found is not None else np.zeros_like(mask)
                entry[prefix + "iou"] = iou(guess, mask)
                entry[prefix + "boundary_iou"] = boundary_iou(guess, mask, config.boundary_ratio)
                entry[prefix + "fine_boundary_iou"] = boundary_iou(
                    guess, mask, config.fine_boundary_ratio
                )
            per_object.setdefault(str(gt_id), []).append(entry)
    if not per_object:
        return {"available": False, "why": "no rendered test view has exact IDs (gt_ids/)"}
    objects = {}
    names = {"iou": "miou", "boundary_iou": "mbiou", "fine_boundary_iou": "fine_mbiou"}
    keys = [prefix + name for prefix in ("", "render_") for name in names]
    for gt_id, entries in per_object.items():
        means = {key: _nanmean([entry[key] for entry in entries]) for key in keys}
        objects[gt_id] = {**match["objects"].get(gt_id, {"id": None}), **means, "views": entries}
    return {
        "available": True,
        **{
            prefix + mean: _nanmean([entry[prefix + name] for entry in objects.values()])
            for prefix in ("", "render_")
            for name, mean in names.items()
        },
        "objects": objects,
    }


def _score_images(
    colmap_dir: Path,
    render_dir: Path,
    views: list[View],
    config: MetricsConfig,
    weights: Mapping[str, Path],
) -> dict[str, Any]:
    lpips = Lpips(weights.get("lpips_vgg")) if config.lpips else None
    about = (
        lpips.describe() if lpips else {"available": False, "why": "switched off (lpips: false)"}
    )
    per_view = {}
    for view in views:
        path = render_dir / "color" / f"{view.stem}.png"
        rendered = read_image(path).astype(np.float32) / 255.0
        size = (rendered.shape[1], rendered.shape[0])
        photo = read_image(colmap_dir / "images" / view.name, size).astype(np.float32) / 255.0
        entry: dict[str, float | None] = {
            "psnr": psnr(rendered, photo),
            "ssim": ssim(rendered, photo),
        }
        for value_range in LPIPS_RANGES:
            score = lpips(rendered, photo, value_range) if lpips and about["available"] else None
            entry[f"lpips_{value_range}"] = score
        entry["lpips"] = entry[f"lpips_{config.lpips_range}"]
        per_view[view.stem] = entry
    result: dict[str, Any] = {}
    for key in IMAGE_METRICS:
        values = [entry[key] for entry in per_view.values()]
        result[key] = None if None in values else float(np.mean(np.asarray(values, dtype=float)))
    return {**result, "lpips_range": config.lpips_range, "lpips_about": about, "views": per_view}


def _coverage(
    manifest: SceneManifest, rendered: set[str], scores: list[MaskScore], grounding_dir: Path
) -> dict[str, Any]:
    """Count what is annotated, what was predicted, and what was both."""
    annotated_views = {score.view for score in scores}
    annotated_prompts = {score.prompt for score in scores}
    predicted = sum(1 for _ in (grounding_dir / "masks").glob("*/*.png"))
    return {
        "test_views": len(manifest.test_views),
        "test_views_rendered": sum(view.name in rendered for view in manifest.test_views),
        "test_views_annotated": len(annotated_views),
        "masks_annotated": len(scores),
        "masks_predicted": predicted,
        "masks_scored": sum(score.predicted for score in scores),
        "masks_missing": [
            f"{score.test_index}/{score.prompt}" for score in scores if not score.predicted
        ],
        "views_without_annotation": [
            view.stem for view in manifest.test_views if view.stem not in annotated_views
        ],
        "prompts_without_annotation": [
            prompt for prompt in manifest.prompts if prompt not in annotated_prompts
        ],
    }


def _write_csv(
    path: Path,
    scores: dict[str, list[MaskScore]],
    objects: dict[str, Any],
    photometric: dict[str, Any],
) -> None:
    """Write one row for each number of each view."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["view", "kind", "item", "metric", "value"])
        for stem, entry in photometric["views"].items():
            for metric, value in entry.items():
                writer.writerow([stem, "image", "", metric, _cell(value)])
        for kind, entries in scores.items():
            for score in entries:
                for metric, value in (("iou", score.iou), ("boundary_iou", score.boundary_iou)):
                    cell = _cell(value) if score.predicted else "missing"
                    writer.writerow([score.view, kind, score.prompt, metric, cell])
        for gt_id, entry in objects.get("objects", {}).items():
            for row in entry["views"]:
                for metric in ("iou", "boundary_iou"):
                    writer.writerow([row["view"], "object", gt_id, metric, _cell(row[metric])])


def _cell(value: float | None) -> str:
    return "" if value is None else "undefined" if math.isnan(value) else f"{value:.6f}"


def _nanmean(values: list[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _json_ready(value: Any) -> Any:
    """Replace numbers that JSON lacks: NaN (undefined) by None, infinity by 1e9."""
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else math.copysign(1e9, value)
    return value


def _read_json(path: Path, stage: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} not found; run the {stage} stage again")
    return json.loads(path.read_text())
