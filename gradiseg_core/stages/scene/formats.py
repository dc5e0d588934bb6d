"""Formats that Pillow does not read by itself: HEIC (pillow-heif) and JPEG XL (imagecodecs)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageFile

from gradiseg_core.srgb import encoded
from gradiseg_core.stages.scene.hdr import HLG, LINEAR, PQ, WIDE
from gradiseg_core.stages.scene.jxl_header import JxlHeader, read_header

#: Formats whose decoders turn the pixels upright: the orientation is part of the picture itself,
#: and both standards say that the one in EXIF data does not count.
UPRIGHT = ("HEIF", "JXL")

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"


#: In ``info`` of an image: its colours are described in a way that is not read.
COLOURS_NOT_READ = "colours_not_read"

_SDR = (1, 13)  # transfer functions (H.273) of BT.709, which is nearly sRGB's, and of sRGB


class JpegXl(ImageFile.ImageFile):
    """A JPEG XL file, as Pillow opens it."""

    format = "JXL"
    format_description = "JPEG XL"

    def _open(self) -> None:
        data = self.fp.read() if self.fp is not None else b""
        image = _of_jpeg(data) or _decoded(data)
        self._size, self._mode, self._decoded = image.size, image.mode, image
        self.info |= image.info
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


def _of_jpeg(data: bytes) -> Image.Image | None:
    """Return the JPEG that a file was made of without loss, with its colour profile; else None."""
    if not data.startswith(_CONTAINER) or b"jbrd" not in dict(_boxes(data)):
        return None
    import imagecodecs

    image = Image.open(io.BytesIO(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1)))
    image.load()
    return image


def _decoded(data: bytes) -> Image.Image:
    """Return the first picture of a file: colours in 8 bits, greys as they are."""
    import imagecodecs

    values = imagecodecs.jpegxl_decode(data)
    header = read_header(_codestream(data))
    if header.animated:
        values = values[0]
    image = Image.fromarray(_eight_or_deep(values, header))
    if header.transfer in (PQ, HLG) or header.primaries in WIDE:
        image.info["nclx_profile"] = {
            "color_primaries": header.primaries,
            "transfer_characteristics": header.transfer,
        }
    known = header.transfer in (*_SDR, LINEAR, PQ, HLG)
    if not known or (header.primaries != 1 and header.primaries not in WIDE):
        image.info[COLOURS_NOT_READ] = True
    return image


def _codestream(data: bytes) -> bytes:
    """Return the codestream of a JPEG XL file, or its first part."""
    if data.startswith(_CODESTREAM):
        return data
    for kind, content in _boxes(data):
        if kind in (b"jxlc", b"jxlp"):
            return content if kind == b"jxlc" else content[4:]
    raise ValueError("a JPEG XL file without a codestream")


def _eight_or_deep(values: np.ndarray, header: JxlHeader) -> np.ndarray:
    """Return colours in 8 bits; greys and 8-bit values as they are, unless they are linear light.

    Args:
        values: As decoded: integers of fewer than 16 bits are not scaled to 16.
        header: Of the file.
    """
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    linear = header.transfer == LINEAR
    if not linear and (values.ndim == 2 or values.dtype == np.uint8):
        return values
    white = 1.0 if values.dtype.kind == "f" else 2.0**header.bits - 1.0
    share = np.clip(values.astype(np.float32) / np.float32(white), 0.0, 1.0)
    if linear:
        opaque = values.ndim == 2 or values.shape[-1] in (1, 3)
        colours = share if opaque else share[..., :-1]
        colours[...] = encoded(colours)
    return (255.0 * share + 0.5).astype(np.uint8)


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
