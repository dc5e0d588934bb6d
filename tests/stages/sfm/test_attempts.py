"""Where photographs are left out, the stage tries other ways, keeps the best and says so."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.alignment import align_cameras, umeyama
from gradiseg_core.cameras import Camera
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.files._pycolmap import pycolmap
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.stages.sfm import attempts
from gradiseg_core.stages.sfm.appearance import neighbours
from gradiseg_core.stages.sfm.features import build_database
from gradiseg_core.stages.sfm.joining import join
from gradiseg_core.stages.sfm.known_poses import Matched
from gradiseg_core.stages.sfm.mapping import Mapping, map_images
from gradiseg_core.stages.sfm.pairs import (
    copy_of,
    image_ids,
    keypoints,
    pairs_with,
    share_that_stands,
    verified,
    verify_again,
)
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.alignment_errors import errors_of
from tests.stages.sfm.scenes import (
    HEIGHT,
    WIDTH,
    lens,
    look_at,
    make_scene,
    matched_scene,
    noisy_scene,
    poses,
    put_gripper,
    render,
    write_manifest,
)

CONFIG = ColmapConfig(max_features=500)


def test_guided_matching_is_tried_where_photographs_are_left_out(tmp_path, caplog, capfd):
    cameras = noisy_scene(tmp_path / "scene")
    caplog.set_level(logging.INFO)
    capfd.readouterr()
    report = reconstruct(tmp_path / "scene", tmp_path / "out", CONFIG, seed=0, threads=2)
    assert capfd.readouterr() == ("", "")
    assert report["attempts"][0] == {"what": "as configured", "registered": 2}
    assert report["attempts"][-1] == {"what": "guided matching", "registered": 8}
    assert report["found_by"] == "guided matching"
    assert "as configured: 2 of 8 photographs have a camera" in caplog.text
    assert "guided matching: 8 of 8 photographs have a camera" in caplog.text
    found = errors_of(align_cameras(load_cameras(tmp_path / "out"), cameras))
    assert found["rotation_error_deg"]["max"] < 8.0  # of 57 degrees that the camera turns

    again = reconstruct(tmp_path / "scene", tmp_path / "again", CONFIG, seed=0, threads=1)
    assert again == report
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        first, second = (tmp_path / run / "sparse" / "0" / name for run in ("out", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_nothing_is_tried_where_the_user_says_so(tmp_path):
    noisy_scene(tmp_path / "scene")
    config = CONFIG.model_copy(update={"retry_minutes": 0.0, "min_registered_share": 0.2})
    report = reconstruct(tmp_path / "scene", tmp_path / "out", config, seed=0, threads=2)
    assert report["registered"] == 2
    assert len(report["attempts"]) == 1


def test_attempts_end_after_the_time_that_the_user_gives(tmp_path, caplog):
    noisy_scene(tmp_path / "scene")
    config = CONFIG.model_copy(update={"retry_minutes": 1e-4, "min_registered_share": 0.2})
    report = reconstruct(tmp_path / "scene", tmp_path / "out", config, seed=0, threads=2)
    assert report["registered"] == 2
    assert "no further attempts after" in caplog.text


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    """Photographs and database of eight views of the corner."""
    folder = tmp_path_factory.mktemp("matched")
    return folder, *matched_scene(folder, CONFIG)


def joined(matched, tmp_path, *models):
    folder, database, _ = matched
    return join(models, Matched(database, folder / "scene" / "images", tmp_path, 0, 1))


def part_of(matched, tmp_path, keep):
    """The model of some of the views alone, in a world of its own."""
    folder, database, _ = matched
    model = map_images(
        database, folder / "scene" / "images", tmp_path / "models", Mapping(),
        num_images=8, seed=0, threads=1,
    )[0]  # fmt: skip
    for image_id in sorted(model.reg_image_ids()):
        if image_id not in keep:
            model.deregister_frame(model.image(image_id).frame_id)
    turn = pycolmap.Rotation3d(np.array([0.1 * len(keep), 0.2, 0.3, 0.9]))
    turn.normalize()
    model.transform(pycolmap.Sim3d(0.3 + len(keep), turn, np.array([3.0, -2.0, len(keep)])))
    return model


@pytest.mark.parametrize("second", [{5, 6, 7, 8}, {6, 7, 8}])  # an image in common, or none
def test_models_that_overlap_are_joined(matched, tmp_path, caplog, second):
    cameras = matched[2]
    caplog.set_level(logging.INFO)
    first = part_of(matched, tmp_path, {1, 2, 3, 4, 5})
    other = part_of(matched, tmp_path, second)
    models = joined(matched, tmp_path / "joining", first, other)
    assert [model.num_reg_images() for model in models] == [8]
    assert f"a model of {len(second)} images with one of 5, 8 images together" in caplog.text
    assert models[0].compute_mean_reprojection_error() < 0.5
    estimated = {}
    for image in models[0].images.values():
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().matrix()
        K = image.camera.calibration_matrix()
        estimated[image.name] = Camera(image.name, WIDTH, HEIGHT, K, pose)
    found = errors_of(align_cameras(estimated, cameras))
    assert found["rotation_error_deg"]["max"] < 0.5


def test_models_of_two_places_stay_apart(matched, tmp_path):
    """What little two models share does not fit: the second one is bent out of shape."""
    first = part_of(matched, tmp_path, {1, 2, 3, 4, 5})
    other = part_of(matched, tmp_path, {6, 7, 8})
    rng = np.random.default_rng(0)
    for point in other.points3D.values():
        point.xyz = rng.normal(0, 3, 3)
    models = joined(matched, tmp_path / "joining", first, other)
    assert [model.num_reg_images() for model in models] == [5, 3]


def test_lower_thresholds_place_what_others_do_not(tmp_path):
    """Grainy photographs far apart: COLMAP's thresholds find no model at all."""
    rng = np.random.default_rng(0)
    folder, cameras = tmp_path / "scene", {}
    (folder / "images").mkdir(parents=True)
    for index, turn in enumerate(np.linspace(-1.0, 1.0, 8)[1:-1]):
        at = [2.6 * np.cos(0.8 + turn), 2.6 * np.sin(0.8 + turn), 1.2 + 0.3 * turn]
        pose, name = look_at(np.array(at), [0.3, 0.3, 0.5]), f"view_{index}.png"
        grainy = render(lens(), pose)[0] + rng.normal(0, 24, (HEIGHT, WIDTH, 3))
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        cameras[name] = Camera(name, WIDTH, HEIGHT, lens().calibration_matrix(), pose)
    write_manifest(folder, list(cameras))
    config = CONFIG.model_copy(update={"min_registered_share": 0.3})
    report = reconstruct(folder, tmp_path / "out", config, seed=0, threads=2)
    tried = {one["what"]: one["registered"] for one in report["attempts"]}
    assert tried["lower thresholds"] > max(tried["as configured"], tried["guided matching"])
    assert report["registered"] >= 4
    found = errors_of(align_cameras(load_cameras(tmp_path / "out"), cameras))
    assert found["rotation_error_deg"]["max"] < 8.0


