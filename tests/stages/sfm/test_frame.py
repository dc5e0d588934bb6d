"""Models in map coordinates or unusual units: trained in a frame that float32 holds."""

from __future__ import annotations

import json

import numpy as np
import pycolmap
import pytest
import torch

from gradiseg_core.cameras import Frame
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import (
    load_cameras,
    load_points,
    load_user_cameras,
    load_user_points,
)
from gradiseg_core.files.trained import load_trained, read_ply, save_trained
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import lens, make_scene, write_sparse

UTM = np.array([500000.0, 4000000.0, 100.0])


@pytest.fixture
def reconstructed(tmp_path):
    """Return a function: the colmap folder of a model that is scaled and moved."""
    cameras, _ = make_scene(tmp_path / "scene", count=4)
    write_sparse(tmp_path / "original", lens(), {n: c.cam_from_world for n, c in cameras.items()})

    def run(scale: float, shift: np.ndarray):
        model = pycolmap.Reconstruction(tmp_path / "original")
        model.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(), shift))
        folder = tmp_path / "scene" / "sparse"
        folder.mkdir(exist_ok=True)
        model.write_binary(folder)
        reconstruct(tmp_path / "scene", tmp_path / "out", ColmapConfig(), seed=0, threads=1)
        return tmp_path / "out"

    return run


def float32_error_px(colmap_dir) -> float:
    """How far float32 moves a point's projection, against float64 in the user's world."""
    exact = load_user_points(colmap_dir)
    points, _ = load_points(colmap_dir)
    worst = 0.0
    for name, camera in load_cameras(colmap_dir).items():
        truth = load_user_cameras(colmap_dir)[name]
        xy = []
        for pose, xyz in (
            (camera.cam_from_world.astype(np.float32), points.astype(np.float32)),
            (truth.cam_from_world, exact),
        ):
            in_camera = xyz @ pose[:3, :3].T + pose[:3, 3]
            xy.append((in_camera[:, :2] / in_camera[:, 2:]) * camera.K[0, 0])
        worst = max(worst, float(np.abs(xy[0] - xy[1]).max()))
    return worst


def test_a_harmless_frame_stays(reconstructed):
    out = reconstructed(1.0, np.array([5.0, -3.0, 2.0]))
    assert Frame.load(out).is_identity
    np.testing.assert_array_equal(load_points(out)[0], load_user_points(out))
    for name, camera in load_cameras(out).items():
        np.testing.assert_array_equal(
            camera.cam_from_world, load_user_cameras(out)[name].cam_from_world
        )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shift", [np.zeros(3), UTM])
def test_float32_holds_the_training_frame(reconstructed, scale, shift):
    out = reconstructed(scale, shift)
    assert float32_error_px(out) < 1e-3
    for camera in load_cameras(out).values():
        depth = (load_points(out)[0] @ camera.cam_from_world[2, :3]) + camera.cam_from_world[2, 3]
        assert 0.5 < np.median(depth) < 4
    frame = Frame.load(out)
    assert frame.is_identity == (scale == 1.0 and not shift.any())
    assert float(np.log2(frame.scale)).is_integer()
    model = pycolmap.Reconstruction(out / "sparse" / "0")  # the export: the user's own world
    given = pycolmap.Reconstruction(out.parent / "scene" / "sparse")
    for key, point in given.points3D.items():
        np.testing.assert_array_equal(model.points3D[key].xyz, point.xyz)
    xyz = np.array([given.points3D[key].xyz for key in sorted(given.points3D)])
    np.testing.assert_allclose(
        load_points(out)[0] / frame.scale + np.array(frame.offset),
        xyz,
        atol=1e-9 * max(1, np.abs(xyz).max()),
    )


def test_the_exported_cloud_is_in_the_units_of_the_user(tmp_path):
    frame = Frame(1024.0, (500000.0, 4000000.0, 100.0))
    user = np.array([[500000.0015, 4000000.002, 100.001], [499999.999, 4000000.0, 99.9985]])
    count = len(user)
    values = {
        "means": torch.from_numpy(frame.points(user).astype(np.float32)),
        "quats": torch.tensor([[1.0, 0.0, 0.0, 0.0]] * count),
        "scales": torch.log(torch.full((count, 3), 0.5)),
        "opacities": torch.zeros(count),
        "sh0": torch.zeros(count, 1, 3),
        "shN": torch.zeros(count, 15, 3),
        "identities": torch.zeros(count, 4),
    }
    save_trained(tmp_path, values, IdentityClassifier(3, 4), {}, frame)
    cloud = read_ply(tmp_path / "point_cloud.ply")
    offset = json.loads((tmp_path / "frame.json").read_text())["offset"]
    np.testing.assert_allclose(cloud["means"].numpy() + np.array(offset), user, atol=1e-8)
    np.testing.assert_allclose(cloud["scales"].exp().numpy(), 0.5 / 1024, rtol=1e-5)
    trained = load_trained(tmp_path)
    torch.testing.assert_close(trained.means, values["means"], rtol=0, atol=0)
    torch.testing.assert_close(trained.scales, values["scales"], rtol=1e-6, atol=1e-6)
    save_trained(tmp_path, values, IdentityClassifier(3, 4), {})
    assert not (tmp_path / "frame.json").exists()


def test_a_damaged_frame_is_named(tmp_path):
    (tmp_path / "frame.json").write_text('{"scale": 1.0')
    with pytest.raises(InputError, match=r"frame\.json is damaged"):
        Frame.load(tmp_path)
