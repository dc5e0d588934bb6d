"""By how much a video's exposure changed, measured on a scene with parallax."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.scene import DEMO_FOLDER
from gradiseg_core.stages.scene.exposures import EXPOSURE_STOPS
from gradiseg_core.stages.scene.video import _reduced
from gradiseg_core.stages.scene.video_motion import Travel


@pytest.fixture(scope="module")
def walk() -> list[np.ndarray]:
    """The photographs of the embedded scene, a walk in steps of ten degrees: [h, w], 0..1."""
    files = sorted((DEMO_FOLDER / "images").iterdir())
    return [
        np.asarray(Image.open(file).convert("L").resize((640, 480)), np.float32) / 255
        for file in files
    ]


@pytest.mark.parametrize("stops", [0.0, 1.5, -1.5])
def test_brightness_along_a_walk(walk: list[np.ndarray], stops: float) -> None:
    """The camera's exposure changes steadily; what it sees changes all the while."""
    changed = np.linspace(0, stops, len(walk))
    travel = Travel()
    for frame, change in zip(walk, changed, strict=True):
        seen = (frame**2.2 * 2.0**change) ** (1 / 2.2)
        travel.add(_reduced((255 * np.clip(seen, 0, 1)).round()))
    found = np.asarray(travel.brightness)
    assert np.abs(found - changed).max() < 0.5
    assert (np.ptp(found) > EXPOSURE_STOPS) == (stops != 0)
