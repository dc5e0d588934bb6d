"""Stage 7: from prompts to IDs (a backend decides) to predicted masks of every test view."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.images import read_image, write_image
from gradiseg_core.files.manifest import SceneManifest, SceneView
from gradiseg_core.files.masks import write_mask
from gradiseg_core.files.names import Names
from gradiseg_core.files.renderings import Probabilities, load_features
from gradiseg_core.prompts import mask_file
from gradiseg_core.splatting.losses.identity import IdentityClassifier, probabilities
from gradiseg_core.stages.grounding.interface import Request, match_objects
from gradiseg_core.stages.grounding.pictures import prompt_picture
from gradiseg_core.stages.grounding.selection import Choice, protocol_of

logger = logging.getLogger(__name__)

#: Folder of the masks in training views, which nothing scores.
TRAINING_MASKS = "training_view_masks"


def ground(
    scene_dir: Path,
    colmap_dir: Path,
    tracking_dir: Path,
    train_dir: Path,
    render_dir: Path,
    out_dir: Path,
    config: GroundingConfig,
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Select IDs for every prompt and write the predicted masks.

    Writes ``selection.json`` (can be edited and given back as ``grounding.manual.selection``),
    ``gt_match.json`` (exact objects and their tracked IDs, for the metrics), ``names.json`` (what
    objects are called and how they look, :mod:`gradiseg_core.files.names`),
    ``masks/<k>/<prompt>.png`` for every rendered test view k and every prompt, and
    ``pictures/<prompt>.png``, what was found. Where training views were rendered instead of test
    views, prompts are searched in these, and the masks go to ``training_view_masks/<stem>/``,
    which nothing scores.

    Args:
        scene_dir: Scene folder.
        colmap_dir: Undistorted frame.
        tracking_dir: Consistent IDs of the training views.
        train_dir: Trained scene; most backends need its classifier alone.
        render_dir: Rendered test views.
        out_dir: Folder to write.
        config: Options of the stage.
        weights: Checkpoints by the names of ``config.weights()``.

    Returns:
        The contents of ``selection.json``.

    Raises:
        BackendUnavailableError: If the backend, or what it needs, does not exist.
        InputError: If a selection file, a checkpoint or a stage's output is unusable.
    """
    manifest = SceneManifest.load(scene_dir)
    render = _read_render(render_dir)
    classifier = load_classifier(train_dir)
    rendered = {view["name"] for view in render["views"]}
    request = Request(
        manifest=manifest,
        scene_dir=scene_dir,
        colmap_dir=colmap_dir,
        tracking_dir=tracking_dir,
        render_dir=render_dir,
        # Test views; training views only where these were rendered instead.
        views=[view for view in manifest.test_views if view.name in rendered]
        or [view for view in manifest.train_views if view.name in rendered],
        num_classes=classifier.num_classes,
        options=config.options,
        weights=weights or {},
        train_dir=train_dir,
    )
    choices: dict[str, Choice] = config.chosen.run(request)

    labels, rule = render.get("labels", "encodings"), config.masks
    if rule == "auto":
        rule = "argmax" if labels == "probabilities" else "probability"
    # A mask of an earlier run's prompt must not be scored as this run's.
    for folder in ("masks", TRAINING_MASKS):
        shutil.rmtree(out_dir / folder, ignore_errors=True)
    for view in request.views:
        predict = _predictor(request, view, classifier, labels, rule, config.probability_threshold)
        for prompt, choice in choices.items():
            write_prediction(out_dir, view, prompt, predict(choice.ids))
    return write_choices(request, config, choices, out_dir, mask_rule=rule)


def _predictor(
    request: Request,
    view: SceneView,
    classifier: IdentityClassifier,
    labels: str,
    rule: str,
    threshold: float,
) -> Callable[[list[int]], NDArray[np.bool_]]:
    """Return the function from a prompt's IDs to its mask in a view; files are read once."""
    assert request.render_dir is not None
    if rule == "probability" and labels == "probabilities":
        kept = Probabilities.load(request.render_dir / "probabilities" / f"{view.stem}.npz")
        return lambda selected: kept.above(selected, threshold)
    ids, features = request.test_ids(view), load_features(request.render_dir, view.stem)
    return lambda selected: predict_mask(
        ids, features, classifier, selected, rule=rule, threshold=threshold
    )


def write_prediction(out_dir: Path, view: SceneView, prompt: str, mask: NDArray[np.bool_]) -> None:
    """Write a prompt's mask in a test view, or in a training view that stands in for one."""
    if view.test_index is None:
        folder = out_dir / TRAINING_MASKS / view.stem
    else:
        folder = out_dir / "masks" / str(view.test_index)
    write_mask(folder / mask_file(prompt), mask)


