"""Checking a folder of photographs and bringing it upright into a scene folder."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.config.photo_files import needed
from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import write_ignored
from gradiseg_core.files.images import (
    UnreadableImageError,
    joint_white,
    opened,
    turned,
    turned_size,
)
from gradiseg_core.files.manifest import Unused, by_name
from gradiseg_core.stages.scene.camera_sizes import belongs_to_stored, camera_sizes
from gradiseg_core.stages.scene.colours import in_srgb, transparent
from gradiseg_core.stages.scene.duplicates import find_duplicates
from gradiseg_core.stages.scene.exif import exif_of_camera
from gradiseg_core.stages.scene.formats import register
from gradiseg_core.stages.scene.inspected import Known, of_path
from gradiseg_core.stages.scene.inspecting import Photograph, inspect, stored_size
from gradiseg_core.stages.scene.listing import list_photographs, some, too_few, unreadable_name
from gradiseg_core.stages.scene.naming import common_root, scene_names
from gradiseg_core.stages.scene.workers import in_parallel

__all__ = ["Photograph", "inspect_folder", "link", "link_tree", "place_image", "place_images"]

logger = logging.getLogger(__name__)

MIN_IMAGES = 3  # with fewer nothing can be made; messages name what is needed for a good scene
JPEG_OPTIONS: dict[str, Any] = {"quality": 97, "subsampling": 0}
_LEAST_PEAK = 64  # of 255: 16-bit colours that all stay below it have 14 bits or fewer
_SMALL = 0.25  # of the longest side of the largest photograph
_LONG = 3.0  # width by height, or the other way round, of what may be a panorama
_GO_ON = ", or set `scenes.<name>.skip_unreadable: true` to go on without those that cannot be read"
_BLACK = 15  # of 255: the brightest pixel of a photograph that is called black


def inspect_folder(
    folder: Path,
    *,
    sparse: Path | None = None,
    factor: int = 1,
    own: bool = False,
    skip_unreadable: bool = False,
    threads: int = 1,
    known: Known = MappingProxyType({}),
) -> tuple[list[Photograph], list[Unused]]:
    """Check every image of a folder; other files are left out, with a log line.

    Photographs are turned upright by their EXIF orientation, unless the scene brings a COLMAP model
    that was made from the pixels as stored (:mod:`gradiseg_core.stages.scene.camera_sizes`).

    Args:
        folder: The folder.
        sparse: The folder of the scene's COLMAP models, or None.
        factor: How many times smaller the images are than those of the model.
        own: The folder is as its owner has it: sub-folders are read, their names become part of
            the photographs', names may differ in the ending only, and of photographs that are
            there twice the one of the shortest name is taken, where no model names both.
        skip_unreadable: Go on without files that cannot be read.
        threads: CPU threads.
        known: Photographs that were inspected before.

    Returns:
        The photographs in the order of their names in the scene, and files that are none of them:
        unreadable ones that are skipped, panoramas, and copies.

    Raises:
        InputError: One error that lists all problems: no folder, fewer than 3 images, names that
            are not in UTF-8, two names that differ in the suffix only, unreadable files.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder of photographs: {folder}; set the scene's `path`")
    files = list_photographs(folder, nested=own)
    if len(files) < MIN_IMAGES:
        raise InputError(too_few(folder, len(files), nested=own))
    inner = {path: str(path.relative_to(folder)) for path in files}
    wrong_names = [shown for path in files if (shown := unreadable_name(inner[path]))]
    if wrong_names:
        raise InputError(
            f"{len(wrong_names)} of {len(files)} images in {folder} have names that are not in "
            f"UTF-8: {some(wrong_names)}; rename them (convmv does it for a whole folder)"
        )
    if not own:
        _refuse_duplicate_stems(folder, files)

    photographs, skipped = inspect_all(files, inner, threads, known)
    unusable = said_unreadable(skipped)
    if unusable and skip_unreadable:
        say_skipped(unusable, len(files), folder)
        unusable = []
    photographs = _in_frame(photographs, folder, sparse, factor)
    photographs, ranges = _with_white(photographs)
    ranges += _of_fewer_bits(photographs)
    problems = unusable + ranges
    if problems:
        go_on = own and bool(unusable) and len(photographs) >= MIN_IMAGES
        raise unusable_images(problems, len(files), folder, go_on=go_on)
    if own:
        if sparse is None:
            photographs, left_out = _chosen(photographs, folder)
            skipped += left_out
        photographs = _named(photographs, folder)
    _report(folder, photographs)
    return photographs, skipped