def test_left_out_photographs_are_added_to_a_model(matched, tmp_path):
    """The other cameras stay where they were to each other."""
    folder, database, cameras = matched
    part = part_of(matched, tmp_path, {1, 2, 3, 4, 5, 6, 7})
    before = np.array([part.image(k).projection_center() for k in range(1, 8)])
    (tmp_path / "given").mkdir()
    part.write_binary(tmp_path / "given")
    model = map_images(
        database, folder / "scene" / "images", tmp_path / "new",
        Mapping(relaxed=True, continued=tmp_path / "given"), num_images=8, seed=0, threads=1,
    )[0]  # fmt: skip
    assert model.num_reg_images() == len(cameras)
    after = np.array([model.image(k).projection_center() for k in range(1, 8)])
    moved = umeyama(after, before).apply(after) - before  # COLMAP gives the world another scale
    assert np.abs(moved).max() < 0.02 * np.linalg.norm(before[0] - before[-1])


@pytest.mark.slow
def test_no_attempt_places_photographs_of_another_place(tmp_path):
    cameras, _ = make_scene(tmp_path / "scene", count=8)
    for index, pose in enumerate(poses(8)[2:4]):
        photograph, _ = render(lens(), pose, seed=5)
        Image.fromarray(photograph).save(tmp_path / "scene" / "images" / f"z_{index}.png")
    write_manifest(tmp_path / "scene", [*cameras, "z_0.png", "z_1.png"])
    report = reconstruct(tmp_path / "scene", tmp_path / "out", CONFIG, seed=0, threads=2)
    assert report["left_out"] == ["z_0.png", "z_1.png"]
    tried = [one["what"] for one in report["attempts"]]
    assert {"guided matching", "lower thresholds", "more features"} <= set(tried)
    assert report["found_by"] == "as configured"


