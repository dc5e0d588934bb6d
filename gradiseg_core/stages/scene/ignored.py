"""The user's masks of what does not belong to the scene: ``ignore/`` beside the photographs.

A mask is called as its photograph, with any ending of a picture, with or without the photograph's
own (``a.png`` or ``a.jpg.png`` for ``a.jpg``), in the same sub-folder; or as the photograph is
called in the scene. White is ignored. It is as large as the photograph, upright or as stored.
"""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import write_ignored
from gradiseg_core.files.images import IMAGE_SUFFIXES, turned
from gradiseg_core.files.masks import read_mask
from gradiseg_core.stages.scene.listing import some
from gradiseg_core.stages.scene.photographs import Photograph

logger = logging.getLogger(__name__)

_ALL = 0.98  # of a photograph: what is left of it shows nothing


def place_ignored(
    folder: Path | None,
    photographs: list[Photograph],
    images: Path,
    out_dir: Path,
    *,
    asked: bool = False,
) -> int:
    """Bring the masks of a folder into the scene (:mod:`gradiseg_core.files.ignore`).

    Args:
        folder: The user's folder of masks; None without one.
        photographs: The scene's photographs.
        images: The folder that they are in.
        out_dir: The scene folder.
        asked: Whether the configuration names the folder.

    Returns:
        How many photographs have ignored pixels by these masks.

    Raises:
        InputError: One error that lists all masks that are unusable: not black and white, of
            another size than their photograph, two for one photograph. Also if the configuration
            names the folder, and none of its pictures is called as a photograph.
    """
    if folder is None:
        return 0
    masks = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    of_photograph, extra = _matched(masks, folder, photographs, images)
    if extra:
        _say_extra(extra, masks, folder, images, asked)
    problems: list[str] = []
    shares: dict[str, float] = {}
    for photo in photographs:
        paths = of_photograph.get(photo.path, [])
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            problems.append(f"  {names}: two masks of {photo.path.name}; keep one")
        elif paths:
            try:
                ignored = _in_frame(read_mask(paths[0]), photo, paths[0])
            except InputError as error:
                problems.append(f"  {error}")
            else:
                shares[photo.path.name] = float(ignored.mean())
                write_ignored(out_dir, _stem(photo), ignored)
    if problems:
        raise InputError(
            f"{len(problems)} of the masks in {folder} cannot be used:\n" + "\n".join(problems)
        )
    return _say_shares(shares, folder, len(photographs))


def _matched(
    masks: list[Path], folder: Path, photographs: list[Photograph], images: Path
) -> tuple[dict[Path, list[Path]], list[str]]:
    """Return the masks of each photograph, and the names of those that are of none."""
    by_name: dict[str, Path] = {}
    for photo in photographs:  # what it is called in the scene, and in the user's folder
        by_name[_stem(photo)] = by_name[photo.name] = photo.path
    for photo in photographs:
        inside = photo.path.is_relative_to(images)
        name = PurePosixPath(photo.path.relative_to(images) if inside else photo.path.name)
        by_name[str(name.with_suffix(""))] = photo.path
        by_name[str(name)] = photo.path
    found: dict[Path, list[Path]] = {}
    extra: list[str] = []
    for mask in masks:
        name = PurePosixPath(mask.relative_to(folder))
        path = by_name.get(str(name.with_suffix("")))
        if path is None:
            extra.append(str(name))
        else:
            found.setdefault(path, []).append(mask)
    return found, extra


def _say_extra(
    extra: list[str], masks: list[Path], folder: Path, images: Path, asked: bool
) -> None:
    if len(extra) < len(masks):
        logger.warning(
            "%d of the masks in %s are of no photograph: %s", len(extra), folder, some(extra)
        )
        return
    message = (
        f"none of the {len(masks)} pictures in {folder} is called as a photograph of {images} "
        f"({some(extra)}); the mask of a.jpg is a.png or a.jpg.png"
    )
    if asked:
        raise InputError(message)
    logger.warning("%s: they are not used", message)


def _in_frame(mask: NDArray[np.bool_], photo: Photograph, path: Path) -> NDArray[np.bool_]:
    """Return a mask as its photograph lies in the scene.

    Raises:
        InputError: If it is of another size.
    """
    width, height = photo.size
    if mask.shape == (height, width):
        return mask
    if photo.turn >= 5 and mask.shape == (width, height):  # of the pixels as stored
        return np.asarray(turned(Image.fromarray(mask), photo.turn))
    raise InputError(
        f"{path.name} is {mask.shape[1]} x {mask.shape[0]} px, its photograph {width} x {height} "
        "px; save it in the photograph's size"
    )


def _say_shares(shares: dict[str, float], folder: Path, photographs: int) -> int:
    if not shares:
        return 0
    with_any = sum(share > 0 for share in shares.values())
    mean = sum(shares.values()) / len(shares)
    logger.info(
        "masks of %d of %d photographs in %s: %.1f%% of their pixels are ignored",
        len(shares), photographs, folder, 100 * mean,
    )  # fmt: skip
    if mean > 0.5:
        logger.warning(
            "%.0f%% of the pixels of the %d masks in %s are white, which means ignored: COLMAP's "
            "masks are the other way round. Invert them if they show what to keep",
            100 * mean, len(shares), folder,
        )  # fmt: skip
    whole = [name for name, share in shares.items() if share >= _ALL]
    if whole:
        logger.warning("nearly nothing is left of %d photographs: %s", len(whole), some(whole))
    return with_any


def _stem(photo: Photograph) -> str:
    return photo.name.rsplit(".", 1)[0]
