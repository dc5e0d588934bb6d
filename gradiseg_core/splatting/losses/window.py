"""Constants of SSIM, and its Gaussian window: of all versions of the loss and of the metric."""

from __future__ import annotations

import math

WINDOW_RADIUS = 5  # px
WINDOW_SIGMA = 1.5  # px
C1 = 0.01**2
C2 = 0.03**2


def window() -> list[float]:
    """Return the 11 weights of the one-dimensional window, summing to 1 (float64)."""
    offsets = range(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    weights = [math.exp(-0.5 * (offset / WINDOW_SIGMA) ** 2) for offset in offsets]
    return [weight / math.fsum(weights) for weight in weights]
