"""Photographs of several sizes and lenses, and ignored pixels, in structure from motion."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image

from gradiseg_core.alignment import align_cameras
from gradiseg_core.cameras import Camera
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import ReconstructionError
from gradiseg_core.files.colmap import load_cameras, load_observations
from gradiseg_core.files.ignore import read_ignored, write_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.stages.sfm.lenses import (
    Lens,
    camera_groups,
    check_pixels,
    lens_of,
    model_of,
)
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import (
    HEIGHT,
    WIDTH,
    lens,
    make_scene,
    poses,
    render,
    write_manifest,
    write_sparse,
)


def photograph(path: Path, size: tuple[int, int], **tags: object) -> None:
    """Write a plain picture with EXIF data: `model`, `focal` and `film` (as of 35 mm film)."""
    image = Image.new("RGB", size, "grey")
    exif = image.getexif()
    if "model" in tags:
        exif[0x0110] = tags["model"]
    inner = exif.get_ifd(0x8769)
    for key, tag in (("focal", 0x920A), ("film", 0xA405)):
        if key in tags:
            inner[tag] = tags[key]
    image.save(path, exif=exif.tobytes())


def test_cameras_by_size_and_lens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    phone = {"model": "Phone", "focal": 6.8, "film": 24}
    photograph(tmp_path / "a.jpg", (40, 30), **phone)
    photograph(tmp_path / "b.jpg", (30, 40), **phone)  # upright
    photograph(tmp_path / "c.jpg", (40, 30), **phone)
    photograph(tmp_path / "d.jpg", (40, 30), model="Phone", focal=2.2, film=13)  # its wide lens
    photograph(tmp_path / "e.jpg", (30, 40))  # without EXIF data, as large as b
    photograph(tmp_path / "f.jpg", (40, 30))  # likewise, but of which lens?
    names = [f"{letter}.jpg" for letter in "abcdef"]
    sizes = {name: Image.open(tmp_path / name).size for name in names}
    assert lens_of(tmp_path / "a.jpg") == Lens("Phone", 24.0)
    assert lens_of(tmp_path / "e.jpg") is None
    with caplog.at_level(logging.INFO):
        found = camera_groups(tmp_path, sizes, None)
    assert found == [["a.jpg", "c.jpg"], ["b.jpg", "e.jpg"], ["d.jpg"], ["f.jpg"]]
    assert "4 cameras" in caplog.text
    assert "2 of 40 x 30 px, Phone 24 mm" in caplog.text
    assert camera_groups(tmp_path, sizes, True) == [names]
    assert camera_groups(tmp_path, sizes, False) == [[name] for name in names]


def test_focal_lengths_that_hardly_differ_are_one_lens(tmp_path: Path) -> None:
    for name, focal in (("a.jpg", 35.0), ("b.jpg", 35.7), ("c.jpg", 50.0)):
        photograph(tmp_path / name, (40, 30), model="Zoom", focal=focal)
    sizes = dict.fromkeys(("a.jpg", "b.jpg", "c.jpg"), (40, 30))
    assert camera_groups(tmp_path, sizes, None) == [["a.jpg", "b.jpg"], ["c.jpg"]]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Camera]]:
    """A scene of ten views: four upright ones through a distorting lens; a hand is ignored."""
    folder = tmp_path_factory.mktemp("mixed")
    scene = folder / "scene"
    (scene / "images").mkdir(parents=True)
    upright = pycolmap.Camera(
        model="SIMPLE_RADIAL", width=150, height=220, params=[210.0, 75.0, 110.0, -0.1], camera_id=2
    )
    cameras = {}
    for index, pose in enumerate(poses(10)):
        name = f"view_{index}.png"
        camera = upright if index % 3 == 1 else lens()
        picture, _ = render(camera, pose)
        if index in (2, 4):
            rng = np.random.default_rng(index)
            picture[60:120, 90:150] = rng.integers(0, 255, (60, 60, 3))
            ignored = np.zeros(picture.shape[:2], bool)
            ignored[60:120, 90:150] = True
            write_ignored(scene, f"view_{index}", ignored)
        if index == 1:
            ignored = np.zeros(picture.shape[:2], bool)
            ignored[:50, :30] = True
            write_ignored(scene, "view_1", ignored)
        Image.fromarray(picture).save(scene / "images" / name)
        K = camera.calibration_matrix()
        cameras[name] = Camera(name, camera.width, camera.height, K, pose)
    write_manifest(scene, list(cameras))
    config = ColmapConfig(max_features=500)
    reconstruct(scene, folder / "colmap", config, seed=3, threads=1, work_dir=folder / "work")
    return folder / "colmap", folder / "work", cameras


def test_cameras_of_two_sizes_are_right(mixed: tuple[Path, Path, dict[str, Camera]]) -> None:
    colmap, work, cameras = mixed
    found = load_cameras(colmap)
    assert list(found) == sorted(cameras)
    alignment = align_cameras(found, cameras)
    assert max(alignment.position_error.values()) < 0.03  # the cameras' arc is 2.5 long
    assert max(alignment.rotation_error_deg.values()) < 0.7
    for name, camera in found.items():
        shape = read_image(colmap / "images" / name).shape
        assert shape == (camera.height, camera.width, 3)
        assert (camera.width > camera.height) == (cameras[name].width > cameras[name].height)
        assert camera.K[0, 0] == pytest.approx(cameras[name].K[0, 0], rel=0.03)
    database = pycolmap.Database.open(work / "database.db")
    assert database.num_cameras() == 2
    database.close()


def test_ignored_pixels_give_no_features_and_follow_the_lens(
    mixed: tuple[Path, Path, dict[str, Camera]],
) -> None:
    colmap, work, _ = mixed
    database = pycolmap.Database.open(work / "database.db")
    for image in database.read_all_images():
        x, y = database.read_keypoints(image.image_id)[:, :2].T
        inside = (y > 60) & (y < 120) & (x > 90) & (x < 150)
        assert (not inside.any()) == (image.name in ("view_2.png", "view_4.png"))
    database.close()
    for view in ("view_1", "view_2"):
        camera = load_cameras(colmap)[f"{view}.png"]
        ignored = read_ignored(colmap, view)
        assert ignored is not None
        assert ignored.shape == (camera.height, camera.width)
        assert ignored[10, 10] == (view == "view_1")
        assert ignored.mean() == pytest.approx(
            1500 / 33000 if view == "view_1" else 3600 / 43200, rel=0.25
        )
    assert read_ignored(colmap, "view_0") is None
    assert json.loads((colmap / "sfm.json").read_text())["ignored"] == 3


def test_a_given_model_loses_what_it_saw_in_ignored_pixels(tmp_path: Path) -> None:
    cameras, _ = make_scene(tmp_path / "scene", count=4)
    write_sparse(
        tmp_path / "scene" / "sparse" / "0",
        lens(),
        {name: camera.cam_from_world for name, camera in cameras.items()},
    )
    for view in range(3):  # three of four views: points seen there have one observation left
        ignored = np.zeros((HEIGHT, WIDTH), bool)
        ignored[:, : WIDTH // 2] = True
        write_ignored(tmp_path / "scene", f"view_{view}", ignored)
    reconstruct(tmp_path / "scene", tmp_path / "out", ColmapConfig(), seed=0, threads=1)
    views = load_observations(tmp_path / "out").views
    for view in range(3):
        xy, _ = views[f"view_{view}.png"]
        assert len(xy) > 5
        assert (xy[:, 0] >= WIDTH // 2).all()
    assert (views["view_3.png"][0][:, 0] < WIDTH // 2).any()


def test_several_cameras_have_square_pixels() -> None:
    assert model_of("PINHOLE", [["a", "b"]]) == "PINHOLE"
    assert model_of("PINHOLE", [["a"], ["b"]]) == "SIMPLE_PINHOLE"
    assert model_of("OPENCV", [["a"], ["b"]]) == "OPENCV"


def test_cameras_that_do_not_exist_are_refused() -> None:
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(lens())
    check_pixels(model)
    wrong = pycolmap.Camera(
        model="PINHOLE", width=400, height=300, params=[150.2, 81.6, 200, 150], camera_id=2
    )
    model.add_camera_with_trivial_rig(wrong)
    with pytest.raises(ReconstructionError, match=r"400 x 300 px.*1\.8 times.*SIMPLE_RADIAL"):
        check_pixels(model)
