"""A method without Gaussians: text selects among the tracked masks of the test views.

This is our reading of the row DEVA in the paper's Table 1. The paper says only that Grounding
DINO's detections select mask IDs. Here

* a tracker follows the objects over all photographs, test views included, in the order of names;
* the text selects IDs in the first test view, as for the trained methods, but in its photograph,
  because there is no rendering;
* a test view's predicted mask is the pixels of the selected IDs.

The method sees the test photographs, which methods for new views do not. It never sees an
annotation.

(DEVA has a text mode of its own, in which Grounding DINO detects in the frames that vote. The row
could mean that as well; Gaussian Grouping's repository runs DEVA's automatic mode only.)
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.selection import Choice
from gradiseg_core.stages.grounding.stage import write_choices, write_prediction

logger = logging.getLogger(__name__)


def ground_tracks(
    scene_dir: Path,
    colmap_dir: Path,
    tracking_dir: Path,
    out_dir: Path,
    config: GroundingConfig,
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Select tracked IDs for every prompt and write their pixels as the predicted masks.

    Writes the same files as :func:`.stage.ground`.

    Args:
        scene_dir: Scene folder.
        colmap_dir: Undistorted photographs.
        tracking_dir: ID maps of all views, the test views included.
        out_dir: Folder to write.
        config: Options of the stage. Of ``manual``, ``selection`` is not read: its IDs are those of
            the trained scene; nor are the rules that make masks of probabilities.
        weights: Checkpoints by the names of ``config.weights()``.

    Returns:
        The contents of ``selection.json``.

    Raises:
        BackendUnavailableError: If the backend, or what it needs, does not exist.
        InputError: If the maps of the test views are empty, or a checkpoint is unusable.
    """
    manifest = SceneManifest.load(scene_dir)
    maps = {path.stem: path for path in (tracking_dir / "ids").glob("*.png")}
    views = [view for view in manifest.test_views if view.stem in maps]
    ids = {view.stem: read_id_map(maps[view.stem]) for view in views}
    registered = [
        view for view in manifest.test_views if (colmap_dir / "images" / view.name).exists()
    ]
    if not registered:
        logger.warning("scene %s has no registered test view", manifest.name)
    elif not any(values.any() for values in ids.values()):
        raise InputError(
            f"{tracking_dir} has no IDs in any test view of scene {manifest.name}; set "
            "tracking_2d.backend to one that tracks all views"
        )
    request = Request(
        manifest=manifest,
        scene_dir=scene_dir,
        colmap_dir=colmap_dir,
        tracking_dir=tracking_dir,
        render_dir=None,
        views=views,
        num_classes=1 + max(int(read_id_map(path).max(initial=0)) for path in maps.values()),
        options=config.options.for_photographs(),
        weights=weights or {},
    )
    choices = config.chosen.run(request) if registered else _nothing(manifest.prompts)
    shutil.rmtree(out_dir / "masks", ignore_errors=True)
    for view in views:
        for prompt, choice in choices.items():
            write_prediction(out_dir, view, prompt, np.isin(ids[view.stem], choice.ids))
    return write_choices(request, config, choices, out_dir, mask_rule="tracked")


def _nothing(prompts: Sequence[str]) -> dict[str, Choice]:
    why = "the scene has no registered test view, and nothing else is searched in 2D"
    return {prompt: Choice([], why) for prompt in prompts}
