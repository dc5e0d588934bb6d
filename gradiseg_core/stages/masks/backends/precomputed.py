"""Backend `precomputed`: segments that the user or the scene brings as ID images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.backends import NO_ID_IMAGES, BackendOptions, Requires, Split
from gradiseg_core.config.base import UserPath, option
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import id_map_file, read_id_map
from gradiseg_core.stages.masks.interface import Request

if TYPE_CHECKING:
    from gradiseg_core.config.scene import SceneConfig

REQUIRES = Requires("masks")


class Options(BackendOptions):
    """ID images that another program made."""

    folder: UserPath | None = option(
        None,
        "Folder of `<view>.png` for each training view; null: the scene's `object_mask/`.",
    )

    def problems(
        self, scene: SceneConfig, folder: Path, split: Split, *, made: bool
    ) -> dict[str, str]:
        """Ask for the folder where the scene brings no ID images of its own."""
        if self.folder is None and not made and not scene.brings_object_masks(folder):
            return {"folder": NO_ID_IMAGES}
        return {}


@dataclass
class PrecomputedSegmenter:
    """Reads `<stem>.png` or `.tif` (the value is the ID) and undistorts it.

    IDs stay as they are. The images must have the size of the original photographs.
    """

    colmap_dir: Path
    folder: Path
    max_processes: int | None = None

    def segments(self, name: str) -> NDArray[np.int32]:
        """Return the view's ID map in its undistorted frame."""
        from gradiseg_core.files.undistort import warp_map

        path = self._path(name)
        ids = read_id_map(path)
        if ids.max(initial=0) > 65535:
            raise InputError(f"{path} has IDs outside 0..65535; renumber them")
        try:
            return warp_map(self.colmap_dir, name, ids)
        except InputError as error:
            raise InputError(f"{path} cannot be used: {error}") from error

    def fingerprint(self, name: str) -> str:
        """Return a digest of the ID image and of the lens that it is undistorted with."""
        digest = hashlib.sha256(self._path(name).read_bytes())
        for part in ("distorted", "sparse/0"):
            cameras = self.colmap_dir / part / "cameras.bin"
            digest.update(cameras.read_bytes() if cameras.is_file() else b"none")
        return digest.hexdigest()

    def _path(self, name: str) -> Path:
        stem = name.rsplit(".", 1)[0]
        return id_map_file(self.folder, stem) or self.folder / f"{stem}.png"


def run(request: Request) -> PrecomputedSegmenter:
    """Return the backend for a scene.

    Raises:
        InputError: If the folder, or the ID image of a training view, is missing.
    """
    folder = request.options.folder or request.scene_dir / "object_mask"
    if not folder.is_dir():
        hint = (
            "give the folder of your ID images as `masks.precomputed.folder`"
            if request.options.folder is None
            else "correct `masks.precomputed.folder`"
        )
        raise InputError(f"no folder of ID images at {folder}: {hint}")
    segmenter = PrecomputedSegmenter(request.colmap_dir, folder)
    missing = [name for name in request.names if not segmenter._path(name).is_file()]
    if missing:
        shown = ", ".join(segmenter._path(name).name for name in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise InputError(
            f"{folder} lacks the ID images of {len(missing)} of {len(request.names)} training "
            f"views: {shown}{more}; each training view needs one PNG of its name"
        )
    return segmenter
