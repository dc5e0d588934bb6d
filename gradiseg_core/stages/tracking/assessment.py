"""Score the association of a scene that comes with exact IDs, and write the result."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.files.annotations import true_ids
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.tracking.quality import assess_maps

logger = logging.getLogger(__name__)


def assess_scene(
    scene_dir: Path, colmap_dir: Path, masks_dir: Path | None, tracking_dir: Path, out_file: Path
) -> dict[str, Any]:
    """Compare a scene's consistent IDs with its exact ones over all training views.

    Args:
        scene_dir: Output of stage `scene`, with ``gt_ids/``.
        colmap_dir: Output of stage `colmap`; the exact IDs are warped into its undistorted views.
        masks_dir: Output of stage `masks`; says which pixels carried a mask at all. None where the
            IDs were given: then those are the pixels with an ID.
        tracking_dir: Output of stage `tracking`.
        out_file: JSON file to write; numbers that are not defined are null.

    Returns:
        As :func:`gradiseg_core.stages.tracking.quality.assess_maps`, with the names of the views.

    Raises:
        InputError: If no training view has both consistent and exact IDs.
    """
    predicted: list[NDArray] = []
    exact: list[NDArray] = []
    labelled: list[NDArray] = []
    names = []
    for view in SceneManifest.load(scene_dir).train_views:
        ids_file = tracking_dir / "ids" / f"{view.stem}.png"
        if not ids_file.is_file():
            continue  # COLMAP left the view out
        truth = true_ids(scene_dir, colmap_dir, view)
        if truth is None:
            continue
        mask_file = (masks_dir or tracking_dir / "ids") / f"{view.stem}.png"
        maps = [read_id_map(ids_file), truth, read_id_map(mask_file) > 0]
        ignored = read_ignored(colmap_dir, view.stem, truth.shape[::-1])
        if ignored is not None:
            maps = [values[~ignored] for values in maps]
        predicted.append(maps[0])
        exact.append(maps[1])
        labelled.append(maps[2])
        names.append(view.stem)
    if not names:
        raise InputError(
            f"no training view has IDs in both {tracking_dir}/ids and {scene_dir}/gt_ids"
        )
    quality = assess_maps(predicted, exact, labelled, names=names)
    quality["views"] = names
    out_file.parent.mkdir(parents=True, exist_ok=True)
    out_file.write_text(json.dumps(_without_nan(quality), indent=1, allow_nan=False) + "\n")
    for key, why in quality["not_available"].items():
        logger.warning("association: %s is not available: %s", key, why)
    logger.info(
        "association over %d views: accuracy %.3f, %d switches, %d fragments",
        len(names),
        quality["accuracy"],
        quality["switches"],
        quality["fragments"],
    )
    return quality


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
