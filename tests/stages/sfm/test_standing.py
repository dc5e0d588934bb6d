"""What stands at the same place in every photograph is found and left out; else nothing is."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.alignment import align_cameras
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.files._pycolmap import pycolmap
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.ignore import write_ignored
from gradiseg_core.stages.sfm.features import build_database
from gradiseg_core.stages.sfm.stage import reconstruct
from gradiseg_core.stages.sfm.standing import find_standing
from tests.stages.sfm.alignment_errors import errors_of
from tests.stages.sfm.scenes import HEIGHT, WIDTH, lens, make_scene, poses, render

TOP, LEFT, RIGHT = 120, 20, 100  # of the gripper, which reaches to the lower edge


@pytest.fixture
def photographs(tmp_path):
    make_scene(tmp_path / "scene", count=8)
    return tmp_path / "scene" / "images"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def put_gripper(folder, *, textured: bool = True) -> None:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (20, 20, 3)).repeat(5, axis=0).repeat(5, axis=1)
    gripper = tiles[: HEIGHT - TOP, : RIGHT - LEFT] if textured else np.full((60, 80, 3), 240)
    for index, name in enumerate(names_in(folder)):
        image = np.asarray(Image.open(folder / name)).astype(float)
        exposure = 1.0 - 0.01 * index
        noise = rng.normal(0, 3, gripper.shape)
        image[TOP:, LEFT:RIGHT] = (gripper * exposure + noise).clip(0, 255)
        Image.fromarray(image.astype(np.uint8)).save(folder / name)


def test_nothing_stands_in_a_normal_scene(photographs):
    assert find_standing(photographs, names_in(photographs)) is None


def test_nothing_stands_where_the_camera_did_not_move(tmp_path):
    rng = np.random.default_rng(0)
    photograph, _ = render(lens(), poses(3)[1])
    for index in range(8):
        noisy = (photograph + rng.normal(0, 3, photograph.shape)).clip(0, 255)
        Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / f"{index}.png")
    assert find_standing(tmp_path, names_in(tmp_path)) is None


def test_too_few_photographs_say_nothing(photographs):
    put_gripper(photographs)
    assert find_standing(photographs, names_in(photographs)[:5]) is None


def test_a_gripper_is_found_and_only_it(photographs):
    put_gripper(photographs)
    standing = find_standing(photographs, names_in(photographs))
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[TOP:, LEFT:RIGHT] = True
    assert standing.shape == truth.shape
    assert standing[truth].mean() > 0.97
    assert standing[~truth].mean() < 0.02


@pytest.mark.parametrize("left_out", [True, False])
def test_its_features_are_left_out(photographs, tmp_path, caplog, left_out):
    put_gripper(photographs)
    caplog.set_level(logging.INFO)
    config = ColmapConfig(max_features=600, leave_out_standing=left_out)
    database = build_database(
        tmp_path, photographs, names_in(photographs), config,
        cameras=[names_in(photographs)], seed=0, threads=1,
    )  # fmt: skip
    db = pycolmap.Database.open(database)
    points = np.concatenate(
        [db.read_keypoints(image.image_id)[:, :2] for image in db.read_all_images()]
    )
    db.close()
    inside = (points[:, 1] > TOP) & (points[:, 0] > LEFT) & (points[:, 0] < RIGHT)
    assert len(points) > 500
    assert (inside.mean() < 0.005) == left_out
    assert ("of the picture stands at the same place" in caplog.text) == left_out


def test_cameras_are_right_in_spite_of_it(tmp_path):
    """With its features, all 8 photographs register, at poses that are 156 degrees off."""
    cameras, _ = make_scene(tmp_path / "scene", count=8)
    put_gripper(tmp_path / "scene" / "images")
    config = ColmapConfig(max_features=600)
    report = reconstruct(tmp_path / "scene", tmp_path / "out", config, seed=0, threads=1)
    assert report["registered"] == 8
    found = errors_of(align_cameras(load_cameras(tmp_path / "out"), cameras))
    assert found["rotation_error_deg"]["max"] < 1.0


def test_what_is_ignored_does_not_count(photographs):
    """A gripper that the masks cover stands nowhere; beside one that is ignored, another does."""
    put_gripper(photographs)
    for name in names_in(photographs):
        ignored = np.zeros((HEIGHT, WIDTH), bool)
        ignored[TOP - 6 :, LEFT - 6 : RIGHT + 6] = True
        write_ignored(photographs.parent, name[:-4], ignored)
    names = names_in(photographs)
    assert find_standing(photographs, names) is not None
    assert find_standing(photographs, names, photographs.parent) is None
    for name in names:  # a hand in two photographs hides no gripper
        (photographs.parent / "ignore" / f"{name[:-4]}.png").unlink()
    hand = np.zeros((HEIGHT, WIDTH), bool)
    hand[TOP + 10 : TOP + 40, LEFT + 10 : LEFT + 50] = True
    for name in names[:2]:
        write_ignored(photographs.parent, name[:-4], hand)
    standing = find_standing(photographs, names, photographs.parent)
    assert standing is not None
    assert standing[TOP:, LEFT:RIGHT].mean() > 0.9