def count_used(photographs: list[Photograph], folder: Path, *, least: int = MIN_IMAGES) -> int:
    """Return how many photographs of a user's folder without cameras become views.

    Args:
        photographs: As :func:`inspect_all` found them.
        folder: Where.
        least: Fewer are refused.

    Raises:
        InputError: If too few are left without panoramas and what is there twice.
    """
    upright = _in_frame(photographs, folder, None, 1)
    return len(_chosen(upright, folder, least)[0])


def _chosen(
    photographs: list[Photograph], folder: Path, least: int = MIN_IMAGES
) -> tuple[list[Photograph], list[Unused]]:
    photographs, panoramas = _without_panoramas(photographs, folder, least)
    photographs, copies = _without_duplicates(photographs, folder, least)
    return photographs, [*panoramas, *copies]


def say_skipped(unusable: list[str], total: int, folder: Path) -> None:
    """Warn of files that cannot be read, with which `skip_unreadable` goes on.

    Args:
        unusable: A line for each.
        total: How many photographs there are, with them.
        folder: Where.

    Raises:
        InputError: If too few others are left.
    """
    left = total - len(unusable)
    lines = "\n".join(unusable)
    if left < MIN_IMAGES:
        raise InputError(
            f"only {left} of {total} images in {folder} can be read, and {needed()}:\n{lines}"
        )
    logger.warning(
        "%s: %d of %d images cannot be read and are left out (`skip_unreadable`):\n%s",
        folder, len(unusable), total, lines,
    )  # fmt: skip


def unusable_images(problems: list[str], total: int, folder: Path, *, go_on: bool) -> InputError:
    """Return the error for photographs that cannot be used.

    Args:
        problems: A line for each.
        total: How many photographs there are.
        folder: Where.
        go_on: Whether `skip_unreadable` would go on without them.
    """
    return InputError(
        f"{len(problems)} of {total} images in {folder} cannot be used:\n"
        + "\n".join(problems)
        + "\nRe-export or remove these files"
        + (_GO_ON if go_on else "")
        + "."
    )


def said_unreadable(files: list[Unused]) -> list[str]:
    """Return a line for each file that cannot be read."""
    return [f"  {one.file}: unreadable ({one.detail})" for one in files]


def inspect_all(
    files: list[Path], inner: dict[Path, str], threads: int, known: Known = MappingProxyType({})
) -> tuple[list[Photograph], list[Unused]]:
    """Inspect files; return the photographs, and the files that cannot be read.

    Args:
        files: The files.
        inner: Their paths in the folder, for messages.
        threads: CPU threads.
        known: Photographs that were inspected before.
    """

    def look(path: Path) -> Photograph | Unused:
        try:
            return of_path(known, path) or inspect(path)
        except UnreadableImageError as error:
            return Unused(file=inner[path], why="unreadable", detail=error.reason)

    found = in_parallel(look, files, [stored_size(path) for path in files], threads, "inspected")
    return (
        [photo for photo in found if isinstance(photo, Photograph)],
        [one for one in found if isinstance(one, Unused)],
    )


def _named(photographs: list[Photograph], folder: Path) -> list[Photograph]:
    """Return photographs of a folder with sub-folders under their names in the scene, in order."""
    paths = [photo.path for photo in photographs]
    names = scene_names(paths, common_root(folder, paths))
    return sorted(
        (replace(photo, name=names[photo.path]) for photo in photographs),
        key=lambda photo: by_name(photo.name),
    )


def _without_duplicates(
    photographs: list[Photograph], folder: Path, least: int
) -> tuple[list[Photograph], list[Unused]]:
    twice = find_duplicates(photographs)
    if not twice:
        return photographs, []
    inner = [str(photo.path.relative_to(folder)) for photo in photographs]
    copies = [
        Unused(file=inner[index], why="copy", detail=inner[first]) for index, first in twice.items()
    ]
    shown = [f"{one.file} (as {Path(one.detail).name})" for one in copies]
    left = [photo for index, photo in enumerate(photographs) if index not in twice]
    said = f"{len(twice)} of {len(photographs)} images in {folder} are there twice"
    if len(left) < least:
        raise InputError(
            f"{said}: {some(shown)}. Only {len(left)} differ, and {needed()}, from "
            "different places."
        )
    logger.warning("%s and are used once: %s", said, some(shown))
    return left, copies


