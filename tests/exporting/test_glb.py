"""GLB with KHR_gaussian_splatting, as pygltflib and trimesh read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.errors import InputError
from gradiseg_core.exporting import glb
from gradiseg_core.exporting.glb import write_glb
from tests.exporting import clouds

_K = "KHR_gaussian_splatting:"


def test_every_attribute_as_pygltflib_reads_it(tmp_path: Path) -> None:
    cloud = clouds.make(80)
    write_glb(
        tmp_path / "a.glb", cloud, turned=False, object_id=True, extras={"objects": {"1": "mug"}}
    )
    document, found, node = clouds.glb(tmp_path / "a.glb")
    primitive = document.meshes[0].primitives[0]
    assert primitive.mode == 0  # points
    assert document.extensionsUsed == ["KHR_gaussian_splatting"]
    assert document.meshes[0].extras == {"objects": {"1": "mug"}}
    extension = primitive.extensions["KHR_gaussian_splatting"]
    assert extension["kernel"] == "ellipse"
    assert extension["colorSpace"] == "srgb_rec709_display"
    np.testing.assert_array_equal(found["POSITION"], cloud.means)
    accessor = document.accessors[primitive.attributes.POSITION]
    np.testing.assert_array_equal(np.float32(accessor.min), cloud.means.min(axis=0))
    np.testing.assert_array_equal(np.float32(accessor.max), cloud.means.max(axis=0))
    quats = cloud.quats / np.linalg.norm(cloud.quats, axis=1, keepdims=True)
    np.testing.assert_allclose(found[_K + "ROTATION"], quats[:, [1, 2, 3, 0]], atol=1e-6)
    np.testing.assert_allclose(found[_K + "SCALE"], np.exp(cloud.scales), rtol=1e-6)
    opacity = 1 / (1 + np.exp(-cloud.opacities.astype(float)))
    np.testing.assert_allclose(found[_K + "OPACITY"][:, 0], opacity, rtol=1e-6)
    np.testing.assert_array_equal(found[_K + "SH_DEGREE_0_COEF_0"], cloud.sh0)
    place = 0
    for degree in (1, 2, 3):
        for order in range(2 * degree + 1):
            name = f"{_K}SH_DEGREE_{degree}_COEF_{order}"
            np.testing.assert_array_equal(found[name], cloud.shN[:, place])
            place += 1
    np.testing.assert_array_equal(found["_OBJECT_ID"][:, 0], cloud.ids)
    assert node == {"mesh": 0, "rotation": [1.0, 0.0, 0.0, 0.0]}


def test_harmonics_that_were_not_trained_are_left_out(tmp_path: Path) -> None:
    for degree in (0, 2):
        write_glb(tmp_path / "a.glb", clouds.make(9, degree), turned=True, extras={})
        _, found, node = clouds.glb(tmp_path / "a.glb")
        degrees = {name.split("_")[4] for name in found if "SH_DEGREE" in name}
        assert degrees == {str(d) for d in range(degree + 1)}
        assert node == {"mesh": 0}
        assert "_OBJECT_ID" not in found


def test_both_ways_stand_upright_in_trimesh(tmp_path: Path) -> None:
    """The node's turn, or the numbers': y is up either way, and map coordinates are kept."""
    trimesh = pytest.importorskip("trimesh")
    cloud = clouds.make(30, offset=(4e6, 5e5, 100.0))
    world = cloud.means.astype(float) + cloud.offset
    write_glb(tmp_path / "node.glb", cloud, turned=False, extras={})
    write_glb(tmp_path / "numbers.glb", cloud.y_up(), turned=True, extras={})
    for name in ("node.glb", "numbers.glb"):
        scene = trimesh.load(tmp_path / name)
        (node,) = scene.graph.nodes_geometry
        transform, geometry = scene.graph[node]
        points = np.asarray(scene.geometry[geometry].vertices, np.float64)
        shown = points @ transform[:3, :3].T + transform[:3, 3]
        np.testing.assert_allclose(shown, world * [1, -1, -1], atol=1e-4)


def test_colours_of_points_are_linear(tmp_path: Path) -> None:
    cloud = clouds.make(3)
    rgb = np.array([[0.0, 0.5, 1.0]] * 3)
    cloud.sh0[:] = (rgb - 0.5) / 0.28209479177387814
    write_glb(tmp_path / "a.glb", cloud, turned=False, extras={})
    found = clouds.glb(tmp_path / "a.glb")[1]["COLOR_0"]
    np.testing.assert_allclose(found[:, :3], [[0.0, 0.21404114, 1.0]] * 3, atol=1e-6)
    np.testing.assert_allclose(found[:, 3], 1 / (1 + np.exp(-cloud.opacities)), rtol=1e-6)


def test_what_no_glb_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = clouds.make(10)
    with pytest.raises(InputError, match="no Gaussian is left"):
        write_glb(tmp_path / "a.glb", cloud.take(np.zeros(10, bool)), turned=False, extras={})
    monkeypatch.setattr(glb, "_MOST_BYTES", 3000)
    with pytest.raises(InputError, match="more than a GLB file can hold"):
        write_glb(tmp_path / "a.glb", cloud, turned=False, extras={})
    assert not (tmp_path / "a.glb").exists()
