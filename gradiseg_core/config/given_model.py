"""Cameras beside the user's photographs, as source ``folder`` finds them.

    images/  [images_2/ ...]  sparse/0/  or  sparse/  or  colmap/sparse/0/   (COLMAP, 3DGS)
    images/  transforms.json                                  (nerfstudio, instant-ngp)
    train/ test/  transforms_train.json  transforms_test.json        (Blender scenes of NeRF)

The configured path may be the folder that holds ``images/``, or the image folder itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gradiseg_core.config.photo_files import is_photo

IGNORE = "ignore"
"""Folder of masks of what does not belong to the scene, in or beside that of the photographs."""

_PLACES = ("sparse", "colmap/sparse")
_TRANSFORMS = "transforms.json"
_SPLIT_TRANSFORMS = ("transforms_train.json", "transforms_val.json", "transforms_test.json")
_REDUCED = re.compile(r"images_([248])")


@dataclass(frozen=True)
class GivenScene:
    """Where the photographs are and what lies beside them.

    Attributes:
        images: Folder of the photographs.
        sparse: Folder of the model, or of several; None without one.
        downsampled: How many times the photographs are smaller than those of the model.
        transforms: Files with the cameras, where there is no COLMAP model.
    """

    images: Path
    sparse: Path | None
    downsampled: int = 1
    transforms: tuple[Path, ...] = ()


def find_given(path: Path) -> GivenScene:
    """Return photographs and cameras of a path; neither is checked here.

    Photographs are in `images/` where that is there, and cameras or no photographs beside it.
    """
    images, beside = path, path.parent
    if (path / "images").is_dir() and (
        _model_in(path) is not None or _transforms_in(path) or not _has_photos(path)
    ):
        images, beside = path / "images", path
    near = images.name.startswith("images")
    sparse = _model_in(path) or (_model_in(beside) if near else None)
    transforms: tuple[Path, ...] = ()
    if sparse is None:
        transforms = _transforms_in(path) or (_transforms_in(beside) if near else ())
    given = sparse is not None or bool(transforms)
    reduced = _REDUCED.fullmatch(images.name) if given else None
    return GivenScene(images, sparse, int(reduced.group(1)) if reduced else 1, transforms)


def find_ignore(path: Path, images: Path) -> Path | None:
    """Return the folder of ignore masks that comes with a scene; None without one.

    Args:
        path: The scene's `path`.
        images: The folder of the photographs, in it or itself.
    """
    places = [path, images] + ([images.parent] if images.name.startswith("images") else [])
    return next((place / IGNORE for place in places if (place / IGNORE).is_dir()), None)


def _has_photos(folder: Path) -> bool:
    return any(is_photo(path) and not path.name.startswith(".") for path in folder.iterdir())


def _transforms_in(folder: Path) -> tuple[Path, ...]:
    if (folder / _TRANSFORMS).is_file():
        return (folder / _TRANSFORMS,)
    return tuple(folder / name for name in _SPLIT_TRANSFORMS if (folder / name).is_file())


def _model_in(folder: Path) -> Path | None:
    for place in _PLACES:
        sparse = folder / place
        # `rglob` without a limit would search a folder of any size that happens to be so named.
        if any(next(sparse.glob(f"{deep}cameras.*"), None) for deep in ("", "*/")):
            return sparse
    return None