def test_another_initial_pair_is_one_that_no_model_has(matched, tmp_path):
    folder, database, _ = matched
    part = part_of(matched, tmp_path, {1, 2, 3})
    pairs = attempts._initial_pairs(attempts.Found(database, [part], "a part"))
    assert pairs
    assert not any({1, 2, 3} >= set(pair) for pair in pairs)
    images = [image_id for pair in pairs for image_id in pair]
    assert len(images) == len(set(images))
    counts = {pair: len(found) for pair, found in verified(database).items()}
    assert counts[pairs[0]] == max(n for pair, n in counts.items() if not {1, 2, 3} >= set(pair))
    model = map_images(
        database, folder / "scene" / "images", tmp_path / "new",
        Mapping(relaxed=True, initial=(2, 5)), num_images=8, seed=0, threads=1,
    )[0]  # fmt: skip
    assert model.num_reg_images() == 8


@pytest.mark.parametrize("model", ["PINHOLE", "SIMPLE_RADIAL"])
def test_a_lens_that_was_held_is_adjusted_at_last(tmp_path, model):
    """COLMAP assumes a focal length of 1.2 times the width and no distortion."""
    cameras, _ = make_scene(tmp_path / "scene", count=6, model=model)
    database = build_database(
        tmp_path, tmp_path / "scene" / "images", sorted(cameras), CONFIG,
        cameras=[sorted(cameras)], seed=0, threads=2,
    )  # fmt: skip
    [found] = map_images(
        database, tmp_path / "scene" / "images", tmp_path / "models", Mapping(held=True),
        num_images=6, seed=0, threads=1,
    )  # fmt: skip
    assert found.num_reg_images() == 6
    [camera] = found.cameras.values()
    truth = lens(model)
    assert camera.mean_focal_length() == pytest.approx(truth.mean_focal_length(), rel=0.02)
    distortion = truth.params[3] if model == "SIMPLE_RADIAL" else 0.0
    assert camera.params[3] == pytest.approx(distortion, abs=0.02)


def test_the_lens_is_held_where_two_images_do_not_tell_it(matched, tmp_path, monkeypatch):
    """The attempt takes what the mapper finds with it, and says so."""
    folder, database, cameras = matched
    part = part_of(matched, tmp_path, {1, 2})
    photos = attempts.Photographs(
        work=tmp_path, image_dir=folder / "scene" / "images", names=sorted(cameras),
        config=CONFIG, build=lambda *_: database, all_pairs=True, seed=0, threads=1,
    )  # fmt: skip
    best = attempts.Found(database, [part], "as configured")
    found = attempts._with_the_lens_held(photos, best, tmp_path / "held", Mapping(), None)
    assert found.registered == 8
    nearly = attempts.Found(database, found.models, "")
    assert attempts._with_the_lens_held(photos, nearly, tmp_path, Mapping(), None) is None


def test_focal_lengths_of_exif_data_are_forgotten(matched, tmp_path):
    """Of the database of an attempt alone; where EXIF data name none, there is nothing to try."""
    folder, database, cameras = matched
    wrong = copy_of(database, tmp_path / "wrong")
    db = pycolmap.Database.open(wrong)
    for camera in db.read_all_cameras():
        camera.params = [3.3 * WIDTH, *camera.params[1:]]
        camera.has_prior_focal_length = True
        db.update_camera(camera)
    db.close()
    photos = attempts.Photographs(
        work=tmp_path, image_dir=folder / "scene" / "images", names=sorted(cameras),
        config=CONFIG, build=lambda *_: database, all_pairs=True, seed=0, threads=1,
    )  # fmt: skip
    part = part_of(matched, tmp_path, {1, 2})

    def attempt(start):
        best = attempts.Found(start, [part], "as configured")
        return attempts._without_exif(photos, best, tmp_path / "new", Mapping(), None)

    def assumed(path):
        db = pycolmap.Database.open(path)
        [camera] = db.read_all_cameras()
        db.close()
        return camera.mean_focal_length() / WIDTH, camera.has_prior_focal_length

    found = attempt(wrong)
    assert found.registered == 8
    assert assumed(found.database) == (pytest.approx(1.2), False)
    assert assumed(wrong) == (pytest.approx(3.3), True)
    assert attempt(database) is None


