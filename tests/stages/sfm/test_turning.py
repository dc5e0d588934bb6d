"""Photographs from one place are refused: a camera that only turned shows no distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import ReconstructionError
from gradiseg_core.stages.sfm.features import build_database
from gradiseg_core.stages.sfm.stage import reconstruct
from gradiseg_core.stages.sfm.turning import NEARLY, ONE_PLACE, turning_only
from tests.stages.sfm.scenes import HEIGHT, WIDTH, lens, look_at, poses, render, write_manifest

CONFIG = ColmapConfig(max_features=600, retry_minutes=0.0, min_registered_share=0.3)


def turned(count: int, radius: float) -> list[np.ndarray]:
    """Poses in the middle of the room that look around, on a circle of a radius."""
    middle = np.array([1.8, 1.8, 1.2])
    found = []
    for angle in np.linspace(-0.35, 0.35, count) + 1.25 * np.pi:
        ahead = np.array([np.cos(angle), np.sin(angle), -0.2 + 0.1 * np.sin(9 * angle)])
        at = middle + radius * ahead
        found.append(look_at(at, at + ahead))
    return found


def take(folder: Path, views: list[np.ndarray], camera: pycolmap.Camera) -> list[str]:
    (folder / "images").mkdir(parents=True)
    names = [f"view_{index}.png" for index in range(len(views))]
    for name, pose in zip(names, views, strict=True):
        Image.fromarray(render(camera, pose)[0]).save(folder / "images" / name)
    write_manifest(folder, names)
    return names


def matched(folder: Path, views: list[np.ndarray], camera: pycolmap.Camera | None = None) -> Path:
    names = take(folder, views, camera or lens())
    return build_database(
        folder, folder / "images", names, CONFIG, cameras=[names], seed=0, threads=2
    )


def flat(count: int, focal: float, height: float) -> tuple[list[np.ndarray], pycolmap.Camera]:
    """Poses that look straight down on the floor, side by side, as a drone's."""
    views = []
    for x in np.linspace(1.8, 3.2, count):
        at = np.array([x, 2.5 + 0.1 * (x % 0.3), height])
        views.append(look_at(at, at + np.array([0.001, 0.0, -1.0])))
    params = [focal * WIDTH, focal * WIDTH, WIDTH / 2, HEIGHT / 2]
    camera = pycolmap.Camera(
        model="PINHOLE", width=WIDTH, height=HEIGHT, params=params, camera_id=1
    )
    return views, camera


@pytest.mark.parametrize(("model", "radius"), [("PINHOLE", 0.08), ("SIMPLE_RADIAL", 0.0)])
def test_a_turning_camera_is_found(tmp_path: Path, model: str, radius: float) -> None:
    found = turning_only(matched(tmp_path, turned(6, radius), lens(model)))
    assert found is not None
    assert found.left < ONE_PLACE
    assert found.pairs >= 5


def test_a_camera_that_hardly_moved_is_found(tmp_path: Path) -> None:
    found = turning_only(matched(tmp_path, turned(7, 0.4)))
    assert found is not None
    assert ONE_PLACE < found.left < NEARLY


def test_moving_cameras_are_none(tmp_path: Path) -> None:
    assert turning_only(matched(tmp_path / "around", poses(4))) is None
    views, camera = flat(5, 2.2, 3.6)  # the hardest: a long lens over a flat floor
    assert turning_only(matched(tmp_path / "flat", views, camera)) is None


def test_the_stage_ends_with_a_page(tmp_path: Path) -> None:
    take(tmp_path / "scene", turned(6, 0.0), lens())
    page = tmp_path / "photographs.html"
    with pytest.raises(ReconstructionError, match=r"taken from one place.*Walk around.*\.html"):
        reconstruct(tmp_path / "scene", tmp_path / "out", CONFIG, seed=0, threads=2, page=page)
    text = page.read_text()
    assert "no scene can be made of these photographs" in text
    assert "Walk around the objects" in text
    assert not (tmp_path / "out" / "sfm.json").exists()
