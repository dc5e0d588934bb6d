"""Reading and writing photographs and masks, and the colours in which IDs are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.files.image_files import (
    opened,
    orientation_of,
    refuse_changed_values,
    stored_bits,
    turned,
)
from gradiseg_core.files.mask_values import mask_of
from gradiseg_core.files.tones import eight_bit_rgb

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


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
    with opened(path) as file:
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


def read_mask(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Read a binary mask of any encoding (:mod:`gradiseg_core.files.mask_values`).

    Args:
        path: Any image file.
        size: (width, height) to resample to (nearest), px.

    Returns:
        [H, W] bool.

    Raises:
        InputError: If the file is missing, unreadable, carries an orientation, or is no binary
            mask; the message lists its values.
    """
    with opened(path, "a mask") as file:
        refuse_changed_values(path, file, "a mask")
        try:
            mask = mask_of(file, stored_bits(path, file))
        except ValueError as error:
            raise InputError(
                f"{path} is no binary mask: {error}; save it as 0 and 255, the object white"
            ) from error
    if size is not None and mask.shape != (size[1], size[0]):
        resized = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
        return np.asarray(resized)
    return mask


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write [H, W] bool as an 8-bit PNG of 0 and 255."""
    write_image(path, mask.astype(np.uint8) * 255)


def id_colors(num_ids: int) -> NDArray[np.uint8]:
    """Return a fixed palette, [num_ids, 3] uint8; entry 0 (background) is black.

    Hues step by the golden ratio, so that neighbouring IDs look different, and an ID keeps its
    colour whatever the number of IDs.
    """
    import colorsys

    colors = np.zeros((num_ids, 3), dtype=np.uint8)
    for index in range(1, num_ids):
        hue = (index * 0.618033988749895) % 1.0
        saturation = (0.9, 0.6, 0.75)[index % 3]
        value = (0.95, 0.8, 0.65)[(index // 3) % 3]
        colors[index] = np.round(255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value)))
    return colors


def colorize_ids(ids: NDArray) -> NDArray[np.uint8]:
    """Return [H, W, 3] uint8 in which every ID has its palette colour."""
    return id_colors(int(ids.max(initial=0)) + 1)[ids]
