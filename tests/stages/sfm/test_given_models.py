"""Models as users have them: several, without tracks, in 3DGS's layout, without test views."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pycolmap
import pytest
from PIL import Image

from gradiseg_core.alignment import align_cameras
from gradiseg_core.cameras import Camera
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.inputs import given_files
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError, ReconstructionError
from gradiseg_core.files.colmap import load_cameras, load_observations, load_points
from gradiseg_core.stages.scene.stage import prepare
from gradiseg_core.stages.sfm.stage import reconstruct
from gradiseg_core.stages.sfm.tracks import median_colors
from tests.stages.sfm.alignment_errors import errors_of
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

CONFIG = ColmapConfig()


@pytest.fixture
def scene(tmp_path):
    cameras, _ = make_scene(tmp_path / "scene", count=5)
    return tmp_path / "scene", {name: c.cam_from_world for name, c in cameras.items()}


def run(scene_dir, config=CONFIG):
    return reconstruct(scene_dir, scene_dir / "out", config, seed=0, threads=1)


def test_the_largest_of_several_models_is_used(scene, caplog):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse" / "0", lens(), dict(list(views.items())[:2]))
    write_sparse(scene_dir / "sparse" / "10", lens(), views)
    # More images, but none of this scene.
    other = {f"other_{k}.png": pose for k, pose in enumerate(poses(7))}
    write_sparse(scene_dir / "sparse" / "2", lens(), other)
    (scene_dir / "sparse" / "3").mkdir()
    (scene_dir / "sparse" / "3" / "cameras.bin").write_bytes(b"cut")
    assert run(scene_dir)["registered"] == 5
    said = caplog.text
    assert "sparse/10 is used" in said
    assert "0 with 2, 2 with 0, 10 with 5" in said
    assert "sparse/3 cannot be read" in said


def _moved(folder, scale=3.0):
    """Give a model a world of its own."""
    model = pycolmap.Reconstruction(folder)
    turn = pycolmap.Rotation3d(np.array([0.1, 0.2, 0.3, 0.9]) / np.sqrt(0.95))
    model.transform(pycolmap.Sim3d(scale, turn, np.array([5.0, -2.0, 1.0])))
    model.write_binary(folder)
    return folder


@pytest.mark.parametrize("detected", [True, False])
@pytest.mark.parametrize("shared", [1, 2])
def test_models_that_share_photographs_are_joined(scene, caplog, shared, detected):
    """By the features of one photograph, or by the poses of two."""
    scene_dir, views = scene
    names = sorted(views)
    write_sparse(
        scene_dir / "sparse" / "0", lens(), {n: views[n] for n in names[:3]}, detected=detected
    )
    _moved(scene_dir / "sparse" / "0")
    second = {n: views[n] for n in names[3 - shared :]}
    write_sparse(scene_dir / "sparse" / "1", lens(), second, detected=detected)
    if not detected:
        for folder in (scene_dir / "sparse").iterdir():
            _with_points_alone(folder)
    config = ColmapConfig(min_registered_share=0.4)
    report = run(scene_dir, config)
    said = caplog.text
    if not detected and shared == 1:  # its pose alone does not say how large the other world is
        assert report["registered"] == 3
        assert "images that only it has get no camera (2: " in said
        return
    assert report["registered"] == 5
    assert report["models"] == [5]
    assert "by the photographs that they share: 5 images together" in said
    K = lens().calibration_matrix()
    truth = {name: Camera(name, WIDTH, HEIGHT, K, pose) for name, pose in views.items()}
    found = errors_of(align_cameras(load_cameras(scene_dir / "out"), truth))
    assert found["rotation_error_deg"]["max"] < 0.01
    assert found["position_error"]["max"] < 1e-3
    if detected:
        assert report["points"] == 60  # those of both worlds are one
        assert report["mean_reprojection_error_px"] < 0.01
        assert len(load_observations(scene_dir / "out").views) == 5


def _with_points_alone(folder):
    model = pycolmap.Reconstruction(folder)
    for key in list(model.points3D):
        model.delete_point3D(key)
    for point in _wall_points(90):
        model.add_point3D(point, pycolmap.Track(), np.array([1, 2, 3], np.uint8))
    model.write_binary(folder)


def test_models_that_share_nothing_stay_apart(scene, caplog):
    scene_dir, views = scene
    names = sorted(views)
    write_sparse(scene_dir / "sparse" / "0", lens(), {n: views[n] for n in names[:3]})
    write_sparse(scene_dir / "sparse" / "1", lens(), {n: views[n] for n in names[3:]})
    report = run(scene_dir, ColmapConfig(min_registered_share=0.4))
    assert report["models"] == [3, 2]
    assert "sparse/1 is not joined with the others" in caplog.text
    assert "(2: view_3.png, view_4.png)" in caplog.text


def test_models_that_contradict_each_other_stay_apart(scene, caplog):
    """Both have two photographs, but in the second their names are exchanged."""
    scene_dir, views = scene
    names = sorted(views)
    write_sparse(scene_dir / "sparse" / "0", lens(), {n: views[n] for n in names[:4]})
    second = {n: views[n] for n in names[2:]} | {
        names[2]: views[names[3]], names[3]: views[names[2]]
    }  # fmt: skip
    write_sparse(scene_dir / "sparse" / "1", lens(), second)
    assert run(scene_dir, ColmapConfig(min_registered_share=0.4))["models"] == [4, 3]
    assert "images that only it has get no camera (1: view_4.png)" in caplog.text


def _gs_layout(tmp_path, scene_dir, views, place):
    folder = tmp_path / "mine"
    shutil.copytree(scene_dir / "images", folder / "images")
    write_sparse(folder / place, lens(), views)
    return folder


@pytest.mark.parametrize("place", ["sparse/0", "sparse", "colmap/sparse/0"])
@pytest.mark.parametrize("named", ["", "images"])
def test_a_model_in_the_layout_of_3dgs_is_used(scene, tmp_path, caplog, place, named):
    caplog.set_level(logging.INFO)
    scene_dir, views = scene
    folder = _gs_layout(tmp_path, scene_dir, views, place)
    config = SceneConfig(source="folder", path=folder / named)
    manifest = prepare(config, tmp_path / "new", name="mine")
    assert manifest.has.sparse
    assert "comes with them" in caplog.text
    assert run(tmp_path / "new", ColmapConfig(existing="require"))["source"] == "existing"
    files = set(given_files(config))
    assert folder / "images" / "view_0.png" in files
    assert folder / place / "points3D.bin" in files  # a changed model reruns the scene


def test_reduced_images_scale_the_model(scene, tmp_path):
    scene_dir, views = scene
    folder = _gs_layout(tmp_path, scene_dir, views, "sparse/0")
    assert find_given(folder / "images").downsampled == 1
    (folder / "images").rename(folder / "images_2")
    camera = lens()
    camera.rescale(2 * camera.width, 2 * camera.height)
    write_sparse(folder / "sparse" / "0", camera, views)
    config = SceneConfig(source="folder", path=folder / "images_2")
    prepare(config, tmp_path / "new", name="mine")
    assert run(tmp_path / "new")["source"] == "existing"
    assert load_cameras(tmp_path / "new" / "out")["view_1.png"].width == WIDTH


def test_photographs_alone_have_no_model(scene, tmp_path):
    scene_dir, _ = scene
    assert find_given(scene_dir / "images").sparse is None
    config = SceneConfig(source="folder", path=scene_dir / "images")
    prepare(config, tmp_path / "new", name="mine")
    with pytest.raises(InputError, match=r"sparse/0/ into the folder.*beside images/"):
        run(tmp_path / "new", ColmapConfig(existing="require"))


def _wall_points(count: int) -> np.ndarray:
    """Points on the three walls of the corner."""
    rng = np.random.default_rng(1)
    xyz = rng.uniform(0.02, 1.2, (count, 3))
    xyz[np.arange(count), np.arange(count) % 3] = 0.0
    return xyz


def _without_tracks(folder, views, xyz, *, detected=False):
    write_sparse(folder, lens(), views, detected=detected)
    model = pycolmap.Reconstruction(folder)
    for key in list(model.points3D):
        model.delete_point3D(key)
    for point in xyz:
        model.add_point3D(point, pycolmap.Track(), np.array([1, 2, 3], np.uint8))
    model.write_binary(folder)


@pytest.mark.parametrize("detected", [False, True])
def test_points_without_tracks_get_them(scene, detected):
    scene_dir, views = scene
    xyz = _wall_points(900)
    _without_tracks(scene_dir / "sparse", views, xyz, detected=detected)
    report = run(scene_dir)
    assert report["tracks"] == "projected"
    assert report["points"] == 900  # points that nobody sees stay: training starts from them
    cameras, observed = load_cameras(scene_dir / "out"), load_observations(scene_dir / "out")
    found, _ = load_points(scene_dir / "out")
    count = np.zeros(len(found), int)
    for name, (xy, index) in observed.views.items():
        in_camera = found[index] @ cameras[name].cam_from_world[:3, :3].T
        in_camera += cameras[name].cam_from_world[:3, 3]
        projected = in_camera @ cameras[name].K.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], xy, atol=1e-6)
        np.add.at(count, index, 1)
        assert len(index) > 100
    assert set(np.unique(count)) <= {0, 2, 3, 4, 5}


def test_what_stands_behind_a_surface_is_not_seen(scene):
    scene_dir, views = scene
    behind = _wall_points(900) - 0.7  # all of it behind the walls, from every camera
    _without_tracks(scene_dir / "sparse", views, np.concatenate([_wall_points(900), behind]))
    run(scene_dir)
    xyz, _ = load_points(scene_dir / "out")
    hidden = np.flatnonzero((xyz < -1e-6).any(axis=1))
    seen = np.concatenate(
        [index for _, index in load_observations(scene_dir / "out").views.values()]
    )
    assert np.isin(seen, hidden).mean() < 0.15


def test_points_that_lie_nowhere_get_no_tracks(scene, caplog):
    scene_dir, views = scene
    rng = np.random.default_rng(0)
    _without_tracks(scene_dir / "sparse", views, rng.uniform(0.3, 1.5, (900, 3)))
    assert run(scene_dir)["tracks"] == "none"
    assert "do not lie on surfaces" in caplog.text
    assert not any(len(i) for _, i in load_observations(scene_dir / "out").views.values())


def test_no_held_out_view_is_said(scene, caplog):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), {n: p for n, p in views.items() if n[5] != "0"})
    assert run(scene_dir)["registered"] == 4  # view_0.png is the only test view
    assert "1 of 1 test views have no camera" in caplog.text
    assert "no held-out view has a camera" in caplog.text
    caplog.clear()
    write_manifest(scene_dir, list(views))
    run(scene_dir)
    assert "the scene has no held-out view" in caplog.text


def test_no_training_view_ends_the_stage(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), dict(list(views.items())[:2]))
    write_manifest(scene_dir, list(views), test=("view_0.png", "view_1.png"))
    with pytest.raises(ReconstructionError, match="none of the 3 training views"):
        run(scene_dir, ColmapConfig(min_registered_share=0.0))


def test_the_median_color_of_a_track():
    observed = [
        (np.array([0, 2]), np.array([[1.0, 9.0, 5.0], [7.0, 7.0, 7.0]])),
        (np.array([0]), np.array([[3.0, 8.0, 0.0]])),
        (np.array([0]), np.array([[2.0, 0.0, 6.0]])),
    ]
    np.testing.assert_array_equal(median_colors(observed, 3), [[2, 8, 5], [0, 0, 0], [7, 7, 7]])


def test_groups_without_overlap_are_said(tmp_path, caplog):
    make_scene(tmp_path / "scene", count=5)
    for index, pose in enumerate(poses(8)[:4]):
        photograph, _ = render(lens(), pose, seed=1)  # another place
        Image.fromarray(photograph).save(tmp_path / "scene" / "images" / f"z_{index}.png")
    names = sorted(path.name for path in (tmp_path / "scene" / "images").iterdir())
    write_manifest(tmp_path / "scene", names, test=("view_0.png",))
    config = ColmapConfig(max_features=500, min_registered_share=0.3, retry_minutes=0.0)
    report = run(tmp_path / "scene", config)
    assert report["models"] == [5, 4]
    assert "fall into 2 groups" in caplog.text
    assert "4 of 8 training views have no camera" in caplog.text
