"""Clicks on what the core renders."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion

from tests.stages.view.browser import Viewer
from tests.stages.view.conftest import Made


def inside(made: Made, camera: int, index: int) -> np.ndarray:
    """Pixels [n, 2] (x, y) at which the core's rendering shows an ID, its outline left out."""
    core = made.scene.render(made.cameras[camera])
    mask = binary_erosion((core.ids == index) & (core.alpha > 0.9))
    return np.argwhere(mask)[:, ::-1]


def click_on(view: Viewer, made: Made, index: int, *modifiers: str, camera: int = 2) -> None:
    """Stand at a camera and click on an object."""
    view.stand(camera)
    pixels = inside(made, camera, index)
    x, y = pixels[len(pixels) // 2] + 0.5
    view.click(*view.place_of(made.cameras[camera], x, y), *modifiers)