def _without_panoramas(
    photographs: list[Photograph], folder: Path, least: int
) -> tuple[list[Photograph], list[Unused]]:
    """Leave out what cameras stitched: its lines bend, so that it has no place among the others."""
    stitched = [photo for photo in photographs if photo.panorama]
    if not stitched:
        return photographs, []
    left = [photo for photo in photographs if not photo.panorama]
    said = (
        f"{len(stitched)} of {len(photographs)} images in {folder} are panoramas by their metadata "
        f"({some([photo.path.name for photo in stitched])}), which no camera with a lens shows"
    )
    if len(left) < least:
        raise InputError(
            f"{said}. {len(left)} others are left, and {needed()}, from different places; of "
            "a 360-degree camera export perspective views"
        )
    logger.warning("%s: left out", said)
    return left, [
        Unused(
            file=str(photo.path.relative_to(folder)),
            why="panorama",
            detail=f"{photo.size[0]} x {photo.size[1]} px",
        )
        for photo in stitched
    ]


def place_image(photo: Photograph, target: Path) -> NDArray[np.bool_] | None:
    """Write a photograph to ``target``; link it if it can be used unchanged.

    Others are rewritten in the format of the ending of ``target``, in 8-bit sRGB and turned as
    :func:`inspect_folder` found. EXIF data about the camera stay, because SfM reads the focal
    length from them.

    Returns:
        Where [H, W] the photograph is transparent; None if nowhere.
    """
    if photo.as_is:
        link(photo.path, target)
        return None
    register()
    with opened(photo.path) as file:
        hole = transparent(file)
        image = turned(in_srgb(file, photo.white), photo.turn)
        exif = exif_of_camera(file)
    image.info.pop("icc_profile", None)  # LittleCMS's own has the date in it
    jpeg = target.suffix.lower() in (".jpg", ".jpeg")
    image.save(target, exif=exif, **(JPEG_OPTIONS if jpeg else {}))
    return None if hole is None else np.asarray(turned(Image.fromarray(hole), photo.turn))


def place_images(photographs: list[Photograph], out_dir: Path, *, threads: int = 1) -> int:
    """Bring photographs into a scene folder's ``images/``, and what is transparent into `ignore/`.

    Args:
        photographs: From :func:`inspect_folder`.
        out_dir: The scene folder's ``images/``.
        threads: CPU threads.

    Returns:
        How many had to be rewritten.
    """
    out_dir.mkdir(parents=True, exist_ok=True)

    def place(photo: Photograph) -> float:
        hole = place_image(photo, out_dir / photo.name)
        if hole is None:
            return 0.0
        write_ignored(out_dir.parent, photo.name.rsplit(".", 1)[0], hole)
        return float(hole.mean())

    sizes = [None if photo.as_is else photo.size for photo in photographs]
    shares = in_parallel(place, photographs, sizes, threads, "brought in")
    holes = [share for share in shares if share > 0]
    if holes:
        logger.info(
            "%d of %d images are transparent in %.1f%% of their pixels, which are ignored",
            len(holes), len(photographs), 100 * sum(holes) / len(holes),
        )  # fmt: skip
    empty = [
        photo.path.name for photo, share in zip(photographs, shares, strict=True) if share == 1
    ]
    if empty:
        raise InputError(
            f"{len(empty)} images are transparent throughout, so that nothing of them can be used: "
            f"{some(empty)}; remove their alpha channel, or the files"
        )
    return sum(not photo.as_is for photo in photographs)


def link(source: Path, target: Path) -> None:
    """Hard link ``source`` to ``target``; else a symbolic link; else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    for make in (os.link, os.symlink):
        try:
            make(source, target)
            return
        except FileExistsError:
            raise
        except OSError as error:
            logger.debug("%s failed for %s: %s", make.__name__, target, error)
    shutil.copyfile(source, target)


def link_tree(source: Path, target: Path) -> None:
    """Link every file below ``source`` to the same place below ``target``."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            link(path, target / path.relative_to(source))


def _refuse_duplicate_stems(folder: Path, files: list[Path]) -> None:
    by_stem: dict[str, list[str]] = {}
    for path in files:
        by_stem.setdefault(path.stem, []).append(path.name)
    duplicates = [" and ".join(names) for names in by_stem.values() if len(names) > 1]
    if duplicates:
        raise InputError(
            f"images in {folder} whose names differ in the suffix only: {'; '.join(duplicates)}. "
            "Masks and renderings are named after the image without its suffix: rename or remove "
            "one of each."
        )


def _in_frame(
    photographs: list[Photograph], folder: Path, sparse: Path | None, factor: int
) -> list[Photograph]:
    """Return the photographs with their turn and size in the scene."""
    carrying = {photo.path.stem: photo for photo in photographs if photo.turn > 1}
    if sparse is not None and carrying:
        sizes = {
            stem: (photo.size, turned_size(photo.size, photo.turn))
            for stem, photo in carrying.items()
        }
        if belongs_to_stored(camera_sizes(sparse), sizes, factor):
            logger.warning(
                "%d of %d images in %s are to be turned by their EXIF data, and the COLMAP model "
                "in %s was made from the pixels as stored (COLMAP ignores the orientation): they "
                "are not turned, and annotations must fit the pixels as stored",
                len(carrying), len(photographs), folder, sparse,
            )  # fmt: skip
            return [replace(photo, turn=1) for photo in photographs]
    return [replace(photo, size=turned_size(photo.size, photo.turn)) for photo in photographs]


