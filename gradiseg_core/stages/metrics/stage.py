"""Stage 8: score cached predictions. Nothing is rendered here.

A trained scene is read only to score single Gaussians, if the scene has exact surfaces
(:mod:`ownership`); all other scores are of cached files. A score that cannot be computed is None,
with the reason in ``not_available``; ``partial`` says which part a mean covers.
"""

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

from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.annotations import annotation_files, true_mask
from gradiseg_core.files.id_maps import read_id_map, resize_by_centres
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.manifest import SceneManifest, SceneView
from gradiseg_core.files.masks import read_mask
from gradiseg_core.prompts import mask_file
from gradiseg_core.stages.metrics.aggregation import MaskScore, aggregate
from gradiseg_core.stages.metrics.availability import list_reasons
from gradiseg_core.stages.metrics.images import IMAGE_METRICS, no_images, score_images
from gradiseg_core.stages.metrics.iou import boundary_iou, iou
from gradiseg_core.stages.metrics.objects import score_objects
from gradiseg_core.stages.metrics.ownership import score_gaussians

logger = logging.getLogger(__name__)

#: Of a summary's scores: name, factor and decimals in which they are logged.
_TITLES = {
    "miou": ("mIoU", 100.0, 1),
    "mbiou": ("mBIoU", 100.0, 1),
    "object_miou": ("object mIoU", 100.0, 1),
    "object_mbiou": ("object mBIoU", 100.0, 1),
    "object_fine_mbiou": ("object fine mBIoU", 100.0, 1),
    "psnr": ("PSNR", 1.0, 2),
    "ssim": ("SSIM", 1.0, 3),
    "lpips": ("LPIPS", 1.0, 3),
    "lpips_3dgs": ("LPIPS as of 3DGS", 1.0, 3),
    "lpips_authors": ("LPIPS as of its authors", 1.0, 3),
}

Predictor = Callable[[SceneView, str], NDArray[np.bool_] | None]


