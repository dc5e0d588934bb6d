"""Cameras of nerfstudio, instant-ngp and NeRF's Blender scenes; models without points."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pycolmap
import pytest
from PIL import Image

from gradiseg_core.cameras import Camera
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.inputs import given_files
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.exporting.cameras import write_nerfstudio
from gradiseg_core.files.colmap import load_cameras, load_points, load_user_cameras
from gradiseg_core.files.view_names import match_names
from gradiseg_core.stages.scene.stage import prepare
from gradiseg_core.stages.scene.transforms import read_transforms
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import HEIGHT, WIDTH, lens, make_scene, poses, render, write_sparse

CONFIG = ColmapConfig(max_features=500)
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def frame(path, pose, **more):
    return {"file_path": path, "transform_matrix": (np.linalg.inv(pose) @ OPENGL).tolist(), **more}


def run(folder, out, config=CONFIG, **scene):
    """Stages `scene` and `colmap` of a user's folder."""
    prepare(SceneConfig(source="folder", path=folder, **scene), out, name="mine")
    return reconstruct(out, out / "colmap", config, seed=0, threads=2)


@pytest.fixture
def corner(tmp_path):
    """Folder with `images/`, and the true poses by name."""
    cameras, _ = make_scene(tmp_path / "made", count=6)
    shutil.copytree(tmp_path / "made" / "images", tmp_path / "mine" / "images")
    return tmp_path / "mine", {name: camera.cam_from_world for name, camera in cameras.items()}


TOP = {"fl_x": 230.0, "fl_y": 230.0, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT}


def write_transforms(folder, frames, name="transforms.json", **top):
    (folder / name).write_text(json.dumps({**top, "frames": frames}))


def on_walls(xyz, share=0.9):
    """Most points lie on one of the planes x = 0, y = 0, z = 0."""
    return (np.abs(xyz).min(axis=1) < 0.02).mean() > share


@pytest.mark.parametrize("ending", [".png", ""])
def test_poses_are_used_as_they_are_and_points_are_triangulated(corner, tmp_path, caplog, ending):
    caplog.set_level("INFO")
    folder, views = corner
    frames = [frame(f"./images/{n.removesuffix('.png')}{ending}", p) for n, p in views.items()]
    applied = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]]  # of no concern: the poses have it
    write_transforms(folder, frames, **TOP, applied_transform=applied, camera_model="OPENCV")
    report = run(folder, tmp_path / "out")
    assert (report["source"], report["points_from"]) == ("existing", "triangulated")
    assert report["registered"] == 6
    cameras = load_cameras(tmp_path / "out" / "colmap")
    for name, pose in views.items():
        np.testing.assert_allclose(cameras[name].cam_from_world, pose, atol=1e-9)
        np.testing.assert_allclose(cameras[name].K, lens().calibration_matrix())
    xyz, rgb = load_points(tmp_path / "out" / "colmap")
    assert len(xyz) > 100
    assert on_walls(xyz)
    assert rgb.std() > 5  # coloured by the photographs
    assert "6 cameras (PINHOLE) from" in caplog.text
    assert folder / "transforms.json" in given_files(SceneConfig(source="folder", path=folder))


def test_points_that_come_with_the_cameras_are_used(corner, tmp_path):
    folder, views = corner
    write_transforms(
        folder, [frame(f"images/{n}", p) for n, p in views.items()], **TOP, ply_file_path="pc.ply"
    )
    rng = np.random.default_rng(1)
    xyz = rng.uniform(0.02, 1.2, (700, 3))
    xyz[np.arange(700), np.arange(700) % 3] = 0.0
    rows = "".join(f"{x:.6f} {y:.6f} {z:.6f} 10 20 30\n" for x, y, z in xyz)
    kinds = [*(f"property float {c}" for c in "xyz"), *(
        f"property uchar {c}" for c in ("red", "green", "blue"))]  # fmt: skip
    head = "\n".join(["ply", "format ascii 1.0", "element vertex 700", *kinds, "end_header\n"])
    (folder / "pc.ply").write_text(head + rows)
    report = run(folder, tmp_path / "out")
    assert (report["points"], report["tracks"]) == (700, "projected")
    found, rgb = load_points(tmp_path / "out" / "colmap")
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(xyz, axis=0), atol=1e-5)
    assert (rgb == [10, 20, 30]).all()
    assert folder / "pc.ply" in given_files(SceneConfig(source="folder", path=folder))


