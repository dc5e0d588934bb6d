"""Writes PNG files of depths that Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels


def write_png(path: Path, values: NDArray, bits: int) -> None:
    """Write [H, W] or [H, W, C] values in ``bits`` a channel, 2, 4, 8 or 16."""
    pixels = values.reshape(*values.shape[:2], -1)
    height, width, channels = pixels.shape
    places = np.arange(bits)[::-1]
    flat = pixels.reshape(height, -1, 1).astype(np.int64) >> places & 1
    rows = np.packbits(flat.reshape(height, -1).astype(np.uint8), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPE[channels], 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, part in ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        png += struct.pack(">I", len(part)) + kind + part
        png += struct.pack(">I", zlib.crc32(kind + part))
    path.write_bytes(png)