def evaluate(
    scene_dir: Path,
    colmap_dir: Path,
    train_dir: Path,
    render_dir: Path,
    grounding_dir: Path,
    out_dir: Path,
    config: MetricsConfig,
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Score one trained scene's renderings and masks.

    Writes ``metrics.json`` and ``per_view.csv``.

    Args:
        scene_dir: Annotations.
        colmap_dir: Undistorted photographs.
        train_dir: Trained scene; read only if the scene has exact surfaces.
        render_dir: Renderings and argmax ID maps.
        grounding_dir: Predicted masks, ``selection.json`` and ``gt_match.json``.
        out_dir: Folder to write.
        config: How to score.
        weights: Checkpoints by the names of ``config.weights()``.

    Returns:
        The contents of ``metrics.json``:

        * ``summary``: ``miou``, ``mbiou`` (masks of ``grounding``, headline aggregation),
          ``psnr``, ``ssim``, ``lpips``, ``object_miou``, ``object_mbiou``,
          ``object_fine_mbiou``; None if not available;
        * ``not_available``: why, for each of these that is None; ``partial``: which prompts,
          objects or views a mean covers, if not all;
        * ``masks`` (grounding's mask files) and ``argmax_masks`` (the selected IDs' pixels of the
          argmax map): each with ``gg`` and ``strict`` (see :func:`aggregation.aggregate`);
        * ``objects``: argmax labels against exact IDs, independent of any prompt;
        * ``gaussians``: labels of single Gaussians against exact surfaces (see
          :func:`ownership.label_purity`), or why not;
        * ``photometric``, ``coverage``, and what was evaluated;
        * ``training_views``: without a test view, image scores of the training views that are
          rendered instead, which say nothing about new views; else None.

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
    match = _read_json(grounding_dir / "gt_match.json", "grounding")
    if not manifest.has.surface:
        facts["gaussians"] = {"available": False, "why": "the scene has no exact surfaces"}
    elif not match["available"]:
        facts["gaussians"] = {"available": False, "why": match["why"]}
    else:
        own = score_gaussians(train_dir, scene_dir, colmap_dir, match)
        facts["gaussians"] = {"available": own["purity"] is not None, **own}
    no_views = None if views else no_test_views(manifest, "rendered")
    not_finite = {view["name"]: view.get("not_finite_px", 0) for view in render["views"]}
    missing = {
        view.stem: "not registered by structure from motion, so not rendered"
        for view in manifest.test_views
        if view.name not in rendered
    }
    images = score_images(
        colmap_dir, render_dir, views, config, weights or {}, not_finite, missing, no_views
    )
    facts["training_views"] = None
    if no_views is not None:
        shown = [view for view in manifest.train_views if view.name in rendered]
        facts["training_views"] = score_images(
            colmap_dir, render_dir, shown, config, weights or {}, not_finite, {}, None
        )
        logger.warning("scene %s: no scores: %s", manifest.name, no_views)
    folders = _Folders(scene_dir, colmap_dir, render_dir / "ids", grounding_dir, out_dir)
    return _score(manifest, views, folders, facts, images, config, no_views)


def no_test_views(manifest: SceneManifest, what: str) -> str:
    """Return why no held-out view of a scene was rendered or tracked."""
    if not manifest.test_views:
        return "no test views: the scene holds none out"
    names = ", ".join(view.name for view in manifest.test_views[:4])
    more = len(manifest.test_views) - 4
    names += f" and {more} more" if more > 0 else ""
    return f"no test views: none of the held-out {names} could be {what}"


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
        grounding_dir: As for :func:`evaluate`, made by
            :func:`gradiseg_core.stages.grounding.tracks_2d.ground_tracks`.
        out_dir: Folder to write.
        config: How to score; nothing is rendered, so the options of LPIPS do not matter.

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
    images = no_images("a method in 2D renders no images")
    no_views = None if views else no_test_views(manifest, "tracked")
    folders = _Folders(scene_dir, colmap_dir, ids_dir, grounding_dir, out_dir)
    return _score(manifest, views, folders, facts, images, config, no_views)


@dataclass(frozen=True)
class _Folders:
    """Folders of a run's predictions; ``ids`` holds the ID maps of its test views."""

    scene: Path
    colmap: Path
    ids: Path
    grounding: Path
    out: Path


def _score(
    manifest: SceneManifest,
    views: list[SceneView],
    folders: _Folders,
    facts: dict[str, Any],
    photometric: dict[str, Any],
    config: MetricsConfig,
    no_views: str | None,
) -> dict[str, Any]:
    """Score masks and labels of the views that have predictions, and write the files."""
    selection = _read_json(folders.grounding / "selection.json", "grounding")
    match = _read_json(folders.grounding / "gt_match.json", "grounding")
    predicted = {view.name for view in views}

    def from_files(view: SceneView, prompt: str) -> NDArray[np.bool_] | None:
        path = folders.grounding / "masks" / str(view.test_index) / mask_file(prompt)
        return read_mask(path) if path.is_file() else None

    def from_argmax(view: SceneView, prompt: str) -> NDArray[np.bool_] | None:
        if prompt not in selection["prompts"] or view.name not in predicted:
            return None
        ids = read_id_map(folders.ids / f"{view.stem}.png")
        return np.isin(ids, selection["prompts"][prompt]["ids"])

    scores = {
        kind: _score_masks(folders.scene, folders.colmap, manifest, predicted, predict, config)
        for kind, predict in (("masks", from_files), ("argmax_masks", from_argmax))
    }
    objects = score_objects(
        folders.scene, folders.colmap, folders.ids, views, match, config, no_views
    )
    metrics: dict[str, Any] = {
        "scene": manifest.name,
        "source": manifest.source,
        **facts,
        "grounding": selection["backend"],
        "grounding_protocol": selection["protocol"],
        "mask_rule": selection["masks"],
        "aggregation": config.aggregation,
    }
    for kind, entries in scores.items():
        metrics[kind] = {
            mode: aggregate(entries, mode, manifest.prompts, no_views) for mode in ("gg", "strict")
        }
    metrics["objects"] = objects
    metrics["photometric"] = photometric
    metrics["coverage"] = _coverage(manifest, predicted, scores["masks"], folders.grounding)
    headline = metrics["masks"][config.aggregation]
    metrics = _json_ready(metrics | _summary(headline, objects, photometric))
    folders.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metrics, indent=1, allow_nan=False)
    (folders.out / "metrics.json").write_text(text + "\n")
    _write_csv(
        folders.out / "per_view.csv", scores, objects, photometric, facts.get("training_views")
    )
    _log(manifest, metrics)
    return metrics


