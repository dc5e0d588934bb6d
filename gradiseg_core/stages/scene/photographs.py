"""Checking a folder of photographs and bringing it upright into a scene folder."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from gradiseg_core.errors import InputError
from gradiseg_core.files.images import (
    Depth,
    UnreadableImageError,
    depth_of,
    eight_bit_rgb,
    joint_white,
    loses_depth,
    opened,
    orientation_of,
    stored_bits,
    turned,
    turned_size,
)
from gradiseg_core.stages.scene.camera_sizes import belongs_to_stored, camera_sizes
from gradiseg_core.stages.scene.listing import list_photographs, some, too_few, unreadable_name

logger = logging.getLogger(__name__)

MIN_IMAGES = 3
_JPEG_OPTIONS: dict[str, Any] = {"quality": 97, "subsampling": 0}
#: Ending -> formats of files that later stages, COLMAP among them, read under this ending.
_FORMATS = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
}
_ABOUT_CAMERA = (
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
)
_LEAST_PEAK = 64  # of 255: 16-bit colours that all stay below it have 14 bits or fewer
_THUMBNAIL = 0.25  # of the longest side of the largest photograph
_BLACK = 15  # of 255: the brightest pixel of a photograph that is called black


@dataclass(frozen=True)
class Photograph:
    """A readable image file.

    Attributes:
        path: The user's file.
        name: Its file name in the scene.
        size: (width, height) in the scene, px.
        turn: The EXIF orientation by which the stored pixels are turned for the scene; 1 for none.
        as_is: Whether the file can be used unchanged (8-bit grey or RGB, in the format of its
            ending, without an orientation).
        depth: Range of values of an image with more than 8 bits; else None.
        white: Value that becomes white, of an image with more than 8 bits.
        brightest: Brightest pixel in the scene, 0..255.
        peak: Largest value of 16-bit colours, of which the upper 8 bits are read; None for others.
    """

    path: Path
    name: str
    size: tuple[int, int]
    turn: int
    as_is: bool
    depth: Depth | None = None
    white: float | None = None
    brightest: float = 255.0
    peak: int | None = None


def inspect_folder(
    folder: Path, *, sparse: Path | None = None, factor: int = 1
) -> list[Photograph]:
    """Check every image of a folder; sub-folders and other files are left out, with a log line.

    Photographs are turned upright by their EXIF orientation, unless the scene brings a COLMAP model
    that was made from the pixels as stored (:mod:`gradiseg_core.stages.scene.camera_sizes`).

    Args:
        folder: The folder.
        sparse: The folder of the scene's COLMAP models, or None.
        factor: How many times smaller the images are than those of the model.

    Returns:
        The photographs in their order.

    Raises:
        InputError: One error that lists all problems: no folder, fewer than 3 images, names that
            are not in UTF-8, two names that differ in the suffix only, unreadable files.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder of photographs: {folder}; set the scene's `path`")
    files = list_photographs(folder)
    if len(files) < MIN_IMAGES:
        raise InputError(too_few(folder, len(files), MIN_IMAGES))
    wrong_names = [shown for path in files if (shown := unreadable_name(path.name))]
    if wrong_names:
        raise InputError(
            f"{len(wrong_names)} of {len(files)} images in {folder} have names that are not in "
            f"UTF-8: {some(wrong_names)}; rename them (convmv does it for a whole folder)"
        )
    _refuse_duplicate_stems(folder, files)

    photographs: list[Photograph] = []
    unusable: list[str] = []
    for path in files:
        try:
            photographs.append(_inspect(path))
        except UnreadableImageError as error:
            unusable.append(f"  {path.name}: unreadable ({error.reason})")
    photographs = _in_frame(photographs, folder, sparse, factor)
    photographs, ranges = _with_white(photographs)
    ranges += _of_fewer_bits(photographs)
    problems = unusable + ranges
    if problems:
        raise InputError(
            f"{len(problems)} of {len(files)} images in {folder} cannot be used:\n"
            + "\n".join(problems)
            + "\nRe-export or remove these files: all images of a scene must be readable."
        )
    _report(folder, photographs)
    return photographs


