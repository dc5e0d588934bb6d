"""Image files: opened by their content, read upright in 8-bit RGB, written.

The ending of a file name proves nothing about its content, EXIF tags may be of the wrong type, and
the image library raises a dozen kinds of exceptions on damaged files: :func:`opened` raises one
error for all of them. Photographs come in any depth and colour space (:func:`eight_bit_rgb`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from gradiseg_core.errors import GradisegError, InputError

logger = logging.getLogger(__name__)

# Pillow refuses twice as many as if they were an attack; phones take 200 megapixels.
Image.MAX_IMAGE_PIXELS = 300_000_000

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")

#: EXIF orientation -> what turns the stored pixels upright (EXIF 2.3, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INVERSE = {6: 8, 8: 6}  # what undoes an orientation; the others undo themselves
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")
_COMPRESSION = 0x0103  # TIFF's tag; 1 is none

#: Brightest values of integer photographs: 8, 10, 12, 14 and 16 bits.
_LEVELS = (255, 1023, 4095, 16383, 65535)
_ROUNDING = 0.05  # of white: resampling in floats overshoots by some percent
_LEAST_OF_255 = 64.0  # floats of up to this are taken for neither 0..1 nor 0..255


class UnreadableImageError(InputError):
    """A file that the image library cannot read.

    Attributes:
        reason: Why, without the file's name.
    """

    def __init__(self, path: Path, what: str, reason: str) -> None:
        super().__init__(f"cannot read {path} as {what} ({reason}); re-export or remove it")
        self.reason = reason


@contextmanager
def opened(
    path: Path, what: str = "an image", *, smallest: int | None = None
) -> Iterator[Image.Image]:
    """Open an image file and decode its first picture, its pixels as they are stored.

    Args:
        path: The file; its content decides the format.
        what: What the caller takes it for, for the message.
        smallest: A JPEG file may be decoded in 1/2, 1/4 or 1/8 of its size, no smaller than this
            on its shorter side, px; its own size is then in ``info["stored_size"]``.

    Raises:
        InputError: If the file is missing.
        UnreadableImageError: If the image library raises anything while the file is open.
    """
    try:
        with Image.open(path) as file:
            if smallest is not None and file.format in ("JPEG", "MPO"):
                file.info["stored_size"] = file.size
                file.draft(None, (smallest, smallest))
            _load_as_stored(file)
            yield file
    except (GradisegError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{what.partition(' ')[2]} not found: {path}") from error
    except Exception as error:  # damaged files make Pillow raise nearly every kind of exception
        raise UnreadableImageError(path, what, _why(path, error)) from error


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read a photograph upright.

    Args:
        path: An image file of any depth; its EXIF orientation is applied.
        size: (width, height) to resample to (antialiased), px; None keeps the file's size.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        InputError: If the file is missing or not a readable image.
    """
    # Large JPEG files are decoded in a fraction of their size, but twice as large as asked for.
    with opened(path, smallest=None if size is None else 2 * min(size)) as file:
        image = turned(eight_bit_rgb(file), orientation_of(file))
    if size is not None and image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)


def write_image(path: Path, image: NDArray) -> None:
    """Write [H, W, 3] or [H, W] uint8, or floats in 0..1 (rounded), as the suffix says."""
    if image.dtype != np.uint8:
        image = (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def stored_bits(path: Path, image: Image.Image) -> int:
    """Return how many bits a channel has in a PNG or TIFF file; 8 for other formats.

    Pillow stretches greys of 2 and 4 bits to 8, and keeps the upper 8 of several channels of 16.

    Args:
        path: The file.
        image: It, opened.
    """
    if image.format == "PNG":
        with Path(path).open("rb") as file:
            return file.read(25)[24]  # IHDR is the first chunk
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, 8)
        return int(max(bits)) if isinstance(bits, tuple) else int(bits)
    return 8


def loses_depth(image: Image.Image, bits: int) -> bool:
    """Return whether Pillow keeps only 8 bits of a file with ``bits`` bits a channel."""
    return bits > 8 and not _is_deep(image)


def refuse_changed_values(path: Path, image: Image.Image, what: str) -> None:
    """Refuse a mask or ID map whose values or place Pillow does not give as they were meant.

    Raises:
        InputError: If the file carries an orientation, or has several channels of 16 bits.
    """
    orientation = orientation_of(image)
    if orientation != 1:
        raise InputError(
            f"{path} carries the EXIF orientation {orientation}, so that programs disagree about "
            f"how {what} lies on its photograph; turn its pixels as the photograph's are and save "
            "it as png without the orientation"
        )
    if loses_depth(image, bits := stored_bits(path, image)):
        raise InputError(
            f"{path} has several channels of {bits} bits, of which the lower ones would be lost; "
            f"save {what} in one grey channel of 8 or 16 bits"
        )


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1..8; 1 where there is none or the tags cannot be read."""
    try:
        value = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # damaged EXIF data cause many kinds of errors; the pixels are fine
        logger.debug("EXIF data cannot be read: %s", error)
        return 1
    return value if value in _UPRIGHT else 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image upright, given its EXIF orientation."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the upright (width, height) of stored pixels."""
    return (size[1], size[0]) if orientation >= 5 else size