def _log(manifest: SceneManifest, metrics: dict[str, Any]) -> None:
    """Log the summary, what is not available, and which means do not cover all."""
    name, summary = manifest.name, metrics["summary"]
    logger.info("%s: %s", name, summary, extra={"not_shown": True})
    scores = [
        f"{title} {factor * summary[key]:.{decimals}f}"
        for key, (title, factor, decimals) in _TITLES.items()
        if summary[key] is not None
    ]
    logger.info("%s: %s", name, ", ".join(scores) or "no scores")
    missing = {_TITLES[key][0]: why for key, why in metrics["not_available"].items()}
    if missing:
        logger.info("%s: not available: %s", name, list_reasons(missing))
    for key, over in metrics["partial"].items():
        logger.warning("%s: %s is a mean %s", name, _TITLES[key][0], over)


def _summary(
    masks: dict[str, Any], objects: dict[str, Any], photometric: dict[str, Any]
) -> dict[str, Any]:
    """Return ``summary``, ``not_available`` and ``partial``."""
    summary = {key: masks[key] for key in ("miou", "mbiou")}
    not_available = {key: masks["why"] for key in summary if masks[key] is None}
    partial = {key: masks["over"] for key in summary if masks[key] is not None and masks["over"]}
    for name in ("miou", "mbiou", "fine_mbiou"):
        key = f"object_{name}"
        summary[key] = objects.get(name)
        if summary[key] is None:
            not_available[key] = objects["why"]
        elif objects["over"] is not None:
            partial[key] = objects["over"]
    for key in IMAGE_METRICS:
        summary[key] = photometric[key]
    return {
        "summary": summary,
        "not_available": not_available | photometric["not_available"],
        "partial": partial | photometric["partial"],
    }


def _score_masks(
    scene_dir: Path,
    colmap_dir: Path,
    manifest: SceneManifest,
    rendered: set[str],
    predict: Predictor,
    config: MetricsConfig,
) -> list[MaskScore]:
    """Score every annotated mask, also of views that were not rendered."""
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
            prediction = resize_by_centres(prediction, truth.shape)
            ignored = read_ignored(colmap_dir, view.stem, truth.shape[::-1])
            counted = True if ignored is None else ~ignored
            scores.append(
                MaskScore(
                    view.stem,
                    index,
                    prompt,
                    True,
                    iou(prediction, truth, ignored),
                    boundary_iou(prediction, truth, config.boundary_ratio, ignored),
                    int(np.count_nonzero(truth & counted)),
                    int(np.count_nonzero(prediction & counted)),
                )
            )
    return scores


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
    training_views: dict[str, Any] | None,
) -> None:
    """Write one row for each number of each view."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["view", "kind", "item", "metric", "value"])
        images = (("image", photometric), ("training image", training_views or {"views": {}}))
        for kind, group in images:
            for stem, entry in group["views"].items():
                for metric in IMAGE_METRICS:
                    cell = (
                        _cell(entry[metric]) or f"not available: {entry['not_available'][metric]}"
                    )
                    writer.writerow([stem, kind, "", metric, cell])
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


def _json_ready(value: Any) -> Any:
    """Replace NaN (undefined) and infinity, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _read_json(path: Path, stage: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} not found; run the {stage} stage again")
    return json.loads(path.read_text())