def write_choices(
    request: Request,
    config: GroundingConfig,
    choices: dict[str, Choice],
    out_dir: Path,
    *,
    mask_rule: str,
) -> dict[str, Any]:
    """Write ``selection.json``, ``gt_match.json``, ``names.json`` and the pictures.

    Args:
        request: What was grounded.
        config: Options of the stage.
        choices: By prompt.
        out_dir: Folder of the stage.
        mask_rule: How IDs became masks.

    Returns:
        The contents of ``selection.json``.
    """
    name = request.manifest.name
    for prompt, choice in choices.items():
        logger.info("%s: %s: IDs %s, %s", name, prompt, choice.ids, choice.why)
    selection = {
        "scene": name,
        "backend": config.backend,
        "masks": mask_rule,
        "probability_threshold": config.probability_threshold,
        "protocol": protocol_of(choices.values()),
        "to_edit": "copy this file, change the lists `ids`, set grounding.backend to manual and "
        "grounding.manual.selection to the copy, and run again",
        "prompts": {
            prompt: {"ids": choice.ids, "why": choice.why, **choice.details}
            for prompt, choice in choices.items()
        },
    }
    _write_json(out_dir / "selection.json", selection)
    _write_json(out_dir / "gt_match.json", match_objects(request))
    prompts = {prompt: choice.ids for prompt, choice in choices.items()}
    Names.of(prompts, _thumbnails(request.tracking_dir)).save(out_dir)
    shutil.rmtree(out_dir / "pictures", ignore_errors=True)
    if config.pictures and request.views:
        _write_pictures(request, choices, out_dir / "pictures")
    return selection


def _thumbnails(tracking_dir: Path) -> dict[int, str | None]:
    """Return the path of every tracked object's picture, below the folder, None without one."""
    path = tracking_dir / "objects.json"
    objects = json.loads(path.read_text(encoding="utf-8"))["objects"] if path.is_file() else []
    return {entry["id"]: entry.get("thumbnail") for entry in objects}


def _write_pictures(request: Request, choices: dict[str, Choice], folder: Path) -> None:
    by_stem = {view.stem: view for view in request.views}
    for prompt, choice in choices.items():
        clicked = {click.view: click.ids for click in choice.clicks}
        views = [
            (view.stem, read_image(request.colmap_dir / "images" / view.name, ids.shape[::-1]), ids)
            for view, ids in clicked.items()
        ]
        stems = [entry.stem for entry in choice.evidence] or [request.views[0].stem]
        views += [
            (stem, request.picture(by_stem[stem]), request.test_ids(by_stem[stem]))
            for stem in stems
            if by_stem[stem] not in clicked
        ]
        write_image(folder / mask_file(prompt), prompt_picture(prompt, choice, views))


def predict_mask(
    ids: NDArray[np.integer],
    features: NDArray[np.float32],
    classifier: IdentityClassifier,
    selected: list[int],
    *,
    rule: str,
    threshold: float,
) -> NDArray[np.bool_]:
    """Return a prompt's mask in one view.

    Args:
        ids: [H, W] argmax IDs.
        features: [H, W, D] blended encodings.
        classifier: F.
        selected: The prompt's IDs; none gives an empty mask.
        rule: ``probability``: any selected ID above ``threshold``; ``argmax``: its argmax pixels.
        threshold: Softmax probability (Gaussian Grouping: 0.2).
    """
    if not selected:
        return np.zeros(ids.shape, dtype=bool)
    if rule == "argmax":
        return np.isin(ids, selected)
    chosen = probabilities(torch.from_numpy(features), classifier, torch.tensor(selected))
    return (chosen > threshold).any(dim=-1).numpy()


def load_classifier(train_dir: Path) -> IdentityClassifier:
    """Read F alone; the Gaussians of a large scene would fill the memory for nothing.

    Raises:
        InputError: If the file is missing.
    """
    from safetensors import safe_open

    path = train_dir / "identities.safetensors"
    if not path.is_file():
        raise InputError(f"{path} not found; run the train stage again")
    with safe_open(str(path), framework="pt") as file:
        return IdentityClassifier.of(
            file.get_tensor("classifier.weight"), file.get_tensor("classifier.bias")
        )


def _read_render(render_dir: Path) -> dict[str, Any]:
    path = render_dir / "render.json"
    if not path.is_file():
        raise InputError(f"{path} not found; run the render stage again")
    return json.loads(path.read_text())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
