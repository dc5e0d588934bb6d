"""Converts pixels of any depth and colour space to 8-bit RGB."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

#: Brightest values of integer photographs: 8, 10, 12, 14 and 16 bits.
_LEVELS = (255, 1023, 4095, 16383, 65535)
_ROUNDING = 0.05  # of white: resampling in floats overshoots by some percent
_LEAST_OF_255 = 64.0  # floats of up to this are taken for neither 0..1 nor 0..255


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
        white: Brightest value of a deep image; None goes by its own values.

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
