"""What one photograph is: size, orientation, depth, colours, exposure; how it looks in small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from gradiseg_core.files.images import (
    Depth,
    depth_of,
    loses_depth,
    opened,
    orientation_of,
    stored_bits,
    turned,
)
from gradiseg_core.stages.scene.colours import foreign_profile, has_alpha, in_srgb
from gradiseg_core.stages.scene.formats import COLOURS_NOT_READ, UPRIGHT, is_jxl, register

#: Ending -> formats of files that later stages, COLMAP among them, read under this ending.
FORMATS = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
}
_LOSSLESS = (".bmp", ".ppm", ".pgm", ".tga")  # become png, all others jpg

#: JPEG files are decoded in 1/2, 1/4 or 1/8 of their size, but no smaller than this, px.
_INSPECTED = 512
_LARGE = (8000, 6000)
_APPLE_PANORAMA = 6
SMALL = 64
"""Side of the small picture of a photograph, by which equal ones are found, px."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A readable image file.

    Attributes:
        path: The user's file.
        name: Its file name in the scene.
        size: (width, height) in the scene, px.
        turn: The EXIF orientation by which the stored pixels are turned for the scene; 1 for none.
        as_is: Whether the file can be used unchanged (8-bit grey or RGB, in sRGB, in the format of
            its ending, without an orientation).
        depth: Range of values of an image with more than 8 bits; else None.
        white: Value that becomes white, of an image with more than 8 bits.
        brightest: Brightest pixel in the scene, 0..255.
        peak: Largest value of 16-bit colours, of which the upper 8 bits are read; None for others.
        exposure: Light that the settings let in, as a power of two (seconds, ISO 100, f/1); None
            where EXIF data do not say.
        small: [SMALL, SMALL, 3] upright in sRGB; None where it depends on other photographs.
        colours_known: Whether it is known what the file's colours mean.
        panorama: Whether a camera says that it stitched the picture, which no pinhole camera shows.
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
    exposure: float | None = None
    small: NDArray[np.uint8] | None = None
    colours_known: bool = True
    panorama: bool = False


def name_in_scene(name: str) -> str:
    """Return a photograph's file name in the scene: endings that COLMAP reads stay."""
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return name
    return path.stem + (".png" if suffix in _LOSSLESS else ".jpg")


def stored_size(path: Path) -> tuple[int, int] | None:
    """Return (width, height) from a file's head, without decoding it; None where it has none.

    JPEG XL cannot be opened without decoding it: such files count as large.
    """
    register()
    try:
        with path.open("rb") as head:
            if is_jxl(head.read(16)):
                return _LARGE
        with Image.open(path) as file:
            return file.size
    except Exception:  # whatever is wrong with a file is said by `inspect`
        return None


def inspect(path: Path) -> Photograph:
    """Read a file; size and turn are those of the stored pixels until the frame is chosen.

    Raises:
        UnreadableImageError: If it cannot be decoded to its end.
    """
    register()
    with opened(path, smallest=_INSPECTED) as file:
        size = file.info.get("stored_size", file.size)
        suffix = path.suffix.lower()
        shortened = loses_depth(file, stored_bits(path, file))
        plain = (
            file.mode in ("RGB", "L")
            and file.format in FORMATS.get(suffix, ())
            # Of an MPO, a JPEG with further pictures (a phone's HDR gain map, depth), every program
            # reads the first; pages of other formats are another matter.
            and (file.format == "MPO" or getattr(file, "n_frames", 1) == 1)
            and not shortened
            and not has_alpha(file)
            and foreign_profile(file) is None
        )
        depth = depth_of(file)
        brightest, small = 255.0, None
        orientation = 1 if file.format in UPRIGHT else orientation_of(file)
        if depth is None:
            # Reduced first: 48 megapixels are converted much more slowly than they are reduced.
            brightest = _brightest(file)
            small = _small(file, orientation)
        peak = int(np.asarray(file)[..., :3].max(initial=0)) if shortened else None
        return Photograph(
            path,
            name_in_scene(path.name),
            size,
            orientation,
            as_is=plain and orientation == 1,
            depth=depth,
            brightest=brightest,
            peak=peak,
            exposure=exposure_of(file),
            small=small,
            colours_known=COLOURS_NOT_READ not in file.info,
            panorama=_is_panorama(file),
        )


def _brightest(file: Image.Image) -> float:
    plain = file if file.mode in ("L", "RGB") and not has_alpha(file) else in_srgb(file)
    return float(np.max(plain.getextrema()))


def _small(file: Image.Image, orientation: int) -> NDArray[np.uint8]:
    # Palettes and the like cannot be averaged; pixels behind alpha must not be.
    averaged = file.mode in ("L", "RGB", "CMYK") and not has_alpha(file)
    image = file if averaged else in_srgb(file)
    image = image.resize((SMALL, SMALL), Image.Resampling.BOX)
    if averaged:
        image.info = file.info
        image = in_srgb(image)
    return np.asarray(turned(image, orientation))


def _is_panorama(file: Image.Image) -> bool:
    """Whether metadata say so: Google's photo sphere XMP, or Apple's value of `CustomRendered`."""
    xmp = file.info.get("xmp") or b""
    if b"GPano:ProjectionType" in (xmp.encode() if isinstance(xmp, str) else xmp):
        return True
    try:
        rendered = file.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.CustomRendered)
    except Exception:  # damaged EXIF data cause many kinds of errors; the pixels are fine
        return False
    return bool(rendered == _APPLE_PANORAMA)


def exposure_of(file: Image.Image) -> float | None:
    """Return log2(t ISO / (100 N^2)) of the EXIF data: 1 more is twice as bright a picture.

    Source: ISO 12232; the exposure value at ISO 100 is minus this.
    """
    try:
        tags = file.getexif().get_ifd(ExifTags.IFD.Exif)
        seconds = float(tags[ExifTags.Base.ExposureTime])
        iso = tags[ExifTags.Base.ISOSpeedRatings]
        iso = float(iso[0] if isinstance(iso, tuple) else iso)
        f_number = float(tags.get(ExifTags.Base.FNumber, 1.0))
        value = math.log2(seconds * iso / (100.0 * f_number**2))
    except Exception:  # damaged EXIF data cause many kinds of errors; the pixels are fine
        return None
    return value if math.isfinite(value) else None
