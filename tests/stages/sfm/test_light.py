"""Changes of exposure and white balance are measured by the colours of points, and said."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.files._pycolmap import pycolmap
from gradiseg_core.stages.sfm.light import measure_light
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import lens, make_scene, poses, write_sparse

CONFIG = ColmapConfig(max_features=500, retry_minutes=0.0)


def brighten(path, factors) -> None:
    """Multiply linear light by a factor for each channel, as a camera does."""
    signal = np.asarray(Image.open(path)) / 255.0
    light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    light = np.clip(light * factors, 0, 1)
    signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    Image.fromarray((255 * signal + 0.5).astype(np.uint8)).save(path)


@pytest.fixture
def scene(tmp_path):
    make_scene(tmp_path / "scene", count=8)
    return tmp_path / "scene"


def test_nothing_is_said_of_photographs_of_one_light(scene, tmp_path, caplog):
    report = reconstruct(scene, tmp_path / "out", CONFIG, seed=0, threads=2)
    assert report["light"]["differ"] == []
    assert report["light"]["exposure_stops"] < 0.1
    assert report["light"]["white_balance_stops"] < 0.1
    assert "different colours" not in caplog.text


def test_gains_are_found_and_named(scene, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    brighten(scene / "images" / "view_2.png", (0.5, 0.5, 0.5))
    brighten(scene / "images" / "view_5.png", (1.3, 1.0, 0.8))
    report = reconstruct(scene, tmp_path / "out", CONFIG, seed=0, threads=2)
    light = measure_light(
        pycolmap.Reconstruction(tmp_path / "out" / "sparse" / "0"), scene / "images"
    )
    assert light is not None
    found = dict(zip(light.names, light.gains, strict=True))
    np.testing.assert_allclose(found["view_2.png"], -1.0, atol=0.08)
    np.testing.assert_allclose(found["view_5.png"], np.log2([1.3, 1.0, 0.8]), atol=0.08)
    for name in set(found) - {"view_2.png", "view_5.png"}:
        np.testing.assert_allclose(found[name], 0.0, atol=0.08)
    assert report["light"]["exposure_stops"] == pytest.approx(1.0, abs=0.1)
    assert report["light"]["white_balance_stops"] == pytest.approx(np.log2(1.3), abs=0.1)
    assert report["light"]["differ"] == ["view_2.png", "view_5.png"]
    assert (
        "some are up to 2.0 times as bright as others (farthest from most: view_2.png)"
        in caplog.text
    )
    assert "their white balance differs" in caplog.text


def test_points_that_lie_nowhere_say_nothing(scene, tmp_path, caplog):
    """Of a given model: what their colours are is chance."""
    write_sparse(
        scene / "sparse", lens(), {f"view_{k}.png": pose for k, pose in enumerate(poses(8))}
    )
    report = reconstruct(scene, tmp_path / "out", CONFIG, seed=0, threads=2)
    assert report["source"] == "existing"
    assert "different colours" not in caplog.text
