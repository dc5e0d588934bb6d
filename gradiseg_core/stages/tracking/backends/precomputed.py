"""Backend `precomputed`: consistent ID maps that another tracker made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.backends import NO_ID_IMAGES, BackendOptions, Requires, Split
from gradiseg_core.config.base import UserPath, option
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import id_map_file, read_id_map
from gradiseg_core.files.manifest import SceneManifest, SceneView
from gradiseg_core.stages.tracking.interface import Request, Tracked

if TYPE_CHECKING:
    from gradiseg_core.config.scene import SceneConfig

REQUIRES = Requires("masks")
#: The maps' own IDs mean something to the user; objects.json says what became of them.
GIVEN_IDS = True


class Options(BackendOptions):
    """ID maps of another tracker, consistent over the views."""

    folder: UserPath | None = option(
        None,
        "Folder of `<view>.png` in the photographs' size; null: the scene's `object_mask/`.",
    )
    keep_ids: bool = option(
        False,
        "Keep the given IDs; false numbers them by area.",
    )

    def problems(
        self, scene: SceneConfig, folder: Path, split: Split, *, made: bool
    ) -> dict[str, str]:
        """Ask for the folder where the scene brings no ID maps, or none of the test views."""
        if self.folder is not None:
            return {}
        if not made and not scene.brings_object_masks(folder):
            return {"folder": NO_ID_IMAGES}
        if split == "all":
            return {
                "folder": "IDs of the test views are needed as well, and the scene's own "
                "object_mask/ is black there; name a folder with maps of all views, or take "
                "another backend, a tracker"
            }
        return {}


def run(request: Request) -> Tracked:
    """Read the maps of all views.

    Raises:
        InputError: If a map is missing or does not fit its view.
    """
    options: Options = request.options
    maps = read_maps(options.folder, request.scene_dir, request.colmap_dir, request.views)
    return Tracked(maps, options.keep_ids, {"folder": str(options.folder or "object_mask")})


def read_maps(
    folder: Path | None, scene_dir: Path, colmap_dir: Path, views: list[SceneView]
) -> dict[str, NDArray[np.int32]]:
    """Read the ID maps of the given views and warp them into the undistorted frames.

    Args:
        folder: Where ``<stem>.png`` or ``.tif`` lie; None takes the scene's own ``object_mask/``.
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`.
        views: The views wanted (registered ones: those that train, or all).

    Returns:
        By stem, [H, W] int32 IDs with their given values; 0 = background.

    Raises:
        InputError: If the folder or a view's map is missing, unreadable, of another size than the
            photograph, or all maps are 0.
    """
    from gradiseg_core.files.undistort import warp_map

    if folder is None:
        if not SceneManifest.load(scene_dir).has.object_mask:
            raise InputError(
                f"the scene in {scene_dir} brings no object_mask/: set tracking.precomputed.folder "
                "to a folder of ID maps, or tracking.backend: sfm"
            )
        folder = scene_dir / "object_mask"
    if not folder.is_dir():
        raise InputError(f"tracking.precomputed.folder: {folder} is not a folder")
    files = {view.stem: id_map_file(folder, view.stem) for view in views}
    missing = [stem for stem, path in files.items() if path is None]
    if missing:
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" * (len(missing) > 5))
        raise InputError(
            f"{folder} has no ID map (<view>.png) for {len(missing)} of {len(views)} "
            f"views: {named}; every training view needs one, and with `baseline_2d` every test view"
        )
    maps = {}
    for view in views:
        path = files[view.stem]
        assert path is not None
        ids = read_id_map(path)
        if ids.shape != (view.height, view.width):
            raise InputError(
                f"{path} is {ids.shape[1]} x {ids.shape[0]} px, its photograph {view.name} is "
                f"{view.width} x {view.height} px; ID maps must have the photograph's size"
            )
        maps[view.stem] = np.asarray(warp_map(colmap_dir, view.name, ids, nearest=True), np.int32)
    if not any(ids.any() for ids in maps.values()):
        raise InputError(f"all ID maps in {folder} are 0: nothing is labelled")
    return maps
