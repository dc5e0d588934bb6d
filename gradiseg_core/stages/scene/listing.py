"""Which files of a folder are photographs, and messages about what is left out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from gradiseg_core.config.given_model import IGNORE
from gradiseg_core.config.photo_files import (
    VIDEO_SUFFIXES,
    files_below,
    is_photo,
    is_video,
    needed,
    skipped,
)
from gradiseg_core.files.manifest import by_name, in_order

logger = logging.getLogger(__name__)

_READABLE = "jpg, png, tif, webp, heic, avif or jxl"
_SHOWN = 5

#: What a user may have taken for a photograph: kind, endings, what to do.
_NOT_READ = (
    ("raw photograph", (
        ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".raf", ".orf",
        ".rw2", ".raw", ".pef", ".srw", ".x3f", ".3fr", ".fff", ".iiq", ".rwl", ".dcr", ".kdc",
        ".erf", ".mef", ".mos", ".gpr",
    ), "develop and export as jpg"),
    ("picture of a 360-degree camera", (".insp", ".insv", ".360"),
     "export perspective views of it as jpg"),
    ("video", VIDEO_SUFFIXES, "a folder of photographs takes none; for a video of the scene, give"
     " it as the scene's `path`"),
    ("picture of a format that is not read", (".gif", ".exr", ".hdr", ".psd"),
     "convert to jpg or png"),
)  # fmt: skip


def list_photographs(folder: Path, *, nested: bool = False) -> list[Path]:
    """Return the photographs of a folder in the order of their names.

    A warning names files that look like photographs but are not read, and sub-folders with
    photographs that are left out; the log names other files.

    Args:
        folder: The folder.
        nested: Whether its sub-folders belong to it (:mod:`gradiseg_core.config.photo_files`).
    """
    below = sorted(files_below(folder, nested=nested), key=lambda path: _order(path, folder))
    files = [path for path in below if is_photo(path)]
    others = [path for path in below if not is_photo(path)]
    twins = _beside_photographs(files, others)
    for reason in left_out(folder, nested=nested):
        logger.warning("left out of %s: %s", folder, reason)
    if twins:
        logger.info(
            "%d files are the raw photograph or the live video of a photograph beside them, which "
            "is used: %s",
            len(twins), some([path.name for path in twins]),
        )  # fmt: skip
    rest = [path.name for path in others if path not in twins]
    if rest:
        logger.info("%d files are no %s images: %s", len(rest), _READABLE, some(rest))
    return files


def _beside_photographs(files: Sequence[Path], others: Sequence[Path]) -> set[Path]:
    """Return raw files and videos of the same name and folder as a photograph.

    Cameras write a raw file beside each JPEG, phones a video of a second or two beside each live
    photograph.
    """
    photographs = {(path.parent, path.stem.lower()) for path in files}
    endings = (*_NOT_READ[0][1], *VIDEO_SUFFIXES)
    return {
        path
        for path in others
        if path.suffix.lower() in endings and (path.parent, path.stem.lower()) in photographs
    }


def too_few(folder: Path, count: int, *, nested: bool = False) -> str:
    """Return the error message for a folder with too few photographs."""
    message = f"{folder} holds {count} images ({_READABLE}); {needed()}."
    reasons = left_out(folder, nested=nested)
    if reasons:
        message += f" Left out: {'; '.join(reasons)}."
    if not nested and (folder / "images").is_dir():
        message += f" Did you mean {folder / 'images'}?"
    return message


def _order(path: Path, folder: Path) -> tuple:
    return by_name(path.relative_to(folder).as_posix())


def left_out(folder: Path, *, nested: bool) -> list[str]:
    """Return what may be taken for photographs but is not read: which, and what to do.

    Args:
        folder: The folder.
        nested: Whether its sub-folders belong to it.
    """
    below = list(files_below(folder, nested=nested))
    others = [path for path in below if not is_photo(path)]
    twins = _beside_photographs([path for path in below if is_photo(path)], others)
    others = [path for path in others if path not in twins]
    reasons = []
    for kind, endings, advice in _NOT_READ:
        names = [path.name for path in others if path.suffix.lower() in endings]
        if names:
            plural = "" if len(names) == 1 else "s"
            kinds = kind.replace("picture", f"picture{plural}") if " of " in kind else kind + plural
            reasons.append(f"{len(names)} {kinds} ({some(names)}): {advice}")
    lost = [path.name for path in folder.iterdir() if path.is_symlink() and not path.exists()]
    lost = [name for name in lost if is_photo(Path(name)) or is_video(Path(name))]
    if lost:
        reasons.append(f"{len(lost)} links to nothing ({some(lost)}): fetch what they point to")
    clouds = [path.name for path in folder.glob(".*.icloud")]
    if clouds:
        reasons.append(
            f"{len(clouds)} files that are still in iCloud ({some(clouds)}): download them first"
        )
    folders = {}
    beside = [path for path in folder.iterdir() if path.is_dir() and path.name != IGNORE]
    names = [path.name for path in beside]
    for path in beside:
        if path.name.startswith((".", "@", "#", "$", "__")):
            continue
        if not nested or skipped(path, siblings=names):
            images = sum(is_photo(file) for file in path.iterdir() if file.name[0] != ".")
            if images:
                folders[path.name] = images
    if folders:
        named = some([f"{name}/ with {folders[name]}" for name in in_order(folders)])
        why = (
            "by their names they are not photographs of the scene; rename the folder if they are"
            if nested
            else "only the folder itself is read; give the path of one, or copy all into one "
            "folder under different names"
        )
        reasons.append(f"images in sub-folders ({named}): {why}")
    return reasons


def unreadable_name(name: str) -> str | None:
    """Return a file's name in readable form, also if it is not in UTF-8."""
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")
    return None if shown == name else shown


def some(names: Sequence[str]) -> str:
    """Return the first names and the number of the others, as text."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(in_order(names)[:_SHOWN]) + more
