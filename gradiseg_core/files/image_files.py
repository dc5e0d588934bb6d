"""Opens image files by their content, and raises one error for everything that can be wrong.

The ending of a file name proves nothing about its content, EXIF tags may be of the wrong type, and
the image library raises a dozen kinds of exceptions on damaged files.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from gradiseg_core.errors import GradisegError, InputError

logger = logging.getLogger(__name__)

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
_ABOUT_CAMERA = (
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
)
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")


class UnreadableImageError(InputError):
    """A file that the image library cannot read.

    Attributes:
        reason: Why, without the file's name.
    """

    def __init__(self, path: Path, what: str, reason: str) -> None:
        super().__init__(f"cannot read {path} as {what} ({reason}); re-export or remove it")
        self.reason = reason


@contextmanager
def opened(path: Path, what: str = "an image") -> Iterator[Image.Image]:
    """Open an image file and decode its first picture, its pixels as they are stored.

    Args:
        path: The file; its content decides about the format.
        what: What the caller wants of it, for the message.

    Raises:
        InputError: If the file is missing.
        UnreadableImageError: If the image library raises anything while the file is open.
    """
    try:
        with Image.open(path) as file:
            _load_as_stored(file)
            yield file
    except (GradisegError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{what.partition(' ')[2]} not found: {path}") from error
    except Exception as error:  # damaged files make Pillow raise nearly every kind of exception
        raise UnreadableImageError(path, what, _why(path, error)) from error


def _load_as_stored(file: Image.Image) -> None:
    """Decode the pixels; undo what Pillow does to TIFF files alone: it turns them, and forgets it.

    COLMAP, and everyone who asks :func:`orientation_of`, must see the same pixels in all formats.
    """
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
    """Tell whether Pillow keeps 8 bits only of a file with ``bits`` a channel."""
    return bits > 8 and not (image.mode == "F" or image.mode.startswith("I"))


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


def exif_of_camera(image: Image.Image) -> bytes:
    """Return the EXIF tags about camera and exposure, to keep them in a file that is rewritten.

    Structure from motion reads the focal length from them. The orientation and what describes the
    file itself are left out, and so are tags that cannot be written.
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
    except Exception as error:  # as above
        logger.debug("EXIF data cannot be read: %s", error)
        return b""


def is_lossy(image: Image.Image) -> bool:
    """Tell whether the file's format changes pixel values when it is written."""
    return image.format in _LOSSY


def _writable(tags: dict) -> bool:
    exif = Image.Exif()
    exif.update(tags)
    try:
        exif.tobytes()
    except Exception:  # struct.error, TypeError, ... by the kind of the value
        return False
    return True


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
        return "a pointer of Git LFS, not the file itself: run `git lfs pull`"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "its content is HEIC, whatever it is called: convert it to jpg"
    if start[4:8] == b"ftyp":
        return "its content is a video or another format of that family"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "its content is a web page: the download failed"
    if start[:4] in (b"II*\0", b"MM\0*"):
        return f"a TIFF of a kind that is not supported, such as colours in 32 bits: {error}"
    return f"{type(error).__name__}: {error}"
