"""Reconstruction from photographs: accuracy, repeatability, reuse, and what goes wrong."""

from __future__ import annotations

import itertools
import json
import logging
import shutil

import numpy as np
import pycolmap
import pytest
from PIL import Image
from pydantic import ValidationError

from gradiseg_core.alignment import align_cameras
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import InputError, ReconstructionError
from gradiseg_core.files.colmap import load_cameras, load_observations, load_points
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import in_order
from gradiseg_core.stages.sfm import features
from gradiseg_core.stages.sfm.features import (
    build_database,
    chosen_matcher,
    for_order,
    loop_pairs,
    matched_pairs,
)
from gradiseg_core.stages.sfm.pairs import numbered
from gradiseg_core.stages.sfm.stage import _ordered, reconstruct
from tests.stages.sfm.conftest import CONFIG, SEED
from tests.stages.sfm.scenes import make_scene, write_manifest

MODEL_FILES = ("cameras.bin", "images.bin", "points3D.bin")


def test_cameras_are_right(corner):
    estimated = load_cameras(corner.colmap_dir)
    assert list(estimated) == sorted(corner.cameras)  # test views are registered too
    alignment = align_cameras(estimated, corner.cameras)
    assert max(alignment.position_error.values()) < 0.01  # the cameras' arc is 2.5 long
    assert max(alignment.rotation_error_deg.values()) < 0.5
    for camera in estimated.values():
        assert camera.K[0, 0] == pytest.approx(230.0, rel=0.02)
        assert read_image(corner.colmap_dir / "images" / camera.name).shape == (
            camera.height,
            camera.width,
            3,
        )


def test_report(corner):
    report = json.loads((corner.colmap_dir / "sfm.json").read_text())
    assert report == corner.report
    assert (report["registered"], report["total"], report["left_out"]) == (8, 8, [])
    assert report["models"] == [8]
    assert report["source"] == "pycolmap"
    assert report["points"] == len(load_points(corner.colmap_dir)[0]) > 100
    assert 0 < report["mean_reprojection_error_px"] < 0.5
    assert not list(corner.colmap_dir.glob("*.db"))


def test_points_project_onto_their_observations(corner):
    cameras, (xyz, rgb) = load_cameras(corner.colmap_dir), load_points(corner.colmap_dir)
    observations = load_observations(corner.colmap_dir)
    assert len(rgb) == len(observations.errors) == len(xyz)
    for name, (xy, index) in observations.views.items():
        camera = cameras[name]
        in_camera = xyz[index] @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
        projected = in_camera @ camera.K.T
        distance = np.linalg.norm(projected[:, :2] / projected[:, 2:] - xy, axis=1)
        assert len(xy) > 30
        assert np.median(distance) < 0.5


def test_same_seed_same_model_and_silence(corner, tmp_path, capfd):
    """A fresh run on another number of threads is bit-equal, and COLMAP writes no line."""
    capfd.readouterr()
    reconstruct(corner.scene_dir, tmp_path / "again", CONFIG, seed=SEED, threads=1)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    for name in MODEL_FILES:
        first = (corner.colmap_dir / "sparse" / "0" / name).read_bytes()
        assert (tmp_path / "again" / "sparse" / "0" / name).read_bytes() == first


def test_rerun_continues_from_the_kept_database(corner, tmp_path, caplog):
    work = tmp_path / "work"
    shutil.copytree(corner.work_dir, work)
    with caplog.at_level(logging.INFO):
        reconstruct(corner.scene_dir, tmp_path / "a", CONFIG, seed=SEED, threads=1, work_dir=work)
    assert "continued from" in caplog.text
    model = (corner.colmap_dir / "sparse" / "0" / "images.bin").read_bytes()
    assert (tmp_path / "a" / "sparse" / "0" / "images.bin").read_bytes() == model

    caplog.clear()
    neighbours = CONFIG.model_copy(update={"matcher": "sequential"})
    with caplog.at_level(logging.INFO):
        report = reconstruct(
            corner.scene_dir, tmp_path / "b", neighbours, seed=SEED, threads=1, work_dir=work
        )
    assert "features: reused" in caplog.text
    assert (report["matcher"], report["registered"]) == ("sequential", 8)


def test_other_images_are_not_mixed_with_a_kept_database(corner, tmp_path, caplog):
    work, scene = tmp_path / "work", tmp_path / "scene"
    shutil.copytree(corner.work_dir, work)
    shutil.copytree(corner.scene_dir, scene)
    (scene / "images" / "view_7.png").unlink()
    write_manifest(scene, [f"view_{index}.png" for index in range(7)])
    with caplog.at_level(logging.INFO):
        report = reconstruct(scene, tmp_path / "out", CONFIG, seed=SEED, threads=2, work_dir=work)
    assert "continued" not in caplog.text
    assert report["total"] == report["registered"] == 7


