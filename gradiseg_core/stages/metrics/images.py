"""Image scores of a scene's rendered views, and why a view has none."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneView
from gradiseg_core.splatting.losses.window import WINDOW_RADIUS
from gradiseg_core.splatting.views import of_one_colour
from gradiseg_core.stages.metrics.availability import mean_over
from gradiseg_core.stages.metrics.photometric import Lpips, LpipsRange, psnr, ssim

logger = logging.getLogger(__name__)

#: Scores of images; `lpips` has the range that the configuration names.
IMAGE_METRICS = ("psnr", "ssim", "lpips", "lpips_3dgs", "lpips_authors")
_HEADLINES = ("psnr", "ssim", "lpips")

#: Least side for SSIM, px: below, no pixel's window lies inside the image.
_SSIM_SIDE = 2 * WINDOW_RADIUS + 1
#: Least side for LPIPS, px: VGG-16's five stages halve an image four times.
_LPIPS_SIDE = 16


def score_images(
    colmap_dir: Path,
    render_dir: Path,
    views: list[SceneView],
    config: MetricsConfig,
    weights: Mapping[str, Path],
    not_finite: Mapping[str, int],
    missing: Mapping[str, str],
    no_views: str | None,
) -> dict[str, Any]:
    """Score rendered views against their photographs.

    Args:
        colmap_dir: Undistorted photographs.
        render_dir: Renderings.
        views: The rendered views to score.
        config: How to score.
        weights: Checkpoints by the names of ``config.weights()``.
        not_finite: By view's name, pixels of its rendering that were not finite.
        missing: By stem, why a view has no rendering; means state that they lack it.
        no_views: Why there is nothing to score; None if there is something.

    Returns:
        Means of :data:`IMAGE_METRICS` over the views that have a score (None if none has),
        ``not_available`` (metric -> why), ``partial`` (metric -> which views it covers),
        ``lpips_range``, ``lpips_about``, and ``views`` (stem -> scores, and ``not_available``).
    """
    lpips = Lpips(weights.get("lpips_vgg")) if config.lpips else None
    about = (
        lpips.describe() if lpips else {"available": False, "why": "switched off (lpips: false)"}
    )
    usable = lpips if about["available"] else None
    per_view = {
        view.stem: _score_view(colmap_dir, render_dir, view, config, usable, not_finite)
        for view in views
    }
    result = summarise(per_view, missing, no_views)
    for key in IMAGE_METRICS:
        if key.startswith("lpips") and not about["available"] and no_views is None:
            result[key] = None
            result["not_available"][key] = about["why"]
            result["partial"].pop(key, None)
    for key in _HEADLINES:
        if key != "lpips" and per_view and key in result["not_available"]:
            logger.warning("%s is not available: %s", key.upper(), result["not_available"][key])
    return {**result, "lpips_range": config.lpips_range, "lpips_about": about, "views": per_view}


def no_images(why: str) -> dict[str, Any]:
    """Return the result of :func:`score_images` without any rendering."""
    about = {"available": False, "why": why}
    return {**summarise({}, {}, why), "lpips_about": about, "views": {}}


def summarise(
    per_view: Mapping[str, Mapping[str, Any]], missing: Mapping[str, str], no_views: str | None
) -> dict[str, Any]:
    """Return the means over views, ``not_available`` and ``partial``, as :func:`score_images`."""
    means: dict[str, Any] = {}
    not_available: dict[str, str] = {}
    partial: dict[str, str] = {}
    for key in IMAGE_METRICS:
        values: dict[str, float | str] = {
            stem: entry["not_available"].get(key, entry[key]) for stem, entry in per_view.items()
        }
        mean = mean_over(values | dict(missing), "test views", no_views or "")
        if no_views is not None:
            means[key], not_available[key] = None, no_views
            continue
        means[key] = mean.value
        if mean.why is not None:
            not_available[key] = mean.why
        if mean.over is not None:
            partial[key] = mean.over
    return {**means, "not_available": not_available, "partial": partial}


def _score_view(
    colmap_dir: Path,
    render_dir: Path,
    view: SceneView,
    config: MetricsConfig,
    lpips: Lpips | None,
    not_finite: Mapping[str, int],
) -> dict[str, Any]:
    """Return a view's scores; for a missing one None, and the reason in ``not_available``.

    Scores are of the pixels that are not ignored: PSNR exactly; windows of SSIM and LPIPS that
    reach into ignored ones find the rendering's own pixels there in both pictures.
    """
    rendered = read_image(render_dir / "color" / f"{view.stem}.png").astype(np.float32) / 255.0
    size = (rendered.shape[1], rendered.shape[0])
    photo = read_image(colmap_dir / "images" / view.name, size).astype(np.float32) / 255.0
    why = unfit(photo, not_finite.get(view.name, 0))
    ignored = read_ignored(colmap_dir, view.stem, size)
    rest = 1.0
    if ignored is not None:
        # In ignored pixels both show the rendering, so that nothing differs there; what is left is
        # a sum over the rest, of whose pixels it becomes the mean.
        photo = np.where(ignored[..., None], rendered, photo)
        rest = 1.0 - float(ignored.mean())
        why = why or ("all of the view is ignored" if rest == 0.0 else None)
    scores: dict[str, float | None] = dict.fromkeys(IMAGE_METRICS)
    reasons: dict[str, str] = {}
    small = min(size)
    for key in IMAGE_METRICS:
        least = _SSIM_SIDE if key == "ssim" else _LPIPS_SIDE if key.startswith("lpips") else 1
        if why is not None:
            reasons[key] = why
        elif small < least:
            reasons[key] = f"{size[0]} x {size[1]} px, which is less than {least} px"
        elif key == "psnr":
            scores[key] = psnr(rendered, photo)
        elif key == "ssim":
            scores[key] = ssim(rendered, photo)
        elif key != "lpips" and lpips is not None:
            value_range: LpipsRange = "3dgs" if key == "lpips_3dgs" else "authors"
            scores[key] = lpips(rendered, photo, value_range)
    if ignored is not None:
        scores = {key: _of_rest(key, value, rest) for key, value in scores.items()}
    headline = f"lpips_{config.lpips_range}"
    scores["lpips"] = scores[headline]
    for key, value in scores.items():
        if key not in reasons and (value is None or not math.isfinite(value)):
            reasons[key] = _why_no_number(key, value)
            scores[key] = None
    return {**scores, "not_available": reasons}


def _of_rest(key: str, score: float | None, rest: float) -> float | None:
    """Return a mean over the share of the pixels that is not ignored, given that over all.

    The others differ nowhere: no error, an SSIM of 1, no distance.
    """
    if score is None:
        return None
    if key == "psnr":
        return score + 10.0 * math.log10(rest)
    return 1.0 - (1.0 - score) / rest if key == "ssim" else score / rest


def unfit(photo: NDArray[np.floating], not_finite_px: int = 0) -> str | None:
    """Return why a rendering cannot be scored against a photograph [H, W, 3] in 0..1, or None."""
    if not_finite_px:
        return f"{not_finite_px} pixels of the rendering are not finite"
    if of_one_colour(photo):
        level = round(255.0 * float(photo.mean()))
        return f"the photograph is of one colour (grey value {level} of 255)"
    return None


def _why_no_number(key: str, value: float | None) -> str:
    if value is None:
        return "LPIPS is not available"
    if math.isinf(value):
        return "the rendering equals the photograph in every pixel, so it is infinite"
    return "it is not a number"
