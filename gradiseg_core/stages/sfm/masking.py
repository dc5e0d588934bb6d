"""Where no features are taken, and what becomes of ignored pixels: masks for COLMAP.

Two things count: what stands at the same place in all photographs
(:mod:`gradiseg_core.stages.sfm.standing`), and what the scene's ignore masks say
(:mod:`gradiseg_core.files.ignore`).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.files.ignore import FOLDER, read_ignored, write_ignored
from gradiseg_core.files.undistort import warp_map
from gradiseg_core.stages.sfm.standing import find_standing, write_mask

logger = logging.getLogger(__name__)

_ROOM = 0.25  # share of the picture from which what stands still is rather a room than a gripper


@dataclass(frozen=True)
class FeatureMasks:
    """COLMAP's masks: black where no features are taken.

    Attributes:
        camera: One mask for all photographs; None without one.
        folder: `<photograph>.png` of each photograph; None without.
    """

    camera: Path | None = None
    folder: Path | None = None

    def files(self) -> list[Path]:
        """Return all masks."""
        own = [] if self.folder is None else sorted(self.folder.rglob("*.png"))
        return own if self.camera is None else [self.camera, *own]


def feature_masks(
    work_dir: Path, image_dir: Path, names: list[str], config: ColmapConfig
) -> FeatureMasks:
    """Write the masks of a scene's photographs, and log what stands still in them.

    Args:
        work_dir: Where to write.
        image_dir: Folder of the photographs, in the scene folder.
        names: Their file names.
        config: Configuration of the stage.
    """
    scene_dir, folder = image_dir.parent, work_dir / "masks"
    shutil.rmtree(folder, ignore_errors=True)
    ignored = {name: read_ignored(scene_dir, _stem(name)) for name in names}
    by_size = _by_size(image_dir, names)
    standing = {
        size: find_standing(image_dir, same, scene_dir) if config.leave_out_standing else None
        for size, same in by_size.items()
    }
    for size, found in standing.items():
        if found is not None:
            _say_standing(found, f" of {size[0]} x {size[1]} px" if len(by_size) > 1 else "")
    if len(by_size) == 1 and all(mask is None for mask in ignored.values()):
        ((size, found),) = standing.items()
        if found is None:
            return FeatureMasks()
        path = work_dir / "standing.png"
        write_mask(found, size, path)
        return FeatureMasks(camera=path)
    any_black = False
    for size, same in by_size.items():
        for name in same:
            masks = [m for m in (_enlarged(standing[size], size), ignored[name]) if m is not None]
            any_black |= bool(masks)
            path = folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            # COLMAP takes no features at all from a photograph without a file.
            nothing = np.zeros(size[::-1], np.bool_)
            write_mask(np.logical_or.reduce([nothing, *masks]), size, path)
    with_ignored = sum(mask is not None for mask in ignored.values())
    if with_ignored:
        logger.info("no features from ignored pixels of %d photographs", with_ignored)
    return FeatureMasks(folder=folder) if any_black else FeatureMasks()


def carry_ignored(scene_dir: Path, colmap_dir: Path, names: Iterable[str]) -> int:
    """Write the ignored pixels of the undistorted views; return how many views have some.

    Args:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`, with images and cameras.
        names: File names of the images that have a camera.
    """
    shutil.rmtree(colmap_dir / FOLDER, ignore_errors=True)
    count = 0
    for name in names:
        ignored = read_ignored(scene_dir, _stem(name))
        if ignored is not None:
            count += write_ignored(colmap_dir, _stem(name), warp_map(colmap_dir, name, ignored))
    return count


def drop_ignored(model: Any, scene_dir: Path) -> None:
    """Remove what a given model saw in ignored pixels: observations, and points without two left.

    Args:
        model: `pycolmap.Reconstruction` in the frame of the photographs; changed.
        scene_dir: Output folder of stage `scene`.
    """
    before, points = model.compute_num_observations(), model.num_points3D()
    for image_id in sorted(model.reg_image_ids()):
        image = model.image(image_id)
        ignored = read_ignored(scene_dir, _stem(image.name))
        if ignored is None or len(image.points2D) == 0:
            continue
        height, width = ignored.shape
        xy = np.floor(np.array([point.xy for point in image.points2D])).astype(np.int64)
        column, row = xy[:, 0].clip(0, width - 1), xy[:, 1].clip(0, height - 1)
        for index in np.flatnonzero(ignored[row, column]):
            if model.image(image_id).points2D[int(index)].has_point3D():
                model.delete_observation(image_id, int(index))
    gone = before - model.compute_num_observations()
    if gone:
        logger.info(
            "%d of %d observations of the model lie in ignored pixels, and %d of %d points with "
            "them: left out",
            gone, before, points - model.num_points3D(), points,
        )  # fmt: skip


def _by_size(image_dir: Path, names: list[str]) -> dict[tuple[int, int], list[str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for name in names:
        with Image.open(image_dir / name) as file:
            found.setdefault(file.size, []).append(name)
    return found


def _enlarged(mask: NDArray[np.bool_] | None, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    if mask is None:
        return None
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _say_standing(standing: NDArray[np.bool_], which: str) -> None:
    rows, columns = np.nonzero(standing)
    height, width = standing.shape
    logger.warning(
        "%.1f%% of the picture stands at the same place in all photographs%s (within %.0f to "
        "%.0f%% of its width, %.0f to %.0f%% of its height): features there are left out, because "
        "they match whatever the scene. Training still sees it: %s. "
        "`colmap.leave_out_standing: false` uses all features",
        100 * standing.mean(),
        which,
        100 * columns.min() / width,
        100 * (columns.max() + 1) / width,
        100 * rows.min() / height,
        100 * (rows.max() + 1) / height,
        "give ignore masks of all but the object (folder `ignore/`), or it will be surrounded by "
        "haze, if the object turned before a camera that stood"
        if standing.mean() > _ROOM
        else "a folder `ignore/` of masks leaves it out there too",
    )


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0]