def test_every_frame_may_have_its_own_lens(tmp_path):
    """Three pinholes, three lenses with k1 and k2, from one file; angles of view as well."""
    folder, frames = tmp_path / "mine", []
    (folder / "images").mkdir(parents=True)
    bent = pycolmap.Camera(
        model="OPENCV", width=WIDTH, height=HEIGHT,
        params=[230, 230, WIDTH / 2, HEIGHT / 2, -0.1, 0.01, 0.0, 0.0],
    )  # fmt: skip
    for index, pose in enumerate(poses(6)):
        camera = bent if index % 2 else lens()
        Image.fromarray(render(camera, pose)[0]).save(folder / "images" / f"{index}.png")
        own = {"k1": -0.1, "k2": 0.01, "fl_x": 230.0, "fl_y": 230.0} if index % 2 else {
            "camera_angle_x": 2 * math.atan(WIDTH / 460)}  # fmt: skip
        frames.append(frame(f"images/{index}.png", pose, **own))
    write_transforms(folder, frames)  # neither sizes nor principal points
    report = run(folder, tmp_path / "out")
    assert report["camera_models"] == ["OPENCV", "PINHOLE"]
    assert report["distortion"]
    assert on_walls(load_points(tmp_path / "out" / "colmap")[0])


@pytest.mark.parametrize("model", ["OPENCV_FISHEYE", "FULL_OPENCV"])
def test_fisheye_and_other_lenses_are_undistorted(tmp_path, model):
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    k = {"OPENCV_FISHEYE": [0.05, -0.01, 0, 0], "FULL_OPENCV": [-0.1, 0.01, 0, 0, 0.02, 0, 0, 0]}
    camera = pycolmap.Camera(
        model=model, width=WIDTH, height=HEIGHT,
        params=[200, 200, WIDTH / 2, HEIGHT / 2, *k[model]],
    )  # fmt: skip
    for index, pose in enumerate(poses(6)):
        Image.fromarray(render(camera, pose)[0]).save(folder / "images" / f"{index}.png")
    own = dict(zip(("k1", "k2", "k3", "k4"), k[model], strict=False))
    if model == "FULL_OPENCV":
        own = {"k1": -0.1, "k2": 0.01, "k3": 0.02}
    kind = {"camera_model": "OPENCV_FISHEYE" if model == "OPENCV_FISHEYE" else "OPENCV"}
    frames = [frame(f"images/{i}.png", pose) for i, pose in enumerate(poses(6))]
    write_transforms(folder, frames, **(TOP | {"fl_x": 200.0, "fl_y": 200.0}), **own, **kind)
    report = run(folder, tmp_path / "out")
    assert report["camera_models"] == [model]
    assert on_walls(load_points(tmp_path / "out" / "colmap")[0])
    cameras = load_cameras(tmp_path / "out" / "colmap")
    for index, pose in enumerate(poses(6)):  # what was undistorted is what a pinhole sees
        name = f"{index}.png"
        pinhole = pycolmap.Camera(
            model="PINHOLE", width=cameras[name].width, height=cameras[name].height,
            params=[cameras[name].K[i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))],
        )  # fmt: skip
        with Image.open(tmp_path / "out" / "colmap" / "images" / name) as file:
            difference = np.abs(np.asarray(file, float) - render(pinhole, pose)[0])
        assert np.median(difference) < 6


def test_scenes_of_blender_have_a_file_for_each_split(tmp_path):
    folder = tmp_path / "lego"
    for index, pose in enumerate(poses(6)):
        split = "test" if index % 3 == 0 else "train"
        (folder / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(lens(), pose)[0]).save(folder / split / f"r_{index}.png")
    angle = {"camera_angle_x": 2 * math.atan(WIDTH / 460)}
    for split in ("train", "test"):
        frames = [
            frame(f"./{split}/r_{i}", pose)
            for i, pose in enumerate(poses(6))
            if (i % 3 == 0) == (split == "test")
        ]
        write_transforms(folder, frames, f"transforms_{split}.json", **angle)
    report = run(folder, tmp_path / "out")
    assert report["registered"] == 6
    assert "train_r_1.png" in load_cameras(tmp_path / "out" / "colmap")


