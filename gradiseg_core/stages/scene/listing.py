"""Which files of a folder are photographs, and messages about what is left out."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from gradiseg_core.config.given_model import IGNORE
from gradiseg_core.files.images import IMAGE_SUFFIXES
from gradiseg_core.files.manifest import in_order

logger = logging.getLogger(__name__)

_READABLE = "jpg, png, tif or webp"
_SHOWN = 5

#: What a user may have taken for a photograph: kind, endings, what to do.
_NOT_READ = (
    ("HEIC photograph", (".heic", ".heif", ".hif"), "convert to jpg (heif-convert, or the phone's"
     " setting 'most compatible')"),
    ("raw photograph", (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
     "develop and export as jpg"),
    ("video", (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mts", ".3gp"),
     "take single pictures from it, e.g. ffmpeg -i FILE -vf fps=2 frame_%05d.jpg"),
    ("picture of a format that is not read", (".bmp", ".gif", ".avif", ".jp2", ".jxl", ".exr",
     ".hdr", ".tga", ".ppm", ".pgm", ".psd"), "convert to jpg or png"),
)  # fmt: skip


def list_photographs(folder: Path) -> list[Path]:
    """Return the image files of a folder in the order of their names.

    A warning names files that look like photographs but are not read, and sub-folders with
    photographs; the log names other files.
    """
    files, others = [], []
    entries = {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
    for path in map(entries.__getitem__, in_order(entries)):
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
            files.append(path)
        else:
            others.append(path)
    reasons = _left_out(others)
    for reason in reasons:
        logger.warning("left out of %s: %s", folder, reason)
    for path in others:
        if path.name != IGNORE:
            logger.info("ignored: %s is not a %s image", path, _READABLE)
    return files


def too_few(folder: Path, count: int, least: int) -> str:
    """Return the error message for a folder with fewer than ``least`` photographs."""
    message = (
        f"{folder} holds {count} images ({_READABLE}); a scene needs at least {least}, "
        "better 20 or more, that overlap."
    )
    reasons = _left_out([path for path in folder.iterdir() if not path.name.startswith(".")])
    if reasons:
        message += f" Left out: {'; '.join(reasons)}."
    if (folder / "images").is_dir():
        message += f" Did you mean {folder / 'images'}?"
    return message


def _left_out(paths: list[Path]) -> list[str]:
    """Describe paths that may be photographs but are not read: which, and what to do."""
    reasons = []
    for kind, endings, advice in _NOT_READ:
        names = [path.name for path in paths if path.is_file() and path.suffix.lower() in endings]
        if names:
            plural = "" if len(names) == 1 else "s"
            kinds = kind.replace("picture", f"picture{plural}") if " of " in kind else kind + plural
            reasons.append(f"{len(names)} {kinds} ({some(names)}): {advice}")
    folders = {}
    for path in paths:
        if path.is_dir() and path.name != IGNORE:
            images = sum(
                file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
                for file in path.iterdir()
            )
            if images:
                folders[path.name] = images
    if folders:
        named = some([f"{name}/ with {folders[name]}" for name in in_order(folders)])
        reasons.append(
            f"images in sub-folders ({named}): only the folder itself is read; give the path of "
            "one, or copy all into one folder under different names"
        )
    return reasons


def unreadable_name(name: str) -> str | None:
    """Return a file's name in readable form, also if it is not in UTF-8."""
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    return None if shown == name else shown


def some(names: list[str]) -> str:
    """Return the first names and the number of the others, as text."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(in_order(names)[:_SHOWN]) + more
