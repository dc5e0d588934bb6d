"""Which files of a user's folder are photographs or videos, and which sub-folders hold them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: Endings of photographs that stage `scene` reads.
PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".webp", ".heic", ".heif",
    ".hif", ".avif", ".jxl", ".jp2", ".bmp", ".ppm", ".pgm", ".tga",
)  # fmt: skip
#: Endings of videos that it takes frames from.
VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg", ".3gp",
)  # fmt: skip

#: Photographs of a scene of a user's own: fewer are refused, as most are seen by too few others.
LEAST_PHOTOGRAPHS = 8
#: From here on most things are seen often enough.
GOOD_PHOTOGRAPHS = 20

#: Sub-folders that hold no photographs: masks and other layouts' parts, what systems leave behind.
_OF_OTHERS = {
    "ignore", "mask", "masks", "depth", "depths", "sparse", "colmap", "test_mask", "object_mask",
    "gt_ids", "images_train", "thumbnails", "@eadir", "#recycle", "$recycle.bin", "__macosx",
}  # fmt: skip
_REDUCED = {"images_2", "images_4", "images_8"}  # copies of `images`, in COLMAP's and 3DGS's layout


def needed() -> str:
    """Return how many photographs a scene needs, for messages that say that there are too few."""
    return (
        f"a scene needs at least {LEAST_PHOTOGRAPHS} photographs, better {GOOD_PHOTOGRAPHS} or "
        "more, that overlap"
    )


def is_photo(path: Path) -> bool:
    """Whether a file's ending is that of a photograph; capitals do not matter."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def is_video(path: Path) -> bool:
    """Whether a file's ending is that of a video; capitals do not matter."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def files_below(folder: Path, *, nested: bool = True) -> Iterator[Path]:
    """Yield the files of a folder of photographs, in no order, hidden ones left out.

    Args:
        folder: The folder.
        nested: Whether its sub-folders are read as well: all but hidden ones, those that other
            programs make, those of masks, and results of this workflow. Links to folders are
            followed, each folder once.
    """
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        here = Path(place)
        folders[:] = sorted(
            name for name in folders if nested and not skipped(here / name, siblings=folders)
        )
        for name in names:
            path = here / name
            if not name.startswith(".") and path.is_file():
                yield path


def skipped(folder: Path, *, siblings: list[str]) -> bool:
    """Whether a sub-folder holds no photographs of the scene, by its name and layout.

    Args:
        folder: The sub-folder.
        siblings: Names of the folders beside it.
    """
    name = folder.name.lower()
    return (
        name.startswith(".")
        or name in _OF_OTHERS
        or (name in _REDUCED and "images" in siblings)
        or is_begun(folder)
        or (folder / "scene.json").is_file()
        or (folder / "scene" / "scene.json").is_file()
        or ((folder / "logs").is_dir() and (folder / "benchmarks").is_dir())
    )


def is_begun(folder: Path) -> bool:
    """Whether a folder holds results of a scene that may have only begun."""
    return (folder / "budget.json").is_file()


def videos_of(path: Path) -> list[Path]:
    """Return the videos that a scene is made of: a file, or those of a folder without photographs.

    In no order; empty where the scene is made of photographs.
    """
    if path.is_file():
        return [path] if is_video(path) else []
    videos = []
    for file in files_below(path):
        if is_photo(file):
            return []
        if is_video(file):
            videos.append(file)
    return videos
