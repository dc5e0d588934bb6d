"""A text query of a finished run, answered by a grounding backend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.selection import Choice
from gradiseg_core.stages.grounding.stage import load_classifier

#: Backends that answer prompts of the configuration only, and what answers text in their place.
_NO_TEXT, _TEXT = ("manual", "clicks"), "colour_words"


def reads_text(backend: str) -> bool:
    """Return whether a backend answers any phrase."""
    return backend not in _NO_TEXT


def text_backend(run_dir: Path) -> str:
    """Return the backend that answers text queries of a run: its own, if that reads text."""
    path = run_dir / "grounding" / "selection.json"
    used = json.loads(path.read_text()).get("backend", _TEXT) if path.is_file() else _TEXT
    return used if reads_text(used) else _TEXT


def ask(
    text: str,
    scene_dir: Path,
    run_dir: Path,
    config: GroundingConfig,
    weights: Mapping[str, Path] | None = None,
) -> Choice:
    """Return the IDs that a phrase means in a run.

    Args:
        text: The phrase.
        scene_dir: ``<results>/<scene>``.
        run_dir: ``<results>/<scene>/<variant>/seed<n>``, trained and rendered.
        config: The backend and its options.
        weights: Checkpoints by the names of ``config.weights()``.

    Raises:
        InputError: If there is no phrase, or the run was not rendered.
        BackendUnavailableError: If the backend cannot run here.
    """
    if not text:
        raise InputError("write what you look for, such as: red apple")
    render_dir = run_dir / "render"
    if not (render_dir / "render.json").is_file():
        raise InputError(f"{render_dir} not found; run the render stage first")
    manifest = SceneManifest.load(scene_dir / "scene").model_copy(update={"prompts": [text]})
    rendered = {v["name"] for v in json.loads((render_dir / "render.json").read_text())["views"]}
    request = Request(
        manifest=manifest,
        scene_dir=scene_dir / "scene",
        colmap_dir=scene_dir / "colmap",
        tracking_dir=scene_dir / "tracking",
        render_dir=render_dir,
        views=[view for view in manifest.views if view.name in rendered],
        num_classes=load_classifier(run_dir / "train").num_classes,
        options=config.options,
        weights=weights or {},
        train_dir=run_dir / "train",
    )
    choice: Choice = config.chosen.run(request)[text]
    return choice
