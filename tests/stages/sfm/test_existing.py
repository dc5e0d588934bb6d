"""A COLMAP model that comes with the scene: used when it fits, refused with a reason when not."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest
from PIL import Image

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import InputError, ReconstructionError
from gradiseg_core.files.colmap import load_cameras, load_observations, load_points
from gradiseg_core.files.images import read_image
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import lens, make_scene, render, write_manifest, write_sparse

CONFIG = ColmapConfig()


@pytest.fixture
def scene(tmp_path):
    cameras, _ = make_scene(tmp_path / "scene", count=4)
    return tmp_path / "scene", {name: c.cam_from_world for name, c in cameras.items()}


def run(scene_dir, config=CONFIG):
    return reconstruct(scene_dir, scene_dir / "out", config, seed=0, threads=1)


@pytest.mark.parametrize("folder", ["sparse", "sparse/0"])
def test_is_used(scene, folder):
    scene_dir, views = scene
    write_sparse(scene_dir / folder, lens(), views)
    report = run(scene_dir)
    assert (report["source"], report["registered"], report["points"]) == ("existing", 4, 60)
    cameras = load_cameras(scene_dir / "out")
    for name, pose in views.items():
        np.testing.assert_allclose(cameras[name].cam_from_world, pose, atol=1e-12)
        np.testing.assert_array_equal(
            read_image(scene_dir / "out" / "images" / name),
            read_image(scene_dir / "images" / name),
        )
    assert not (scene_dir / "out" / "distorted").exists()


def test_reader_agrees_with_pycolmap(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), views)
    run(scene_dir)
    model = pycolmap.Reconstruction(scene_dir / "out" / "sparse" / "0")
    ids = sorted(model.points3D)
    xyz, rgb = load_points(scene_dir / "out")
    np.testing.assert_array_equal(xyz, [model.points3D[i].xyz for i in ids])
    np.testing.assert_array_equal(rgb, [model.points3D[i].color for i in ids])
    observations = load_observations(scene_dir / "out")
    np.testing.assert_array_equal(observations.errors, [model.points3D[i].error for i in ids])
    for image in model.images.values():
        seen = [p for p in image.points2D if p.has_point3D()]
        xy, index = observations.views[image.name]
        np.testing.assert_array_equal(xy, [p.xy for p in seen])
        assert [ids[i] for i in index] == [p.point3D_id for p in seen]


def test_distorted_model_is_undistorted(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens("SIMPLE_RADIAL"), views)
    report = run(scene_dir)
    assert report["distortion"]
    assert report["camera_models"] == ["SIMPLE_RADIAL"]
    assert (scene_dir / "out" / "distorted" / "cameras.bin").is_file()
    camera = load_cameras(scene_dir / "out")["view_0.png"]
    assert read_image(scene_dir / "out" / "images" / "view_0.png").shape[:2] == (
        camera.height,
        camera.width,
    )


LENSES = {
    "RADIAL": [230, 120, 90, -0.1, 0.01],
    "OPENCV": [230, 231, 120, 90, -0.1, 0.01, 0.001, 0.0],
    "FULL_OPENCV": [230, 231, 120, 90, -0.1, 0.01, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0],
    "FOV": [200, 200, 120, 90, 0.8],
    "SIMPLE_RADIAL_FISHEYE": [180, 120, 90, 0.02],
    "RADIAL_FISHEYE": [180, 120, 90, 0.02, -0.01],
    "OPENCV_FISHEYE": [150, 150, 120, 90, 0.02, -0.01, 0.0, 0.0],
    "THIN_PRISM_FISHEYE": [180, 180, 120, 90, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.001, 0.0],
    "SIMPLE_DIVISION": [230, 120, 90, -0.1],
    "FISHEYE": [180, 180, 120, 90],
    "SIMPLE_FISHEYE": [180, 120, 90],
    "OPENCV_FISHEYE without coefficients": [150, 150, 120, 90, 0, 0, 0, 0],
    "RADIAL_FISHEYE without coefficients": [180, 120, 90, 0, 0],
}


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("name", LENSES)
def test_any_lens_is_undistorted(scene, name, text):
    scene_dir, views = scene
    params, name = LENSES[name], name.split()[0]
    camera = pycolmap.Camera(model=name, width=240, height=180, params=params, camera_id=1)
    for view, pose in views.items():
        Image.fromarray(render(camera, pose)[0]).save(scene_dir / "images" / view)
    write_sparse(scene_dir / "sparse", camera, views)
    if text:
        model = pycolmap.Reconstruction(scene_dir / "sparse")
        for file in (scene_dir / "sparse").iterdir():
            file.unlink()
        model.write_text(scene_dir / "sparse")
    assert run(scene_dir)["camera_models"] == [name]
    cameras, observed = load_cameras(scene_dir / "out"), load_observations(scene_dir / "out")
    xyz, _ = load_points(scene_dir / "out")
    for view, (xy, index) in observed.views.items():
        pose = cameras[view].cam_from_world
        np.testing.assert_allclose(pose, views[view], atol=1e-9)
        projected = (xyz[index] @ pose[:3, :3].T + pose[:3, 3]) @ cameras[view].K.T
        np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], xy, atol=1e-3)
        assert len(index) > 30
        K, size = cameras[view].K, (cameras[view].width, cameras[view].height)
        pinhole = pycolmap.Camera(
            model="PINHOLE", width=size[0], height=size[1],
            params=[K[0, 0], K[1, 1], K[0, 2], K[1, 2]],
        )  # fmt: skip
        image = read_image(scene_dir / "out" / "images" / view).astype(float)
        assert np.median(np.abs(image - render(pinhole, pose)[0])) < 6


def test_panoramas_are_refused(scene):
    scene_dir, views = scene
    camera = pycolmap.Camera(
        model="EQUIRECTANGULAR", width=240, height=180, params=[240, 180], camera_id=1
    )
    write_sparse(scene_dir / "sparse", camera, views)
    with pytest.raises(InputError, match="is a panorama"):
        run(scene_dir)


def test_simple_pinhole_becomes_pinhole(scene):
    scene_dir, views = scene
    camera = pycolmap.Camera(
        model="SIMPLE_PINHOLE", width=240, height=180, params=[200, 119, 91], camera_id=1
    )
    write_sparse(scene_dir / "sparse", camera, views)
    assert not run(scene_dir)["distortion"]
    K = load_cameras(scene_dir / "out")["view_1.png"].K
    np.testing.assert_array_equal(K, [[200, 0, 119], [0, 200, 91], [0, 0, 1]])


def test_images_that_the_scene_lacks_are_removed(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), views)
    (scene_dir / "images" / "view_3.png").unlink()
    write_manifest(scene_dir, ["view_0.png", "view_1.png", "view_2.png"])
    assert run(scene_dir)["registered"] == 3
    assert sorted(load_cameras(scene_dir / "out")) == ["view_0.png", "view_1.png", "view_2.png"]


def test_too_few_images_in_it(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), dict(list(views.items())[:3]))
    with pytest.raises(ReconstructionError, match=r"only 3 of 4.*view_3\.png.*existing: ignore"):
        run(scene_dir)


def test_names_do_not_match(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), {f"other_{n}": p for n, p in views.items()})
    with pytest.raises(InputError, match=r"none of its 4 images.*other_view_0.*view_0"):
        run(scene_dir)


def test_other_image_size(scene):
    scene_dir, views = scene
    camera = lens()
    camera.rescale(480, 360)
    write_sparse(scene_dir / "sparse", camera, views)
    with pytest.raises(InputError, match=r"240 x 180.*480 x 360"):
        run(scene_dir)


def test_missing_damaged_or_infinite(scene):
    scene_dir, views = scene
    sparse = scene_dir / "sparse"
    write_sparse(sparse, lens(), views)
    points = (sparse / "points3D.bin").read_bytes()
    (sparse / "points3D.bin").unlink()
    with pytest.raises(InputError, match=r"points3D\.bin not found"):
        run(scene_dir)
    (sparse / "points3D.bin").write_bytes(points[: len(points) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        run(scene_dir)
    broken = dict(views)
    broken["view_2.png"] = np.array(views["view_2.png"])
    broken["view_2.png"][0, 3] = np.nan
    write_sparse(sparse, lens(), broken)
    with pytest.raises(InputError, match=r"view_2\.png has values that are not finite"):
        run(scene_dir)


def test_required_but_absent(scene):
    with pytest.raises(InputError, match="existing: require"):
        run(scene[0], ColmapConfig(existing="require"))


def rewrite(folder, change):
    """Change the poses of a written model, its errors as they were."""
    model = pycolmap.Reconstruction(folder)
    for image_id in model.reg_image_ids():
        image = model.image(image_id)
        frame = model.frame(image.frame_id)
        frame.set_cam_from_world(image.camera_id, change(image.cam_from_world()))
    model.write(folder)


OPENGL = pycolmap.Rigid3d(pycolmap.Rotation3d(np.diag([1.0, -1.0, -1.0])), np.zeros(3))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda pose: pose.inverse(), "of its points lie behind|px from their observations"),
        (lambda pose: OPENGL * pose, "100% of its points lie behind cameras"),
    ],
)
def test_poses_of_another_convention(scene, change, what):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), views)
    rewrite(scene_dir / "sparse", change)
    with pytest.raises(InputError, match=rf"({what}).*camera-to-world"):
        run(scene_dir)


def test_permuted_names(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), views)
    poses = list(views.values())
    given = iter([*poses[1:], poses[0]])
    rewrite(scene_dir / "sparse", lambda _: pycolmap.Rigid3d(next(given)[:3]))
    with pytest.raises(InputError, match=r"px from their observations.*renamed"):
        run(scene_dir)


def test_errors_are_recomputed(scene):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), views)
    model = pycolmap.Reconstruction(scene_dir / "sparse")
    for point in model.points3D.values():
        point.error = 0.25
    for image in model.images.values():
        for point in image.points2D:
            point.xy = point.xy + np.array([2.0, 0.0])
    model.write(scene_dir / "sparse")
    assert run(scene_dir)["mean_reprojection_error_px"] == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize(("value", "what"), [("0", "zero"), ("nan", "")])
def test_a_pose_in_text_that_is_none(scene, value, what):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), views)
    model = pycolmap.Reconstruction(scene_dir / "sparse")
    for file in (scene_dir / "sparse").iterdir():
        file.unlink()
    model.write_text(scene_dir / "sparse")
    for old in ("rigs.txt", "frames.txt"):
        (scene_dir / "sparse" / old).unlink(missing_ok=True)
    images = scene_dir / "sparse" / "images.txt"
    lines = images.read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    words = lines[first].split()
    lines[first] = " ".join([words[0], *[value] * 4, *words[5:]])
    images.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=f"cannot be used: .*{what}"):
        run(scene_dir)


def test_binary_beside_text_is_named(scene, caplog):
    scene_dir, views = scene
    write_sparse(scene_dir / "sparse", lens(), views)
    (scene_dir / "sparse" / "images.txt").write_text("edited\n")
    run(scene_dir)
    assert "has .bin and .txt files: .bin is read, .txt is not" in caplog.text
