"""Colours as they are compared here: CIELAB with half the lightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Differences of lightness count this much: shading changes it.
LIGHTNESS = 0.5
#: Weights of L, a and b.
WEIGHTS = np.array([LIGHTNESS, 1.0, 1.0], np.float32)


def halved_lab(photograph: NDArray) -> NDArray[np.float32]:
    """Return the colours of an RGB image [..., 3], lightness halved."""
    from skimage.color import rgb2lab

    return (rgb2lab(photograph) * WEIGHTS).astype(np.float32)