def test_what_the_product_exports_for_nerfstudio_is_read_back(corner, tmp_path):
    folder, views = corner
    K = lens().calibration_matrix()
    cameras = {name: Camera(name, WIDTH, HEIGHT, K, pose) for name, pose in views.items()}
    rng = np.random.default_rng(1)
    xyz = rng.uniform(0.02, 1.2, (700, 3))
    xyz[np.arange(700), np.arange(700) % 3] = 0.0
    colours = rng.integers(0, 256, (700, 3), np.uint8)
    write_nerfstudio(folder, cameras, folder / "images", {}, xyz, colours)
    report = run(folder, tmp_path / "out")
    assert (report["registered"], report["points"]) == (6, 700)
    for name, camera in load_cameras(tmp_path / "out" / "colmap").items():
        np.testing.assert_allclose(camera.cam_from_world, views[name], atol=1e-9)
    found, rgb = load_points(tmp_path / "out" / "colmap")
    np.testing.assert_allclose(found, xyz, atol=1e-6)
    np.testing.assert_array_equal(rgb, colours)


@pytest.mark.parametrize("offset", [[500_000.0, 4_000_000.0, 100.0], [0.0, 0.0, 0.0]])
def test_map_coordinates_are_kept(corner, tmp_path, offset):
    folder, views = corner
    shift = np.eye(4)
    shift[:3, 3] = -np.array(offset)
    write_transforms(folder, [frame(f"images/{n}", p @ shift) for n, p in views.items()], **TOP)
    run(folder, tmp_path / "out")
    out = tmp_path / "out" / "colmap"
    for name, camera in load_user_cameras(out).items():
        center = np.linalg.inv(views[name])[:3, 3] + offset
        np.testing.assert_allclose(camera.center_in_world, center, atol=1e-6)
    for camera in load_cameras(out).values():
        assert np.linalg.norm(camera.center_in_world) < 10  # trained near the origin
    assert json.loads((out / "frame.json").read_text())["scale"] == 1.0


def test_poses_with_other_axes_are_refused(corner, tmp_path):
    folder, views = corner
    frames = [
        {"file_path": f"images/{n}", "transform_matrix": np.linalg.inv(p).tolist()}
        for n, p in views.items()
    ]
    write_transforms(folder, frames, **TOP)
    with pytest.raises(InputError, match=r"poses do not fit.*OpenGL's axes"):
        run(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": []}, "no `frames`"),
        ({"fl_x": "wide"}, "`fl_x` is no finite number"),
        ({"fl_x": None}, "`fl_x` is no finite number"),
        ({"camera_model": "EQUIRECTANGULAR"}, "EQUIRECTANGULAR` is not read"),
        ({"k4": 0.1}, "`k4` is not read"),
    ],
)
def test_what_cannot_be_read_is_said(corner, change, said):
    folder, views = corner
    content = {**TOP, "frames": [frame(f"images/{n}", p) for n, p in views.items()], **change}
    (folder / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=said):
        read_transforms(folder / "transforms.json", folder / "images")


def test_a_damaged_file_says_what_to_do(corner, tmp_path):
    folder, _ = corner
    (folder / "transforms.json").write_text("{")
    with pytest.raises(InputError, match=r"transforms\.json cannot be read.*or move it away"):
        run(folder, tmp_path / "out")


def test_mirrored_axes_are_refused(corner):
    folder, views = corner
    name, pose = next(iter(views.items()))
    write_transforms(folder, [frame(f"images/{name}", pose @ np.diag([1, 1, -1, 1]))], **TOP)
    with pytest.raises(InputError, match="no rotation"):
        read_transforms(folder / "transforms.json", folder / "images")