def place_image(photo: Photograph, target: Path) -> None:
    """Write a photograph to ``target``; link it if it can be used unchanged.

    Others are rewritten in the format of the ending of ``target``, in 8-bit RGB and turned as
    :func:`inspect_folder` found. EXIF data about the camera stay, because SfM reads the focal
    length from them.
    """
    if photo.as_is:
        link(photo.path, target)
        return
    with opened(photo.path) as file:
        image = turned(eight_bit_rgb(file, photo.white), photo.turn)
        exif = exif_of_camera(file)
    jpeg = target.suffix.lower() in (".jpg", ".jpeg")
    image.save(target, exif=exif, **(_JPEG_OPTIONS if jpeg else {}))


def exif_of_camera(image: Image.Image) -> bytes:
    """Return the EXIF tags about camera and exposure, to keep them in a file that is rewritten.

    Structure from motion reads the focal length from them. Left out are the orientation, tags about
    the file itself, and tags that cannot be written.
    """
    try:
        tags = image.getexif()
        kept = Image.Exif()
        for tag in _ABOUT_CAMERA:
            if tag in tags and _writable({tag: tags[tag]}):
                kept[tag] = tags[tag]
        for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            inner = tags.get_ifd(ifd)
            kept[ifd] = {tag: value for tag, value in inner.items() if _writable({tag: value})}
            if not kept[ifd]:
                del kept[ifd]
        return kept.tobytes() if len(kept) else b""
    except Exception as error:  # damaged EXIF data cause many kinds of errors; the pixels are fine
        logger.debug("EXIF data cannot be read: %s", error)
        return b""


def _writable(tags: dict) -> bool:
    exif = Image.Exif()
    exif.update(tags)
    try:
        exif.tobytes()
    except Exception:  # struct.error, TypeError, ... by the kind of the value
        return False
    return True


def place_images(photographs: list[Photograph], out_dir: Path) -> int:
    """Bring photographs into ``out_dir``; return how many had to be rewritten."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for photo in photographs:
        place_image(photo, out_dir / photo.name)
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


def _inspect(path: Path) -> Photograph:
    """Read a file; size and turn are those of the stored pixels until the frame is chosen."""
    with opened(path) as file:
        orientation = orientation_of(file)
        suffix = path.suffix.lower()
        shortened = loses_depth(file, stored_bits(path, file))
        plain = (
            file.mode in ("RGB", "L")
            and file.format in _FORMATS.get(suffix, ())
            and getattr(file, "n_frames", 1) == 1
            and not shortened
        )
        depth = depth_of(file)
        grey = file if file.mode == "L" or depth else eight_bit_rgb(file).convert("L")
        brightest = 255.0 if depth else float(np.max(grey.getextrema()))
        peak = int(np.asarray(file)[..., :3].max(initial=0)) if shortened else None
        name = path.name if suffix in _FORMATS else f"{path.stem}.jpg"
        return Photograph(
            path,
            name,
            file.size,
            orientation,
            as_is=plain and orientation == 1,
            depth=depth,
            brightest=brightest,
            peak=peak,
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
    renamed = [
        f"{photo.path.name} ({photo.name})"
        for photo in photographs
        if photo.name != photo.path.name
    ]
    if renamed:
        logger.info("%d images are kept under another ending: %s", len(renamed), some(renamed))
    largest = max(max(photo.size) for photo in photographs)
    small = [
        f"{photo.path.name} ({photo.size[0]} x {photo.size[1]} px)"
        for photo in photographs
        if max(photo.size) < _THUMBNAIL * largest
    ]
    if small:
        logger.warning(
            "%s: %d of %d images are much smaller than the largest (%d px): %s; are they "
            "thumbnails?",
            folder, len(small), len(photographs), largest, some(small),
        )  # fmt: skip
