"""Warnings about files beside photographs that are not used: models, poses, splits, masks."""

from __future__ import annotations

import logging
from pathlib import Path

from gradiseg_core.config.photo_files import is_photo, skipped

logger = logging.getLogger(__name__)

_LERF_MASK = ("images_train", "test_mask", "object_mask")


def warn_of_unused(folder: Path, images: Path, sparse: Path | None, source: str) -> None:
    """Warn of a model or annotations that are not used, and say why.

    Args:
        folder: The scene's `path`.
        images: The folder of the photographs.
        sparse: The folder of models that is used; None without one.
        source: `folder`, `lerf_mask` or `mipnerf360`.
    """
    for found, why in _unused(folder, images, sparse, source):
        logger.warning("found %s, not used because %s", found, why)


def _unused(folder: Path, images: Path, sparse: Path | None, source: str) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    places = list(dict.fromkeys([folder, images, images.parent]))
    for place in places if sparse is None else ():
        for below in ("sparse", "colmap/sparse"):
            if (place / below).is_dir() and _files_of_a_model(place / below):
                found.append((place / below, _why(place / below, place, images, source)))
        if (place / "transforms.json").is_file():
            why = "call the folder of the photographs images, or put the file into it"
            if source != "folder":
                why = f"source `{source}` does not read it; `source: folder` does"
            found.append((place / "transforms.json", why))
    if source == "folder" and images != folder:
        found += [
            (place, f"photographs are read from {images} alone; move them there, or rename images/")
            for place in sorted(folder.iterdir())
            if place.is_dir()
            and place != images
            and not skipped(place, siblings=["images"])
            and any(map(is_photo, place.iterdir()))
        ]
    if source == "folder":
        for part in _LERF_MASK:
            holder = next((at for at in (folder, images.parent) if (at / part).is_dir()), None)
            if holder is not None and (holder / "images").is_dir():
                found.append(
                    (
                        holder / part,
                        "the scene is read as a plain folder; for LERF-Mask's layout set "
                        f"`source: lerf_mask` and `path: {holder}`",
                    )
                )
    return found


def _files_of_a_model(sparse: Path) -> bool:
    stems = ("cameras", "images", "points3D")
    return any(next(sparse.glob(f"{deep}{stem}.*"), None) for deep in ("", "*/") for stem in stems)


def _why(sparse: Path, place: Path, images: Path, source: str) -> str:
    if not any(next(sparse.glob(f"{deep}cameras.*"), None) for deep in ("", "*/")):
        return "it has no cameras.bin or cameras.txt"
    if source != "folder":
        return f"source `{source}` reads only {place / 'sparse'}; move it there"
    return (
        f"the folder of the photographs is called {images.name}; call it images, or put the model "
        "into it"
    )
