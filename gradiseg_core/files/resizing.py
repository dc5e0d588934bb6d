"""The size at which an image is segmented."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REFERENCE_SIDE = 640.0  # the areas of the configuration are meant for this longest side, px


def reduced(image: NDArray[np.uint8], longest_side: int) -> NDArray[np.uint8]:
    """Return [H, W, 3] reduced (antialiased) to a longest side in px; smaller ones stay."""
    from PIL import Image

    height, width = image.shape[:2]
    factor = longest_side / max(height, width)
    if factor >= 1.0:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def area_scale(shape: tuple[int, ...]) -> float:
    """Return what an area in "px at 640 px" is multiplied by for an image of (H, W) px."""
    return (max(shape) / _REFERENCE_SIDE) ** 2