def test_global_mapper(corner, tmp_path):
    config = CONFIG.model_copy(update={"mapper": "global"})
    work = tmp_path / "work"
    shutil.copytree(corner.work_dir, work)
    out = tmp_path / "out"
    report = reconstruct(corner.scene_dir, out, config, seed=SEED, threads=1, work_dir=work)
    assert (report["mapper"], report["registered"]) == ("global", 8)
    alignment = align_cameras(load_cameras(out), corner.cameras)
    assert max(alignment.position_error.values()) < 0.03


def test_images_left_out_are_listed(corner, tmp_path):
    """Two photographs of another place: below the share an error, above it a report."""
    scene, work = tmp_path / "scene", tmp_path / "work"
    shutil.copytree(corner.scene_dir, scene)
    rng = np.random.default_rng(0)
    for name in ("zz_0.png", "zz_1.png"):
        blocks = rng.integers(0, 256, (45, 60, 3), np.uint8)
        Image.fromarray(blocks.repeat(4, 0).repeat(4, 1)).save(scene / "images" / name)
    write_manifest(scene, sorted(p.name for p in (scene / "images").iterdir()))

    once = CONFIG.model_copy(update={"retry_minutes": 0.0})
    strict = once.model_copy(update={"min_registered_share": 0.9})
    with pytest.raises(ReconstructionError, match=r"only 8 of 10.*zz_0\.png, zz_1\.png") as error:
        reconstruct(scene, tmp_path / "out", strict, seed=SEED, threads=2, work_dir=work)
    assert str(work) in str(error.value)  # where the features and matches are kept
    assert not (tmp_path / "out" / "sfm.json").exists()

    report = reconstruct(scene, tmp_path / "out", once, seed=SEED, threads=1, work_dir=work)
    assert report["left_out"] == ["zz_0.png", "zz_1.png"]
    assert len(list((tmp_path / "out" / "images").iterdir())) == 8


