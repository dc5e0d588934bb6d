"""Formats that Pillow does not read by itself: HEIC (pillow-heif) and JPEG XL (imagecodecs)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageFile

#: Formats whose decoders turn the pixels upright: the orientation is part of the picture itself,
#: and both standards say that the one in EXIF data does not count.
UPRIGHT = ("HEIF", "JXL")

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"


class JpegXl(ImageFile.ImageFile):
    """A JPEG XL file, as Pillow opens it."""

    format = "JXL"
    format_description = "JPEG XL"

    def _open(self) -> None:
        import imagecodecs

        data = self.fp.read() if self.fp is not None else b""
        image = Image.fromarray(_eight_or_deep(imagecodecs.jpegxl_decode(data)))
        self._size, self._mode, self._decoded = image.size, image.mode, image
        exif = exif_of(data)
        if exif:
            self.info["exif"] = exif
        self.tile = []

    def load(self) -> Image.core.PixelAccess | None:
        """Give the pixels, which were decoded when the file was opened."""
        if self._im is None:
            self.im = self._decoded.im
        return super().load()


@cache
def register() -> None:
    """Make Pillow open HEIC and JPEG XL from now on."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    Image.register_open(JpegXl.format, JpegXl, is_jxl)


def is_jxl(start: bytes) -> bool:
    """Whether a file that starts so is JPEG XL."""
    return start.startswith((_CODESTREAM, _CONTAINER))


def _eight_or_deep(values: np.ndarray) -> np.ndarray:
    """Return colours of more than 8 bits in 8, and greys and 8-bit values as they are."""
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2 or values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def exif_of(data: bytes) -> bytes | None:
    """Return the EXIF data of a JPEG XL file as in a JPEG; None without any.

    Source: ISO/IEC 18181-2, boxes `Exif` (after 4 bytes, the offset of the TIFF header) and `brob`
    (a box compressed with Brotli).
    """
    if not data.startswith(_CONTAINER):
        return None
    for kind, content in _boxes(data):
        if kind == b"brob" and content[:4] == b"Exif":
            import imagecodecs

            kind, content = b"Exif", bytes(imagecodecs.brotli_decode(content[4:]))
        if kind == b"Exif" and len(content) > 8:
            (offset,) = struct.unpack(">I", content[:4])
            return b"Exif\0\0" + bytes(content[4 + offset :])
    return None


def nclx_of(data: bytes) -> dict[str, int] | None:
    """Return what an AVIF or HEIC file says of its colours by numbers (H.273); None if it does not.

    Source: ISO/IEC 14496-12, 12.1.5, box `colr` of type `nclx`, among the properties of ISO/IEC
    23008-12. It is that of the first picture that has one.
    """
    for path in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = [content for kind, content in _boxes(data) if kind == path[0]]
        if not found:
            return None
        data = found[0][path[1] :]
    for kind, content in _boxes(data):
        if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 10:
            primaries, transfer, matrix = struct.unpack(">3H", content[4:10])
            return {
                "color_primaries": primaries,
                "transfer_characteristics": transfer,
                "matrix_coefficients": matrix,
            }
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes of a file of the ISO base media family."""
    stream = io.BytesIO(data)
    while len(head := stream.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        read = 8
        if size == 1:
            (size,) = struct.unpack(">Q", stream.read(8))
            read = 16
        yield kind, stream.read() if size == 0 else stream.read(size - read)