def test_a_colmap_model_is_preferred(corner):
    folder, views = corner
    write_transforms(folder, [frame(f"images/{n}", p) for n, p in views.items()], **TOP)
    assert find_given(folder).transforms == (folder / "transforms.json",)
    assert find_given(folder / "images").transforms == (folder / "transforms.json",)
    write_sparse(folder / "sparse" / "0", lens(), views)
    assert find_given(folder).transforms == ()
    assert find_given(folder).sparse == folder / "sparse"


def test_a_colmap_model_without_points_gets_them(corner, tmp_path):
    folder, views = corner
    write_sparse(folder / "sparse" / "0", lens(), views, detected=False)
    report = run(folder, tmp_path / "out")
    assert report["points_from"] == "triangulated"
    assert on_walls(load_points(tmp_path / "out" / "colmap")[0])


def test_names_in_sub_folders_are_found(tmp_path):
    """Two cameras of one rig: left/1.png and right/1.png; the model also has one that is gone."""
    folder, views = tmp_path / "mine", {}
    for index, pose in enumerate(poses(6)):
        side = ("left", "right")[index % 2]
        (folder / "images" / side).mkdir(parents=True, exist_ok=True)
        Image.fromarray(render(lens(), pose)[0]).save(
            folder / "images" / side / f"{index // 2}.png"
        )
        views[f"{side}/{index // 2}.jpg"] = pose
    write_sparse(folder / "sparse" / "0", lens(), views | {"left/9.jpg": poses(9)[4]})
    report = run(folder, tmp_path / "out")
    assert (report["registered"], report["left_out"]) == (6, [])
    cameras = load_cameras(tmp_path / "out" / "colmap")
    np.testing.assert_allclose(
        cameras["right_0.png"].cam_from_world, views["right/0.jpg"], atol=1e-12
    )


@pytest.mark.parametrize(
    ("wanted", "known", "found"),
    [
        (["a.png"], {"a.png": "a.png"}, {"a.png": "a.png"}),
        (["./images/a"], {"a.png": "a.png"}, {"./images/a": "a.png"}),
        (["a.JPG"], {"a.png": "a.png"}, {"a.JPG": "a.png"}),
        (["left/1.jpg"], {"left_1.jpg": "left/1.jpg"}, {"left/1.jpg": "left_1.jpg"}),
        (["data\\left\\1"], {"l_1.jpg": "left/1.jpg", "r_1.jpg": "right/1.jpg"},
         {"data\\left\\1": "l_1.jpg"}),
        (["1.jpg"], {"l_1.jpg": "left/1.jpg", "r_1.jpg": "right/1.jpg"}, {}),
        (["x/1.jpg", "y/1.jpg"], {"1.jpg": "1.jpg"}, {}),
        (["frame 1.5", "frame 1.6"], {"frame 1.5.png": "frame 1.5.png"},
         {"frame 1.5": "frame 1.5.png"}),
    ],
)  # fmt: skip
def test_whose_photograph_a_name_means(wanted, known, found):
    assert match_names(wanted, known) == found


@pytest.mark.parametrize("form", ["text", "transforms"])
def test_names_with_spaces_are_whole(tmp_path, form):
    """COLMAP's reader of text models cuts them at the first space, so that all are one."""
    made, _ = make_scene(tmp_path / "made", count=4)
    names = {f"cam {'ab'[k % 2]}/view no {k}.png": f"view_{k}.png" for k in range(4)}
    views = {name: made[old].cam_from_world for name, old in names.items()}
    folder = tmp_path / "mine"
    for name, old in names.items():
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "made" / "images" / old, folder / "images" / name)
    if form == "text":
        write_sparse(tmp_path / "binary", lens(), views)
        (folder / "sparse").mkdir()
        pycolmap.Reconstruction(tmp_path / "binary").write_text(folder / "sparse")
    else:
        write_transforms(folder, [frame(f"images/{name}", pose) for name, pose in views.items()],
                         **TOP)  # fmt: skip
    report = run(folder, tmp_path / "out")
    assert (report["source"], report["registered"]) == ("existing", 4)
    cameras = load_cameras(tmp_path / "out" / "colmap")
    for name, pose in views.items():
        found = cameras[name.replace("/", "_")].cam_from_world
        assert np.allclose(found, pose, atol=1e-6)
