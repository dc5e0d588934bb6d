"""A COLMAP model beside the user's photographs: 3DGS's layout, as source ``folder`` finds it.

    images/  [images_2/ ...]  sparse/0/  or  sparse/  or  colmap/sparse/0/

The configured path may be the folder that holds ``images/``, or the image folder itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IGNORE = "ignore"
"""Folder of masks of what does not belong to the scene, in or beside that of the photographs."""

_PLACES = ("sparse", "colmap/sparse")
_REDUCED = re.compile(r"images_([248])")


@dataclass(frozen=True)
class GivenScene:
    """Where the photographs are and what lies beside them.

    Attributes:
        images: Folder of the photographs.
        sparse: Folder of the model, or of several; None without one.
        downsampled: How many times the photographs are smaller than those of the model.
    """

    images: Path
    sparse: Path | None
    downsampled: int = 1


def find_given(path: Path) -> GivenScene:
    """Return photographs and model of a path; neither is checked here."""
    images, beside = path, path.parent
    if (path / "images").is_dir() and _model_in(path) is not None:
        images, beside = path / "images", path
    sparse = _model_in(path) or (_model_in(beside) if images.name.startswith("images") else None)
    reduced = _REDUCED.fullmatch(images.name) if sparse is not None else None
    return GivenScene(images, sparse, int(reduced.group(1)) if reduced else 1)


def find_ignore(path: Path, images: Path) -> Path | None:
    """Return the folder of ignore masks that comes with a scene; None without one.

    Args:
        path: The scene's `path`.
        images: The folder of the photographs, in it or itself.
    """
    places = [path, images] + ([images.parent] if images.name.startswith("images") else [])
    return next((place / IGNORE for place in places if (place / IGNORE).is_dir()), None)


def _model_in(folder: Path) -> Path | None:
    for place in _PLACES:
        sparse = folder / place
        # `rglob` without a limit would search a folder of any size that happens to be so named.
        if any(next(sparse.glob(f"{deep}cameras.*"), None) for deep in ("", "*/")):
            return sparse
    return None
