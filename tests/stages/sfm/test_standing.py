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
from gradiseg_core.stages.sfm.pairs import keypoints
from gradiseg_core.stages.sfm.stage import reconstruct
from gradiseg_core.stages.sfm.standing import find_standing
from gradiseg_core.stages.sfm.standing_matches import (
    find_standing_matches,
    standing_cells,
    take_out,
)
from tests.stages.sfm.alignment_errors import errors_of
from tests.stages.sfm.scenes import (
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    lens,
    make_scene,
    poses,
    put_gripper,
    render,
)


@pytest.fixture
def photographs(tmp_path):
    make_scene(tmp_path / "scene", count=8)
    return tmp_path / "scene" / "images"


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


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


def put_shaking_gripper(folder) -> None:
    """A gripper that moves by up to three pixels, of which no edge stands still."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (30, 30, 3)).repeat(4, axis=0).repeat(4, axis=1)
    for name in names_in(folder):
        image = np.asarray(Image.open(folder / name)).astype(float)
        x, y = rng.integers(0, 3, 2)
        part = tiles[y : y + HEIGHT - TOP, x : x + RIGHT - LEFT]
        image[TOP:, LEFT:RIGHT] = (part * rng.uniform(0.9, 1.0)).clip(0, 255)
        Image.fromarray(image.astype(np.uint8)).save(folder / name)


def test_what_shakes_is_found_by_its_matches(tmp_path, caplog):
    """Its edges are at no fixed place, so that only its matches tell."""
    cameras, _ = make_scene(tmp_path / "scene", count=8)
    put_shaking_gripper(tmp_path / "scene" / "images")
    images = tmp_path / "scene" / "images"
    assert find_standing(images, names_in(images)) is None
    report = reconstruct(
        tmp_path / "scene", tmp_path / "out", ColmapConfig(max_features=600), seed=0, threads=2
    )
    assert report["registered"] == 8
    assert "hardly moves in nearly all pairs" in caplog.text
    found = errors_of(align_cameras(load_cameras(tmp_path / "out"), cameras))
    assert found["rotation_error_deg"]["max"] < 1.0


def test_features_that_stand_still_go_with_their_matches(photographs, tmp_path):
    put_shaking_gripper(photographs)
    names = names_in(photographs)
    database = build_database(
        tmp_path, photographs, names, ColmapConfig(max_features=600), cameras=[names], seed=0,
        threads=2,
    )  # fmt: skip
    before = keypoints(database)
    db = pycolmap.Database.open(database)
    ids, raw = db.read_all_matches()
    db.close()
    positions = {
        pycolmap.pair_id_to_image_pair(pair): np.hstack([before[a][m[:, 0]], before[b][m[:, 1]]])
        for pair, m in zip(ids, raw, strict=True)
        for a, b in [pycolmap.pair_id_to_image_pair(pair)]
    }
    masks = find_standing_matches(database)
    pairs = take_out(database, masks)
    after = keypoints(database)
    db = pycolmap.Database.open(database)
    for image_id, xy in after.items():
        assert db.read_descriptors(image_id).data.shape == (len(xy), 128)
        inside = (xy[:, 1] > TOP + 8) & (xy[:, 0] > LEFT + 8) & (xy[:, 0] < RIGHT - 8)
        assert not inside.any()
        assert 100 < len(xy) < len(before[image_id])
    for first, second in pairs:  # what is left are matches of before, of the same features
        m = db.read_matches(first, second)
        left = np.hstack([after[first][m[:, 0]], after[second][m[:, 1]]])
        known = {tuple(row) for row in positions[first, second]}
        assert all(tuple(row) in known for row in left)
    db.close()
    assert len(pairs) > 10


@pytest.mark.parametrize("still", ["orbit", "nothing", "thing", "shaking", "slow", "all"])
def test_cells_that_stand_still(still):
    """Of eight photographs; positions drawn, the thing in the lower left."""
    rng = np.random.default_rng(0)
    matched = []
    for first in range(8):
        for second in range(first + 1, 8):
            at = rng.uniform([0, 0], [640, 480], (300, 2))
            to = at + rng.normal(0, 60, at.shape)
            if still == "all":
                to = at + rng.normal(0, 0.5, at.shape)
            inside = (at[:, 0] < 160) & (at[:, 1] > 320)
            if still == "thing":
                to[inside] = at[inside] + rng.normal(0, 1.0, (inside.sum(), 2))
            if still == "shaking":
                to[inside] = at[inside] + rng.normal(0, 4.0, (inside.sum(), 2))
            if still == "slow":  # the camera hardly moved: little moves far, anywhere
                to = at + rng.normal(0, 12.0, at.shape)
                to[inside] = at[inside] + rng.normal(0, 4.0, (inside.sum(), 2))
            if still == "orbit" and second == first + 1:  # the point that all cameras look at
                middle = np.linalg.norm(at - [320, 240], axis=1) < 80
                to[middle] = at[middle] + rng.normal(0, 1.0, (middle.sum(), 2))
            matched.append((at, to))
    mask = standing_cells(matched, (640, 480))
    if still not in ("thing", "shaking"):
        assert mask is None
        return
    truth = np.zeros((24, 32), bool)
    truth[16:, :8] = True
    assert mask[truth].mean() > 0.95
    assert mask[~truth].mean() < 0.05


def turntable(folder, *, room: bool) -> None:
    """A ball that turns before a room or a white wall, seen by a camera that stands."""
    texture, _ = render(lens(), poses(3)[0], seed=3)
    wall, _ = render(lens(), poses(3)[1], seed=7)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    radius = 65.0
    dx, dy = (x - WIDTH / 2) / radius, (y - HEIGHT / 2) / radius
    inside = dx**2 + dy**2 < 1
    side = np.sqrt(np.maximum(1 - dx**2 - dy**2, 0))
    latitude = ((np.arcsin(dy.clip(-1, 1)) / np.pi + 0.5) * (HEIGHT - 1)).astype(int)
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        longitude = np.arctan2(dx, side) / (2 * np.pi) + index / 24
        image = np.where(room, wall, 245).astype(float)
        ball = texture[latitude, (longitude * WIDTH).astype(int) % WIDTH]
        image[inside] = ball[inside]
        noisy = image + rng.normal(0, 2, image.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")


def on_the_ball(mask):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return mask[(x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 < 50**2].mean()


def test_a_ball_on_a_turntable_is_left(tmp_path):
    """Its outline stands still as the room does; what turns inside is the scene."""
    turntable(tmp_path / "white", room=False)
    white = find_standing(tmp_path / "white", names_in(tmp_path / "white"))
    assert white is None or on_the_ball(white) < 0.02
    turntable(tmp_path / "room", room=True)
    room = find_standing(tmp_path / "room", names_in(tmp_path / "room"))
    assert room is not None
    assert room.mean() > 0.35
    assert on_the_ball(room) < 0.02


def test_what_moves_inside_of_what_stands_is_left():
    """By matches: a frame that stands around things that move, as a room around a turntable."""
    rng = np.random.default_rng(0)
    matched = []
    for _ in range(28):
        first = rng.uniform([40, 20], [280, 220], (500, 2))
        middle = (np.abs(first - [160, 120]) < [70, 60]).all(axis=1)
        moved = np.where(middle[:, None], rng.uniform(15, 40, (500, 2)), 0)
        matched.append((first, first + moved))
    mask = standing_cells(matched, (320, 240))
    assert mask is not None
    assert not mask[8:16, 11:21].any()
    assert mask[3:5, 6:26].all()
