"""Annotations of a view, undistorted as its photograph was, since that is what is scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.id_maps import read_id_map, resize_by_centres
from gradiseg_core.files.masks import read_mask

if TYPE_CHECKING:
    from gradiseg_core.files.manifest import SceneManifest, SceneView


def annotation_files(scene_dir: Path, view: SceneView) -> dict[str, Path]:
    """Return prompt -> mask file of a test view, sorted by prompt; empty without annotations."""
    if view.test_index is None:
        return {}
    folder = scene_dir / "test_mask" / str(view.test_index)
    return {path.name.removesuffix(".png"): path for path in sorted(folder.glob("*.png"))}


def true_mask(colmap_dir: Path, view: SceneView, path: Path) -> NDArray[np.bool_]:
    """Read an annotated mask, [H, W] bool, warped as the photograph was undistorted.

    An annotation may have another resolution than its photograph. Without lens distortion it keeps
    it (predictions are resized to the annotation); otherwise it is first resampled (nearest).
    """
    return _undistorted(colmap_dir, view, read_mask(path).astype(np.uint8)) > 0


def exact_ids(scene_dir: Path, view: SceneView) -> NDArray[np.int32] | None:
    """Read a view's exact IDs as given, [h, w], not undistorted; None where the scene has none."""
    path = scene_dir / "gt_ids" / f"{view.stem}.png"
    return read_id_map(path) if path.is_file() else None


def true_ids(scene_dir: Path, colmap_dir: Path, view: SceneView) -> NDArray[np.int32] | None:
    """Read a view's exact IDs, [H, W] int32, undistorted; None where the scene has none."""
    ids = exact_ids(scene_dir, view)
    return None if ids is None else _undistorted(colmap_dir, view, ids).astype(np.int32)


def true_id_map(
    scene_dir: Path, colmap_dir: Path, manifest: SceneManifest, view: SceneView
) -> NDArray[np.int32] | None:
    """Return one ID map that shows what is known about a view, for pictures.

    Exact IDs where the scene has them, else the annotated masks numbered by prompt (where masks
    overlap, the smaller one lies on top); None without either.
    """
    ids = true_ids(scene_dir, colmap_dir, view)
    if ids is not None:
        return ids
    masks = {
        prompt: true_mask(colmap_dir, view, path)
        for prompt, path in annotation_files(scene_dir, view).items()
    }
    if not masks:
        return None
    merged = np.zeros(next(iter(masks.values())).shape, dtype=np.int32)
    order = {prompt: index for index, prompt in enumerate([*manifest.prompts, *masks], start=1)}
    for prompt, mask in sorted(masks.items(), key=lambda item: -np.count_nonzero(item[1])):
        if mask.shape == merged.shape:
            merged[mask] = order[prompt]
    return merged


def _undistorted(colmap_dir: Path, view: SceneView, values: NDArray) -> NDArray:
    from gradiseg_core.files.undistort import warp_map

    if not (colmap_dir / "distorted").is_dir():
        return values
    if values.shape != (view.height, view.width):
        values = resize_by_centres(values, (view.height, view.width))
    return warp_map(colmap_dir, view.name, values, nearest=True)
