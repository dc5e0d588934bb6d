"""What a backend of stage `grounding` is given and returns; which tracked ID an exact one has.

``run(request)`` returns a :class:`.selection.Choice` for every prompt, in the order of the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.annotations import true_ids
from gradiseg_core.files.id_maps import read_id_map, resize_by_centres
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest, SceneView
from gradiseg_core.stages.grounding.selection import best_id, count_table


@dataclass(frozen=True)
class Request:
    """Folders and facts of one trained scene, or of one that was tracked in 2D only.

    Attributes:
        manifest: The scene; its ``prompts`` are grounded.
        scene_dir: Annotations.
        colmap_dir: Undistorted photographs.
        tracking_dir: Consistent IDs of the training views; without renderings also of the
            test views.
        render_dir: Renderings of the test views; None where nothing is trained, so that test views
            have the photographs and the tracked IDs instead.
        views: Rendered (or tracked) test views, by name; the first is Gaussian Grouping's grounding
            view. Rendered training views where there is no test view.
        num_classes: Classes of F; IDs are below it.
        options: The backend's ``Options``.
        weights: Checkpoints by the names of ``options.weights()``.
        train_dir: Trained scene; None where nothing is trained.
    """

    manifest: SceneManifest
    scene_dir: Path
    colmap_dir: Path
    tracking_dir: Path
    render_dir: Path | None
    views: list[SceneView]
    num_classes: int
    options: Any
    weights: Mapping[str, Path] = field(default_factory=dict)
    train_dir: Path | None = None

    def test_ids(self, view: SceneView) -> NDArray[np.int32]:
        """Read a test view's IDs, [H, W]: the rendering's argmax, or the tracked ones."""
        return read_id_map((self.render_dir or self.tracking_dir) / "ids" / f"{view.stem}.png")

    def label_file(self, view: SceneView) -> Path | None:
        """Return the ID map of any view: the rendered one, or else the tracked one.

        None where the view has neither, since it has no camera.
        """
        for folder in (self.render_dir, self.tracking_dir):
            path = None if folder is None else folder / "ids" / f"{view.stem}.png"
            if path is not None and path.is_file():
                return path
        return None

    def picture(self, view: SceneView, *, photograph: bool = False) -> NDArray[np.uint8]:
        """Read a test view's picture in the size of its ID map, [H, W, 3] uint8 RGB.

        Args:
            view: A test view.
            photograph: The photograph even where there is a rendering.
        """
        if self.render_dir is not None and not photograph:
            return read_image(self.render_dir / "color" / f"{view.stem}.png")
        height, width = self.test_ids(view).shape
        return read_image(self.colmap_dir / "images" / view.name, (width, height))

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
                ignored = read_ignored(self.colmap_dir, view.stem, truth.shape[::-1])
                if ignored is not None:
                    truth = np.where(ignored, 0, truth)
                pairs.append((truth, resize_by_centres(read_id_map(path), truth.shape)))
        if not pairs:
            return None
        rows = max(int(truth.max()) for truth, _ in pairs)
        columns = max(int(ids.max()) for _, ids in pairs)
        return np.stack([count_table(truth, ids, rows, columns) for truth, ids in pairs])


def match_objects(request: Request) -> dict[str, Any]:
    """Find, for every exact object, the tracked ID that overlaps it best in the training views.

    This is for the metrics' object scores only; prompts never see it (but ``manual`` uses the same
    evidence).

    Returns:
        ``available``; ``objects``: exact ID -> ``id`` (None if no ID touches it) and ``overlap``
        (IoU pooled over the training views); or ``why`` not.
    """
    if request.truth_tables is None:
        return {"available": False, "why": "no training view has exact IDs (gt_ids/)"}
    tables = request.truth_tables
    visible = np.flatnonzero(tables.sum(axis=(0, 2)))
    objects = {}
    for region in visible[visible > 0]:
        ids, overlap = best_id(tables, int(region), pooled=True)
        objects[str(int(region))] = {"id": ids[0] if ids else None, "overlap": overlap}
    return {"available": True, "objects": objects}
