"""The transfer function of sRGB (IEC 61966-2-1), of arrays from 0 to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def linear_light(signal: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return linear light of a signal, elementwise."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def encoded(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the signal of linear light, elementwise."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
