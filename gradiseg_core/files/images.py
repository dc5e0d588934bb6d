"""Reading and writing photographs, masks and ID maps.

ID maps are 16-bit grey PNG files whose pixel value is the object's ID; 0 is background.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.files.image_files import is_lossy, opened, orientation_of, turned
from gradiseg_core.files.mask_values import ids_of, mask_of
from gradiseg_core.files.tones import eight_bit_rgb

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
_ID_MAP_ENDINGS = (".png", ".PNG", ".Png", ".tif", ".tiff", ".TIF", ".TIFF")

_TIE = 1e-4  # share of a pixel: breaks ties of areas and decides nothing else


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


def read_id_map(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read an ID map.

    Args:
        path: A grey or palette PNG or TIFF file, or one with equal channels.
        size: (width, height) to resample to (:func:`resize_ids`), px; None keeps the file's size.

    Returns:
        [H, W] int32.

    Raises:
        InputError: If the file is missing, unreadable or lossy, or has colours or values that are
            no IDs.
    """
    with opened(path, "an ID map") as file:
        if is_lossy(file):
            raise InputError(
                f"{path} is a {file.format} file, which changes the IDs; save ID maps as png"
            )
        try:
            values = ids_of(file)
        except ValueError as error:
            raise InputError(f"{path} has {error}") from error
    return values if size is None else resize_ids(values, size)


def id_map_file(folder: Path, stem: str) -> Path | None:
    """Return the file of a view's ID map, `<stem>.png` or `.tif` in any case; None without one."""
    for ending in _ID_MAP_ENDINGS:
        path = folder / f"{stem}{ending}"
        if path.is_file():
            return path
    return None


def resize_ids(ids: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.int32]:
    """Resample an ID map: every target pixel gets the ID that covers most of it.

    The nearest source pixel alone would move outlines against the photograph, whose pixels are
    averages: at half size by half a source pixel, right and down. Where two IDs cover equally much,
    as along straight outlines at half size, source pixels on this and on that side of the middle
    decide in turn, like the fields of a chessboard, so that outlines stay where they are.

    Args:
        ids: [h, w] IDs.
        size: (width, height), px; enlarging repeats the nearest pixels.

    Returns:
        [H, W] int32.
    """
    values = ids.astype(np.int32)
    height, width = values.shape
    if (width, height) == size:
        return values
    rows, columns = _middle_pixels(height, size[1]), _middle_pixels(width, size[0])
    black = np.add.outer(np.arange(size[1]), np.arange(size[0])) % 2 == 0
    middle = np.where(
        black, values[np.ix_(rows[0], columns[0])], values[np.ix_(rows[1], columns[1])]
    )
    if size[0] > width or size[1] > height:
        return middle
    best, covered = middle, np.full(middle.shape, -1.0, np.float32)
    for label in np.unique(values):
        mask = Image.fromarray((values == label).astype(np.float32))
        share = np.asarray(mask.resize(size, Image.Resampling.BOX)) + _TIE * (middle == label)
        best = np.where(share > covered, label, best)
        covered = np.maximum(covered, share)
    return best


def _middle_pixels(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for every target pixel, the source pixels just before and just after its middle."""
    doubled = (2 * np.arange(target) + 1) * source  # the middle, times 2 * target
    before = -(-doubled // (2 * target)) - 1
    return before, np.minimum(doubled // (2 * target), source - 1)


def write_id_map(path: Path, ids: NDArray) -> None:
    """Write [H, W] integer IDs as a 16-bit grey PNG.

    Raises:
        ValueError: If an ID lies outside 0..65535 (it would wrap).
    """
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    if low < 0 or high > 65535:
        raise ValueError(f"IDs {low}..{high} do not fit 16 bits: {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint16)).save(path)


def read_mask(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Read a binary mask of any encoding (:mod:`gradiseg_core.files.mask_values`).

    Args:
        path: Any image file.
        size: (width, height) to resample to (nearest), px.

    Returns:
        [H, W] bool.

    Raises:
        InputError: If the file is missing, unreadable, or no binary mask; the message has its
            values.
    """
    with opened(path, "a mask") as file:
        try:
            mask = mask_of(file)
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
