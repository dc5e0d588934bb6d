"""Pictures whose segments are known."""

from __future__ import annotations

import numpy as np


def drawing(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture of a disk and a two-coloured box on a shaded ground, with true IDs."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] * (120 / height)
    shade = 0.8 + 0.2 * x / x.max()
    image = np.array([150, 140, 125.0]) * shade[..., None]
    ids = np.zeros((height, width), int)
    disk = (x - 45) ** 2 + (y - 60) ** 2 < 25**2
    box = (abs(x - 115) < 22) & (abs(y - 60) < 30)
    image[disk], ids[disk] = [190, 40, 40], 1
    image[box], ids[box] = [40, 90, 170], 2
    image[box & (y < 60)] = [220, 200, 60]
    image += rng.normal(0, 4, image.shape)
    return image.clip(0, 255).astype(np.uint8), ids
