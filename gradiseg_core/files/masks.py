"""Binary masks: read in any encoding, written as 0 and 255.

Masks come as 0 and 255, 0 and 1, one bit, two colours of a palette, 16 bits, floats, an alpha
channel, or with greys along the outlines (antialiased, or JPEG). A threshold alone reads several of
these as empty masks, and an empty annotation then agrees with an empty prediction. Anything
else is refused, and the message lists its values.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.files.images import (
    opened,
    refuse_changed_values,
    stored_bits,
    stored_values,
    write_image,
)

_THRESHOLD = 128  # a grey value above it is set: Gaussian Grouping's
_DARK, _BRIGHT = 16, 239  # greys up to and from which count as black and white (JPEG's ringing)
_MIDDLE = (64, 191)
_LARGEST_MIDDLE = 0.2  # share of the pixels that outlines may cover
_PLATEAU = 1e-3  # share of the pixels
_GREY_NOISE = 8  # channels that differ by no more are grey


def read_mask(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Read a binary mask of any encoding.

    Args:
        path: Any image file.
        size: (width, height) to resample to (nearest), px.

    Returns:
        [H, W] bool.

    Raises:
        InputError: If the file is missing, unreadable, carries an orientation, or is not a
            binary mask; the message lists its values.
    """
    with opened(path, "a mask") as file:
        refuse_changed_values(path, file, "a mask")
        try:
            mask = mask_of(file, stored_bits(path, file))
        except ValueError as error:
            raise InputError(
                f"{path} is not a binary mask: {error}; save it as 0 and 255, the object white"
            ) from error
    if size is not None and mask.shape != (size[1], size[0]):
        resized = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
        return np.asarray(resized)
    return mask


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write [H, W] bool as an 8-bit PNG of 0 and 255."""
    write_image(path, mask.astype(np.uint8) * 255)


def mask_of(image: Image.Image, bits: int = 8) -> NDArray[np.bool_]:
    """Return which pixels of a mask are set, [H, W] bool.

    Args:
        image: The mask.
        bits: Bits a channel of its file.

    Raises:
        ValueError: If the values do not tell; the message lists them.
    """
    if image.mode == "1":
        return np.asarray(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _with_alpha(np.asarray(_rgba(image)))
    if image.mode == "L" or image.mode.startswith("I") or image.mode == "F":
        stored = stored_values(image, bits)
        return _of_greys(stored if stored.max(initial=0) == 1 else np.asarray(image))
    return _of_colors(np.asarray(image.convert("RGB")))


def _rgba(image: Image.Image) -> Image.Image:
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def _with_alpha(rgba: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Read what is visible over black; where the colours say nothing, the alpha channel itself."""
    rgb, alpha = rgba[..., :3], rgba[..., 3]
    if np.ptp(alpha) == 0:
        return _of_colors(rgb)
    visible = np.unique(rgb[alpha > _THRESHOLD], axis=0)
    black_and_white = np.array_equal(visible, [[0, 0, 0], [255, 255, 255]])
    if not black_and_white:  # one colour, or a photograph of the object alone
        return _of_greys(alpha)
    return _of_greys(np.where(alpha > _THRESHOLD, rgb[..., 0], 0).astype(np.uint8))


def _of_colors(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    if int((rgb.max(axis=-1) - rgb.min(axis=-1)).max(initial=0)) <= _GREY_NOISE:
        return _of_greys(np.median(rgb, axis=-1).astype(np.uint8))
    packed = rgb.astype(np.int32) @ np.array([65536, 256, 1])
    colors = np.unique(packed)
    if len(colors) == 2 and colors[0] == 0:  # black and the object's colour
        return packed != 0
    shown = ", ".join(f"#{color:06x}" for color in colors[:6]) + (
        ", ..." if len(colors) > 6 else ""
    )
    raise ValueError(f"{len(colors)} colours ({shown}): no mask of black and one colour")


def _of_greys(values: NDArray) -> NDArray[np.bool_]:
    found = np.unique(values)
    if values.dtype.kind == "f" and (not np.isfinite(found).all() or found.min(initial=0) < 0):
        raise _unclear(found)
    low, high = (float(found[0]), float(found[-1])) if len(found) else (0.0, 0.0)
    if values.dtype.kind == "f" and high <= 1.0:  # floats from 0 to 1
        values, high = np.rint(values * 255.0), high * 255.0
    elif low < 0 or high > 65535:
        raise _unclear(found)
    elif high > 255:  # 16 bits
        values, high = values / 257.0, high / 257.0
    elif len(found) == 2 and (low, high) == (0, 1):
        return values == 1
    if high == 0:
        return np.zeros(values.shape, dtype=bool)
    if high > _THRESHOLD and (len(found) == 1 or (len(found) == 2 and low == 0)):
        return values > _THRESHOLD
    if not _antialiased(np.rint(values).astype(np.uint8)):
        raise _unclear(found)
    return values > _THRESHOLD


def _antialiased(values: NDArray[np.uint8]) -> bool:
    """Tell whether greys lie only along outlines, between black and white."""
    counts = np.bincount(values.ravel(), minlength=256)
    middle = counts[_MIDDLE[0] : _MIDDLE[1] + 1].sum()
    if counts[_BRIGHT:].sum() <= middle or middle > _LARGEST_MIDDLE * values.size:
        return False
    # Areas of one value that is neither: several IDs, "unknown", a mask of 0, 1 and 255.
    inner = values[1:-1, 1:-1]
    height, width = values.shape
    flat = np.ones(inner.shape, dtype=bool)
    for row in range(3):
        for column in range(3):
            flat &= values[row : height - 2 + row, column : width - 2 + column] == inner
    grey = (inner > _DARK) & (inner < _BRIGHT)
    if (flat & grey).sum() > _PLATEAU * values.size:
        return False
    dark = np.bincount(values[values <= _DARK], minlength=2)
    return not (dark[1] > _PLATEAU * values.size and dark[2:].sum() == 0 and counts[255] > 0)


def _unclear(found: NDArray) -> ValueError:
    some = ", ".join(f"{value:g}" for value in found[:8].tolist())
    shown = some if len(found) <= 8 else f"{len(found)} values from {found[0]:g} to {found[-1]:g}"
    return ValueError(f"its values are {shown}: neither 0 and 1 nor 0 and 255")
