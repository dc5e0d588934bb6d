"""The colours in which IDs are shown."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray


def id_colors(num_ids: int) -> NDArray[np.uint8]:
    """Return a fixed palette, [num_ids, 3] uint8; entry 0 (background) is black.

    Hues step by the golden ratio, so that neighbouring IDs look different, and an ID keeps its
    colour whatever the number of IDs.
    """
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
