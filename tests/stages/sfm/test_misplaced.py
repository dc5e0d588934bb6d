"""Cameras at wrong places are found by the matches of their photographs, taken out and named."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.alignment import align_cameras
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.files._pycolmap import pycolmap
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.stages.sfm import attempts, misplaced
from gradiseg_core.stages.sfm.mapping import Mapping, map_images
from gradiseg_core.stages.sfm.misplaced import epipolar_errors, take_out_misplaced
from gradiseg_core.stages.sfm.pairs import copy_of, image_ids
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.alignment_errors import errors_of
from tests.stages.sfm.scenes import make_scene, matched_scene, noisy_scene

CONFIG = ColmapConfig(max_features=500)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """Database and folder of eight photographs, and their model on disk."""
    folder = tmp_path_factory.mktemp("mapped")
    database, _ = matched_scene(folder, CONFIG)
    (model,) = map_images(
        database, folder / "scene" / "images", folder / "models", Mapping(),
        num_images=8, seed=0, threads=1,
    )  # fmt: skip
    (folder / "model").mkdir()
    model.write_binary(folder / "model")
    return folder, database


def turn(model, name: str, degrees: float) -> None:
    """Turn a camera about the scene's middle, as a wrong match of a symmetric thing does."""
    (image,) = [i for i in model.images.values() if i.name == name]
    center = np.median([p.xyz for p in model.points3D.values()], axis=0)
    pose, angle = image.cam_from_world().matrix(), np.radians(degrees)
    about = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    about = np.vstack([about, [0, 0, 1]])
    turned = np.c_[pose[:, :3] @ about, pose[:, 3] + pose[:, :3] @ (center - about @ center)]
    image.frame.set_cam_from_world(image.camera_id, pycolmap.Rigid3d(turned))


def registered(model) -> set[str]:
    return {model.image(i).name for i in model.reg_image_ids()}


def test_no_camera_of_a_right_model_is_taken_out(mapped):
    folder, database = mapped
    model = pycolmap.Reconstruction(folder / "model")
    assert take_out_misplaced(model, database) == []
    assert model.num_reg_images() == 8


@pytest.mark.parametrize("wrong", [["view_3.png"], ["view_0.png", "view_6.png"]])
def test_cameras_that_contradict_their_matches_are_taken_out(mapped, wrong):
    folder, database = mapped
    model = pycolmap.Reconstruction(folder / "model")
    for name, degrees in zip(wrong, (15.0, 40.0), strict=False):
        turn(model, name, degrees)
    found = take_out_misplaced(model, database)
    assert {one.name for one in found} == set(wrong)
    assert all(one.share < 0.5 and one.matches > 50 for one in found)
    assert registered(model) == {f"view_{k}.png" for k in range(8)} - set(wrong)


def test_what_holds_to_a_wrong_camera_alone_goes_with_it(mapped, tmp_path):
    folder, database = mapped
    database = copy_of(database, tmp_path)
    ids = image_ids(database)
    db = pycolmap.Database.open(database)
    for name in ids:
        if name not in ("view_6.png", "view_7.png"):
            pair = sorted((ids[name], ids["view_7.png"]))
            if db.exists_two_view_geometry(*pair):
                db.delete_two_view_geometry(*pair)
    db.close()
    model = pycolmap.Reconstruction(folder / "model")
    assert take_out_misplaced(model, database) == []  # a chain is no fault
    turn(model, "view_6.png", 30.0)
    found = {one.name: one.share for one in take_out_misplaced(model, database)}
    assert set(found) == {"view_6.png", "view_7.png"}
    assert found["view_7.png"] is None or found["view_7.png"] < 0.7


def test_weak_false_pairs_are_no_fault():
    """Things that look alike: most matches of photograph 1 are false, its strongest pair is not."""
    names = {k: str(k) for k in range(1, 9)}
    strong = {(k, k + 1): misplaced._Pair(97, 100) for k in range(1, 8)}
    false = {(1, k): misplaced._Pair(0, 40) for k in range(3, 9)}
    assert misplaced._misplaced(names, strong | false) == []
    strong[1, 2] = misplaced._Pair(50, 100)
    (found,) = misplaced._misplaced(names, strong | false)
    assert (found.name, found.share, found.matches) == ("1", 0.5, 100)


def test_grain_is_no_wrong_place(tmp_path, caplog):
    cameras = noisy_scene(tmp_path / "scene")
    report = reconstruct(tmp_path / "scene", tmp_path / "out", CONFIG, seed=0, threads=2)
    assert report["registered"] == len(cameras)
    assert report["misplaced"] == {}


def test_errors_are_distances_from_epipolar_lines():
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, -1, 3], [1, 1, 6], (50, 3))
    first, second = np.eye(4)[:3], np.eye(4)[:3].copy()
    second[0, 3] = -0.5  # to the right: lines are rows
    x, y = (points @ p[:, :3].T + p[:, 3] for p in (first, second))
    x, y = x / x[:, 2:], y / y[:, 2:]
    np.testing.assert_allclose(epipolar_errors(first, second, x, y), 0.0, atol=1e-12)
    y[:, 1] += 0.01
    # Half of the way is in either image: d / sqrt(2).
    np.testing.assert_allclose(epipolar_errors(first, second, x, y), 0.01 / np.sqrt(2))


def test_the_stage_leaves_them_out_tries_again_and_says_so(tmp_path, monkeypatch, caplog, capfd):
    """The mapper places one photograph wrongly, and rightly only without its own points."""
    cameras, _ = make_scene(tmp_path / "scene", count=8)
    page = tmp_path / "photographs.html"

    def wrongly(database, image_dir, output, how, **others):
        models = map_images(database, image_dir, output, how, **others)
        if how.continued is None or not repairs:
            turn(models[0], "view_3.png", 20.0)
        return models

    monkeypatch.setattr(attempts, "map_images", wrongly)
    repairs = False
    config = CONFIG.model_copy(update={"retry_minutes": 0.0})
    report = reconstruct(tmp_path / "scene", tmp_path / "one", config, seed=0, threads=2, page=page)
    assert capfd.readouterr() == ("", "")  # COLMAP's own messages are in its log
    assert report["left_out"] == ["view_3.png"]
    assert report["misplaced"]["view_3.png"] < 0.5
    assert "view_3.png (its place would be wrong" in caplog.text
    assert '<p class="why">its place would be wrong</p>' in page.read_text()
    repairs = True
    report = reconstruct(tmp_path / "scene", tmp_path / "two", CONFIG, seed=0, threads=2, page=page)
    assert report["registered"] == 8
    assert report["misplaced"] == {}
    assert report["found_by"] == "from the cameras that fit"
    assert not page.exists()
    found = align_cameras(load_cameras(tmp_path / "two"), cameras)
    assert errors_of(found)["rotation_error_deg"]["max"] < 1.0
