"""Builders of photographs and a tiny rendered demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.scene import DemoConfig, SceneConfig
from gradiseg_core.scene import SceneManifest, prepare


def save_photo(path: Path, size: tuple[int, int] = (24, 16), *, orientation: int = 1) -> None:
    """Write a photograph of stored ``size`` whose top left quarter is red, with EXIF data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), 40, dtype=np.uint8)
    pixels[: size[1] // 2, : size[0] // 2] = (220, 20, 20)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    image.save(path, exif=exif.tobytes(), **({"quality": 95} if path.suffix != ".png" else {}))


@pytest.fixture(scope="session")
def tiny_config() -> DemoConfig:
    return DemoConfig(
        width=64, height=48, views=3, test_views=2, samples_per_pixel=2, write_sparse=True,
        sparse_points=600,
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_demo(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: DemoConfig
) -> tuple[Path, SceneManifest]:
    pytest.importorskip("mitsuba", reason="renders the demo: pip install mitsuba")
    folder = tmp_path_factory.mktemp("demo") / "scene"
    manifest = prepare(SceneConfig(demo=tiny_config), folder, name="tiny", seed=0, threads=1)
    return folder, manifest
