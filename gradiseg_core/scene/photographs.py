"""Checking a folder of photographs and bringing it upright into a scene folder."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from gradiseg_core.errors import InputError
from gradiseg_core.imaging import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

MIN_IMAGES = 3
_JPEG_OPTIONS: dict[str, Any] = {"quality": 97, "subsampling": 0}
_UNSUPPORTED_PHOTOS = (".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".webp", ".bmp")


@dataclass(frozen=True)
class Photograph:
    """A readable image file.

    Attributes:
        path: The user's file.
        size: Upright (width, height), px.
        as_is: Whether the file can be used unchanged (upright, 8-bit grey or RGB).
    """

    path: Path
    size: tuple[int, int]
    as_is: bool


def inspect_folder(folder: Path) -> list[Photograph]:
    """Check every image of a folder; sub-folders and other files are ignored, with a log line.

    Returns:
        The photographs sorted by name, all of one upright size.

    Raises:
        InputError: One error that lists all problems: no folder, fewer than 3 images, two names
            that differ in the suffix only, unreadable files, files of another size than most.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder of photographs: {folder}; set the scene's `path`")
    files = _image_files(folder)
    if len(files) < MIN_IMAGES:
        raise InputError(_too_few(folder, len(files)))
    _refuse_duplicate_stems(folder, files)

    photographs: list[Photograph] = []
    unreadable: list[str] = []
    for path in files:
        try:
            photographs.append(_inspect(path))
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            # PIL raises SyntaxError and ValueError on some damaged PNG and TIFF files.
            unreadable.append(f"  {path.name}: unreadable ({error})")
    majority = _majority_size(photographs)
    odd = [
        f"  {photo.path.name}: {photo.size[0]} x {photo.size[1]} px upright"
        for photo in photographs
        if photo.size != majority
    ]
    if unreadable or odd:
        most = f" (most are {majority[0]} x {majority[1]} px)" if odd and majority else ""
        raise InputError(
            f"{len(unreadable) + len(odd)} of {len(files)} images in {folder} cannot be used"
            f"{most}:\n" + "\n".join(unreadable + odd) + "\n"
            "Re-export or remove these files: all images of a scene must be readable and of one "
            "size and orientation."
        )
    return photographs


def place_image(photo: Photograph, target: Path) -> None:
    """Bring a photograph to ``target`` upright: linked where it can be used as it is.

    Rotated images, and those that are not 8-bit grey or RGB, are rewritten; EXIF data other than
    the orientation stay, because SfM reads the focal length from them.
    """
    if photo.as_is:
        link(photo.path, target)
        return
    with Image.open(photo.path) as file:
        upright = ImageOps.exif_transpose(file)
        exif = upright.getexif()
        exif.pop(ExifTags.Base.Orientation, None)
        upright = _eight_bit_rgb(upright)
    options = _JPEG_OPTIONS if target.suffix.lower() in (".jpg", ".jpeg") else {}
    upright.save(target, exif=exif.tobytes() if len(exif) else b"", **options)


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


def _image_files(folder: Path) -> list[Path]:
    files = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_dir():
            logger.info("ignored: folder %s", path)
        elif path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
            logger.info("ignored: %s is not a jpg, png or tif image", path)
        else:
            files.append(path)
    return files


def _too_few(folder: Path, count: int) -> str:
    message = (
        f"{folder} holds {count} images (jpg, png or tif); a scene needs at least {MIN_IMAGES}, "
        "better 20 or more, that overlap."
    )
    others = sorted(
        path.name for path in folder.iterdir() if path.suffix.lower() in _UNSUPPORTED_PHOTOS
    )
    if others:
        message += f" Convert to jpg or png first: {', '.join(others[:5])}" + (
            f" and {len(others) - 5} more." if len(others) > 5 else "."
        )
    if (folder / "images").is_dir():
        message += f" Did you mean {folder / 'images'}?"
    return message


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
    with Image.open(path) as file:
        file.load()  # decodes all pixels, so that truncated files show
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
        rotated = orientation in range(2, 9)
        swapped = orientation in range(5, 9)
        size = (file.height, file.width) if swapped else (file.width, file.height)
        plain = file.mode in ("RGB", "L") and getattr(file, "n_frames", 1) == 1
        return Photograph(path, size, as_is=plain and not rotated)


def _majority_size(photographs: list[Photograph]) -> tuple[int, int] | None:
    sizes = Counter(photo.size for photo in photographs)
    return max(sizes, key=lambda size: (sizes[size], size)) if sizes else None


def _eight_bit_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # PIL clips 16-bit values when converting; scale them instead.
        values = np.asarray(image).astype(np.float64)
        scale = 255.0 / 65535.0 if values.max(initial=0) > 255 else 1.0
        image = Image.fromarray(np.clip(values * scale + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Over white, as image viewers show it; dropping alpha would show hidden pixels.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