def _scene_of(tmp_path, images) -> None:
    (tmp_path / "images").mkdir()
    names = [f"{index}.png" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(tmp_path / "images" / name)
    write_manifest(tmp_path, names)


def test_too_few_images(tmp_path):
    _scene_of(tmp_path, [np.zeros((60, 80, 3), np.uint8)] * 2)
    with pytest.raises(ReconstructionError, match=r"has 2 image\(s\).*at least 3"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)


def test_blank_images(tmp_path):
    _scene_of(tmp_path, [np.full((60, 80, 3), 128, np.uint8)] * 3)
    with pytest.raises(ReconstructionError, match="no features found"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)


def test_images_of_different_things(tmp_path):
    rng = np.random.default_rng(1)
    blocks = [
        rng.integers(0, 256, (30, 40, 3), np.uint8).repeat(4, 0).repeat(4, 1) for _ in range(3)
    ]
    _scene_of(tmp_path, blocks)
    with pytest.raises(ReconstructionError, match="no two of the 3 images"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)


def test_no_parallax(tmp_path):
    """The same photograph three times: matches in plenty, but nothing to triangulate."""
    make_scene(tmp_path / "real", count=1)
    photograph = read_image(tmp_path / "real" / "images" / "view_0.png")
    _scene_of(tmp_path, [photograph] * 3)
    with pytest.raises(ReconstructionError, match=r"found no model.*3 pairs"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)


def test_missing_and_unreadable_images(tmp_path):
    with pytest.raises(InputError, match=r"scene\.json"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)
    _scene_of(tmp_path, [np.zeros((60, 80, 3), np.uint8)] * 3)
    (tmp_path / "images" / "1.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"1\.png"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)
    make_scene(tmp_path / "real", count=1)
    whole = (tmp_path / "real" / "images" / "view_0.png").read_bytes()
    (tmp_path / "images" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"1\.png.*truncated"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(InputError, match=r"1\.png not found"):
        reconstruct(tmp_path, tmp_path / "out", CONFIG, seed=0, threads=1)


def test_single_camera_needs_one_size(tmp_path):
    sizes = [(60, 80), (60, 80), (80, 60)]
    _scene_of(tmp_path, [np.zeros((*size, 3), np.uint8) for size in sizes])
    with pytest.raises(InputError, match="single_camera"):
        reconstruct(tmp_path, tmp_path / "out", ColmapConfig(single_camera=True), seed=0, threads=1)


def test_matcher_by_number_of_images():
    assert chosen_matcher(ColmapConfig(), 200) == "exhaustive"
    assert chosen_matcher(ColmapConfig(), 201) == "sequential"
    assert chosen_matcher(ColmapConfig(matcher="exhaustive"), 1000) == "exhaustive"
    with pytest.raises(ValidationError):
        ColmapConfig(matcher="vocabtree")


def test_sequential_neighbours_of_names_without_leading_zeros(tmp_path, monkeypatch):
    """`2.jpg` and `3.jpg` are neighbours, `1.jpg` and `10.jpg` are not; names may have spaces."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    texture = rng.integers(0, 255, (160, 160, 3), dtype=np.uint8)
    names = [f"photo {index}.png" for index in range(1, 13)]
    for name in names:
        Image.fromarray(texture).save(tmp_path / "images" / name)  # every pair matches
    monkeypatch.setattr(features, "SEQUENTIAL_OVERLAP", 1)
    monkeypatch.setattr(features, "LOOP_IMAGES", 3)
    config = ColmapConfig(matcher="sequential", max_features=200)
    # Every fourth with every other: the camera may come back.
    loops = {(names[0], names[4]), (names[0], names[8]), (names[4], names[8])}
    for _ in range(2):  # the second call finds the names as it needs them
        database = build_database(
            tmp_path, tmp_path / "images", names, config, cameras=[names], seed=0, threads=1
        )
        assert matched_pairs(database) == {
            name: (1 if name in (names[0], names[-1]) else 2) + sum(name in pair for pair in loops)
            for name in names
        }
        db = pycolmap.Database.open(database)
        by_id = {image.image_id: image.name for image in db.read_all_images()}
        pairs, _ = db.read_two_view_geometry_num_inliers()
        db.close()
        found = {
            tuple(in_order(by_id[i] for i in pycolmap.pair_id_to_image_pair(pair)))
            for pair in pairs
        }
        assert found == set(itertools.pairwise(names)) | loops


def test_names_of_a_job_that_was_killed_while_it_matched_come_back(tmp_path):
    make_scene(tmp_path / "scene", count=3)
    names = sorted(path.name for path in (tmp_path / "scene" / "images").iterdir())
    for place, name in enumerate(names):
        (tmp_path / "scene" / "images" / name).rename(
            tmp_path / "scene" / "images" / f"a {place}.png"
        )
    names = [f"a {place}.png" for place in range(3)]

    def build():
        return build_database(
            tmp_path, tmp_path / "scene" / "images", names, ColmapConfig(max_features=256),
            cameras=[names], seed=0, threads=1,
        )  # fmt: skip

    expected = matched_pairs(build())
    db = pycolmap.Database.open(tmp_path / "database.db")
    for image in db.read_all_images():
        image.name = numbered(image.image_id, image.name)
        assert " " not in image.name
        db.update_image(image)
    db.close()
    assert matched_pairs(build()) == expected
    assert set(expected) == set(names)


def test_frames_of_a_video_are_matched_by_their_order(tmp_path):
    """All pairs of few; of many their neighbours, and some far apart for loops."""
    few = for_order(ColmapConfig(), 60, ordered=True)
    assert chosen_matcher(few, 60) == "exhaustive"
    many = for_order(ColmapConfig(), 120, ordered=True)
    assert chosen_matcher(many, 120) == "sequential"
    assert for_order(ColmapConfig(), 120, ordered=False) == ColmapConfig()
    chosen = ColmapConfig(matcher="exhaustive")
    assert for_order(chosen, 120, ordered=True) == chosen
    pairs = loop_pairs(120)
    assert (0, 116) in pairs
    assert len(pairs) < 435
    assert all(b - a > 10 and a % 4 == b % 4 == 0 for a, b in pairs)
    assert len(loop_pairs(1000)) < 500
    for ordered in (False, True):
        (tmp_path / "scene.json").write_text(json.dumps({"views": [], "ordered": ordered}))
        assert _ordered(tmp_path) == ordered


@pytest.mark.parametrize("damaged", ["inputs.json", "database.db", "both"])
@pytest.mark.parametrize("kept", [0.0, 0.3])
def test_damaged_work_files_are_set_aside(tmp_path, caplog, damaged, kept):
    make_scene(tmp_path / "scene", count=3)
    names = sorted(path.name for path in (tmp_path / "scene" / "images").iterdir())

    def build():
        return build_database(
            tmp_path, tmp_path / "scene" / "images", names, ColmapConfig(max_features=256),
            cameras=[names], seed=0, threads=1,
        )  # fmt: skip

    expected = matched_pairs(build())
    for name in ("inputs.json", "database.db") if damaged == "both" else (damaged,):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(kept * len(content))])
    assert matched_pairs(build()) == expected
    assert any(expected.values())
    if kept:
        assert ".unreadable" in caplog.text
    assert json.loads((tmp_path / "inputs.json").read_text())["features"]
