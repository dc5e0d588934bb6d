"""What a grounding backend is given, and the comparison of exact IDs with tracked ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.annotations import resize_nearest, true_ids
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.grounding.selection import best_id, count_table
from gradiseg_core.imaging import read_id_map
from gradiseg_core.scene.manifest import SceneManifest, View


@dataclass(frozen=True)
class GroundingInputs:
    """Folders and facts of one trained scene.

    Attributes:
        manifest: The scene; its ``prompts`` are grounded.
        scene_dir: Annotations.
        colmap_dir: Undistorted photographs.
        tracking_dir: Consistent IDs of the training views.
        render_dir: Renderings of the test views.
        views: Rendered test views, by name; the first is Gaussian Grouping's grounding view.
        num_classes: Classes of F; IDs are below it.
        config: Options of the stage.
    """

    manifest: SceneManifest
    scene_dir: Path
    colmap_dir: Path
    tracking_dir: Path
    render_dir: Path
    views: list[View]
    num_classes: int
    config: GroundingConfig

    def rendered_ids(self, view: View) -> NDArray[np.int32]:
        """Read a test view's argmax IDs, [H, W]."""
        return read_id_map(self.render_dir / "ids" / f"{view.stem}.png")

    @cached_property
    def truth_tables(self) -> NDArray[np.int64] | None:
        """Counts [V, G + 1, I + 1] of exact against tracked IDs in the training views.

        None where no training view has both. The first access reads all maps.
        """
        pairs = []
        for view in self.manifest.train_views:
            path = self.tracking_dir / "ids" / f"{view.stem}.png"
            if not path.is_file():
                continue
            truth = true_ids(self.scene_dir, self.colmap_dir, view)
            if truth is not None:
                pairs.append((truth, resize_nearest(read_id_map(path), truth.shape)))
        if not pairs:
            return None
        rows = max(int(truth.max()) for truth, _ in pairs)
        columns = max(int(ids.max()) for _, ids in pairs)
        return np.stack([count_table(truth, ids, rows, columns) for truth, ids in pairs])


def match_objects(inputs: GroundingInputs) -> dict[str, Any]:
    """Find, for every exact object, the tracked ID that overlaps it best in the training views.

    This is for the metrics' object scores only; prompts never see it (but ``manual`` uses the same
    evidence).

    Returns:
        ``available``; ``objects``: exact ID -> ``id`` (None if no ID touches it) and ``overlap``
        (IoU pooled over the training views); or ``why`` not.
    """
    if inputs.truth_tables is None:
        return {"available": False, "why": "no training view has exact IDs (gt_ids/)"}
    tables = inputs.truth_tables
    visible = np.flatnonzero(tables.sum(axis=(0, 2)))
    objects = {}
    for region in visible[visible > 0]:
        ids, overlap = best_id(tables, int(region), pooled=True)
        objects[str(int(region))] = {"id": ids[0] if ids else None, "overlap": overlap}
    return {"available": True, "objects": objects}
