"""Builders of photographs and a tiny rendered demo."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def save_photo(path: Path, size: tuple[int, int] = (24, 16), *, orientation: int = 1) -> None:
    """Write a photograph of stored ``size`` whose top left quarter is red, with EXIF data.

    Its bottom right quarter has a colour of its own, by the file's name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), 40, dtype=np.uint8)
    pixels[: size[1] // 2, : size[0] // 2] = (220, 20, 20)
    own = zlib.crc32(path.name.encode())
    pixels[size[1] // 2 :, size[0] // 2 :] = (40, own % 251, own // 251 % 251)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    image.save(path, exif=exif.tobytes(), **({"quality": 95} if path.suffix != ".png" else {}))