def _with_white(photographs: list[Photograph]) -> tuple[list[Photograph], list[str]]:
    """Return the photographs, deep ones with one white for all, and problems with their ranges."""
    problems = []
    white: dict[bool, float] = {}
    for is_float in (False, True):
        deep = [photo for photo in photographs if photo.depth and photo.depth.is_float == is_float]
        try:
            if deep:
                white[is_float] = joint_white([photo.depth for photo in deep if photo.depth])
                logger.info(
                    "%d images with more than 8 bits: %g is white", len(deep), white[is_float]
                )
        except ValueError as error:
            problems += [
                f"  {photo.path.name}: {photo.depth.low:.6g} to {photo.depth.high:.6g}: the "
                f"{len(deep)} images of this kind have {error}; save them in 8 or 16 bits"
                for photo in deep
                if photo.depth
            ]
    for index, photo in enumerate(photographs):
        if photo.depth and photo.depth.is_float in white:
            level = white[photo.depth.is_float]
            brightest = 255.0 * photo.depth.high / level
            photographs[index] = replace(photo, white=level, brightest=brightest)
    return photographs, problems


def _of_fewer_bits(photographs: list[Photograph]) -> list[str]:
    """Return problems with colours of 10 to 14 bits in 16-bit files, which would turn dark."""
    deep = [photo for photo in photographs if photo.peak is not None]
    joint = max((photo.peak or 0 for photo in deep), default=_LEAST_PEAK)
    if joint >= _LEAST_PEAK:
        return []
    return [
        f"  {photo.path.name}: colours in 16 bits, and no value of the {len(deep)} images of this "
        f"kind is above {256 * joint + 255} of 65535, as if they had 10 to 14 bits; save them in "
        "8 bits"
        for photo in deep
    ]


def _report(folder: Path, photographs: list[Photograph]) -> None:
    """Log what was done to the files that the user may not expect."""
    black = [photo.path.name for photo in photographs if photo.brightest <= _BLACK]
    if black:
        logger.warning(
            "%s: %d of %d images are black (no pixel above %d of 255): %s; is their content scaled "
            "otherwise, such as 12 bits in a file of 16?",
            folder, len(black), len(photographs), _BLACK, some(black),
        )  # fmt: skip
    strange = [photo.path.name for photo in photographs if not photo.colours_known]
    if strange:
        logger.warning(
            "%s: the colours of %d JPEG XL images are described in a way that is not read here (a "
            "profile, unusual primaries) and are taken for sRGB: %s; export them as jpg if they "
            "look pale",
            folder, len(strange), some(strange),
        )  # fmt: skip
    renamed = [
        f"{photo.path.name} ({photo.name})"
        for photo in photographs
        if photo.name != photo.path.name
    ]
    if renamed:
        logger.info("%d images have another name in the scene: %s", len(renamed), some(renamed))
    _report_sizes(folder, photographs)


def _report_sizes(folder: Path, photographs: list[Photograph]) -> None:
    largest = max(max(photo.size) for photo in photographs)
    small = [photo for photo in photographs if max(photo.size) < _SMALL * largest]
    if len(small) > len(photographs) / 2:
        typical = float(np.median([max(photo.size) for photo in photographs]))
        large = [photo for photo in photographs if max(photo.size) > typical / _SMALL]
        logger.info(
            "%s: %d of %d images are more than %g times as large as most: %s",
            folder, len(large), len(photographs), 1 / _SMALL, some(_with_sizes(large)),
        )  # fmt: skip
    elif small:
        logger.warning(
            "%s: %d of %d images are much smaller than the largest (%d px): %s; are they "
            "thumbnails?",
            folder, len(small), len(photographs), largest, some(_with_sizes(small)),
        )  # fmt: skip
    long = [photo for photo in photographs if max(photo.size) >= _LONG * min(photo.size)]
    if 0 < len(long) < len(photographs):
        logger.warning(
            "%s: %d of %d images are very long: %s; remove them if they are panoramas, whose lines "
            "bend, so that their cameras would be wrong",
            folder, len(long), len(photographs), some(_with_sizes(long)),
        )  # fmt: skip


def _with_sizes(photographs: list[Photograph]) -> list[str]:
    return [f"{photo.path.name} ({photo.size[0]} x {photo.size[1]} px)" for photo in photographs]