def is_lossy(image: Image.Image) -> bool:
    """Tell whether the file's format changes pixel values when it is written."""
    return image.format in _LOSSY


def stored_values(image: Image.Image, bits: int) -> NDArray:
    """Return the values before Pillow stretched greys of 2 or 4 bits to 0..255.

    Args:
        image: The file, opened.
        bits: From :func:`stored_bits`.
    """
    values = np.asarray(image)
    return values // (255 // (2**bits - 1)) if image.mode == "L" and bits in (2, 4) else values


class Depth(NamedTuple):
    """The range of a deep image's values.

    Attributes:
        is_float: Whether they are floats.
        low: The smallest; NaN where there is any.
        high: The largest.
    """

    is_float: bool
    low: float
    high: float


def depth_of(image: Image.Image) -> Depth | None:
    """Return the range of an image with more than 8 bits a channel; None for all others."""
    if not _is_deep(image):
        return None
    values = np.asarray(image)
    return Depth(image.mode == "F", float(values.min()), float(values.max()))


def joint_white(depths: list[Depth]) -> float:
    """Return the value that is white in all photographs of these ranges.

    One photograph alone does not tell: a dark one of 16 bits looks like one of 12.

    Raises:
        ValueError: If the values fit no usual range; the message lists them.
    """
    low, high = min(depth.low for depth in depths), max(depth.high for depth in depths)
    found = f"values from {low:.6g} to {high:.6g}"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("values that are not finite")
    if depths[0].is_float:
        if high <= 1.0 + _ROUNDING and low >= -_ROUNDING:
            return 1.0
        if high < _LEAST_OF_255 or low < -_ROUNDING * 255:
            raise ValueError(f"{found}, neither 0..1 nor 0..255 (is it linear light?)")
        high /= 1.0 + _ROUNDING
    elif low < 0:
        raise ValueError(found)
    for level in _LEVELS:
        if high <= level:
            return float(level)
    raise ValueError(f"{found}, beyond 16 bits")


def eight_bit_rgb(image: Image.Image, white: float | None = None) -> Image.Image:
    """Return an image of any mode in 8-bit RGB.

    Args:
        image: Of any mode that the image library has.
        white: Brightest value of a deep image; None: its own values decide.

    Raises:
        ValueError: If the image's values fit no usual range.
    """
    depth = depth_of(image)
    if depth is not None:
        # Pillow clips when it converts; scale instead.
        white = joint_white([depth]) if white is None else white
        values = np.asarray(image).astype(np.float64) * (255.0 / white)
        image = Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        # Over white, as image viewers show it; dropping alpha would show hidden pixels.
        image = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _refuse_misread(file: Image.Image) -> None:
    """Refuse TIFF files that Pillow decodes to wrong values without saying so.

    Raises:
        ValueError: If the channels of 16 bits lie one after another, or 0 is white in 16 bits.
    """
    tags = getattr(file, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, 8)
    if max(bits if isinstance(bits, tuple) else (bits,)) <= 8:
        return
    if tags.get(ExifTags.Base.PlanarConfiguration) == 2 and tags.get(_COMPRESSION, 1) == 1:
        raise ValueError("its channels of 16 bits lie one after another, uncompressed")
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        raise ValueError("0 is white in its greys of 16 bits")


def _load_as_stored(file: Image.Image) -> None:
    """Decode the pixels; undo what Pillow does to TIFF files alone: it turns them, and forgets it.

    COLMAP, and everyone who asks :func:`orientation_of`, must see the same pixels in all formats.
    """
    if file.format == "TIFF":
        _refuse_misread(file)
    orientation = orientation_of(file) if file.format == "TIFF" else 1
    if orientation == 1:
        file.load()
        return
    getattr(file, "n_frames", 1)  # counted once; counting later would load, and turn, anew
    file.load()
    if orientation_of(file) == orientation:
        return  # a Pillow that leaves the pixels alone
    file.getexif()[ExifTags.Base.Orientation] = _INVERSE.get(orientation, orientation)
    ImageOps.exif_transpose(file, in_place=True)
    file.getexif()[ExifTags.Base.Orientation] = orientation


def _why(path: Path, error: Exception) -> str:
    """Return why a file cannot be read, in plain words, from its first bytes."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(64)
    except OSError:
        return str(error)
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: run `git lfs pull`"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return f"HEIC that is damaged, or holds something other than a photograph: {error}"
    if start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis"):
        return f"AVIF that is damaged, or of a kind that is not supported: {error}"
    if start[4:8] == b"ftyp":
        return "its content is a video or another format of that family"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "its content is a web page: the download failed"
    if start[:4] in (b"II*\0", b"MM\0*"):
        if isinstance(error, UnidentifiedImageError):
            return "a TIFF of a kind that is not supported: raw, or colours in 32 bits"
        return f"a TIFF of a kind that is not supported: {error}"
    if isinstance(error, UnidentifiedImageError):
        return "its content is no picture, or one of an unknown format"
    return f"{type(error).__name__}: {error}"