def test_matches_that_do_not_move_are_left_out(tmp_path):
    cameras, _ = make_scene(tmp_path / "scene", count=6)
    images = tmp_path / "scene" / "images"
    put_gripper(images)
    config = CONFIG.model_copy(update={"leave_out_standing": False})
    names = sorted(cameras)
    database = build_database(tmp_path, images, names, config, cameras=[names], seed=0, threads=2)
    assert share_that_stands(database) > attempts._STANDING
    every = pairs_with(database, set(image_ids(database).values()))
    assert len(every) == 15
    verify_again(database, every, guided=False, without_still=True, fewest=None, seed=0, threads=2)
    assert share_that_stands(database) < 0.02
    assert len(verified(database)) > 5
    assert list(image_ids(database)) == names  # the names are what they were


def test_features_of_less_contrast_are_more(matched, tmp_path):
    folder, _, cameras = matched
    config = CONFIG.model_copy(update={"max_features": 5000})

    def features(name, **extra):
        made = tmp_path / name
        made.mkdir()
        new = build_database(
            made, folder / "scene" / "images", sorted(cameras)[:2], config,
            cameras=[sorted(cameras)[:2]], seed=0, threads=2, **extra,
        )  # fmt: skip
        return sum(map(len, keypoints(new).values()))

    assert features("more", peak_threshold=0.002) > 1.1 * features("as they are")


def test_what_stands_still_is_measured(matched, tmp_path):
    _, database, _ = matched
    assert share_that_stands(database) < 0.05
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (160, 160, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(texture).save(tmp_path / name)
    same = build_database(
        tmp_path,
        tmp_path,
        ["a.png", "b.png"],
        CONFIG,
        cameras=[["a.png", "b.png"]],
        seed=0,
        threads=1,
    )
    assert sum(map(len, verified(same).values())) > 50
    assert share_that_stands(same) > 0.95


def test_photographs_of_one_place_look_alike():
    """Two places of forty features each, seen four times with noise."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 120, (2, 40, 128))
    seen = [
        (places[index % 2] + rng.integers(0, 20, (40, 128))).astype(np.uint8) for index in range(8)
    ]
    found = neighbours(seen, 3, seed=0)
    assert found.shape == (8, 3)
    for index, near in enumerate(found):
        assert set(near) == {k for k in range(8) if k % 2 == index % 2 and k != index}


def test_a_large_set_is_matched_by_appearance(tmp_path, caplog):
    """The order of the names says nothing: neighbours by name see different places."""
    folder = tmp_path / "scene"
    (folder / "images").mkdir(parents=True)
    for index in range(10):
        photograph, _ = render(lens(), poses(5)[index // 2], seed=index % 2)
        Image.fromarray(photograph).save(folder / "images" / f"{index}.png")
    write_manifest(folder, [f"{index}.png" for index in range(10)])
    caplog.set_level(logging.INFO)
    config = ColmapConfig(max_features=500, matcher="sequential", min_registered_share=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradiseg_core.stages.sfm.features.SEQUENTIAL_OVERLAP", 1)
        patch.setattr(attempts, "_PARTNERS", 4)
        patch.setattr(attempts, "_attempts", lambda: [("pairs that look alike", attempts._alike)])
        report = reconstruct(folder, tmp_path / "out", config, seed=0, threads=2)
    tried = {one["what"]: one["registered"] for one in report["attempts"]}
    assert tried["pairs that look alike"] == 5
    assert report["models"] == [5, 5]
