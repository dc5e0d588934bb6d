from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData

from gradiseg_core.errors import InputError
from gradiseg_core.files.trained import load_trained, read_ply, save_trained, write_ply
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from tests.splatting.gaussians.made import make


@pytest.fixture
def values() -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in make(7).params.items()}


def test_every_property_as_plyfile_reads_it(tmp_path: Path, values: dict) -> None:
    write_ply(tmp_path / "cloud.ply", values)
    ply = PlyData.read(str(tmp_path / "cloud.ply"))
    assert ply.byte_order == "<"
    vertex = ply["vertex"]
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    expected += [f"f_rest_{i}" for i in range(45)]
    expected += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert [p.name for p in vertex.properties] == expected
    assert all(p.val_dtype == "f4" for p in vertex.properties)
    quats = values["quats"] / values["quats"].norm(dim=1, keepdim=True)
    for axis in range(3):
        np.testing.assert_array_equal(vertex["xyz"[axis]], values["means"][:, axis])
        np.testing.assert_array_equal(vertex[f"n{'xyz'[axis]}"], 0.0)
        np.testing.assert_array_equal(vertex[f"f_dc_{axis}"], values["sh0"][:, 0, axis])
        np.testing.assert_array_equal(vertex[f"scale_{axis}"], values["scales"][:, axis])
        for order in range(15):  # 3DGS: all of red, then all of green, then all of blue
            np.testing.assert_array_equal(
                vertex[f"f_rest_{15 * axis + order}"], values["shN"][:, order, axis]
            )
    np.testing.assert_array_equal(vertex["opacity"], values["opacities"])
    for part in range(4):
        np.testing.assert_allclose(vertex[f"rot_{part}"], quats[:, part], rtol=1e-6)


def test_another_program_reads_the_same_gaussians(tmp_path: Path, values: dict) -> None:
    gsply = pytest.importorskip("gsply", reason="pip install gsply")
    write_ply(tmp_path / "cloud.ply", values)
    data = gsply.plyread(str(tmp_path / "cloud.ply"))
    np.testing.assert_array_equal(data.means, values["means"])
    np.testing.assert_array_equal(data.scales, values["scales"])
    np.testing.assert_array_equal(np.asarray(data.opacities).reshape(-1), values["opacities"])
    np.testing.assert_array_equal(np.asarray(data.sh0).reshape(-1, 3), values["sh0"][:, 0])
    quats = values["quats"] / values["quats"].norm(dim=1, keepdim=True)
    np.testing.assert_allclose(data.quats, quats, rtol=1e-6)
    assert np.asarray(data.shN).shape == (7, 15, 3)
    np.testing.assert_array_equal(data.shN, values["shN"])


def test_scene_round_trip(tmp_path: Path, values: dict) -> None:
    classifier = IdentityClassifier(9, 16)
    save_trained(tmp_path, values, classifier, {"variant": "igd"})
    scene = load_trained(tmp_path)
    for name in ("means", "scales", "opacities", "sh0", "shN", "identities"):
        assert torch.equal(getattr(scene, name), values[name])
    assert torch.equal(scene.classifier.weight, classifier.weight)
    assert torch.equal(scene.classifier.bias, classifier.bias)
    assert scene.metadata == {"variant": "igd"}


def test_files_of_different_runs_are_refused(tmp_path: Path, values: dict) -> None:
    save_trained(tmp_path, values, IdentityClassifier(9, 16), {})
    write_ply(tmp_path / "point_cloud.ply", {n: v[:3] for n, v in values.items()})
    with pytest.raises(InputError, match=r"3 Gaussians.*7"):
        load_trained(tmp_path)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained scene"):
        read_ply(tmp_path / "none.ply")
    (tmp_path / "text.ply").write_text("hello")
    with pytest.raises(InputError, match="not a binary 3DGS point cloud"):
        read_ply(tmp_path / "text.ply")


def test_a_file_cut_short_is_refused(tmp_path: Path, values: dict) -> None:
    write_ply(tmp_path / "cloud.ply", values)
    content = (tmp_path / "cloud.ply").read_bytes()
    (tmp_path / "cloud.ply").write_bytes(content[:-100])
    with pytest.raises(InputError, match="cut short"):
        read_ply(tmp_path / "cloud.ply")


def test_zero_gaussians_still_make_a_valid_file(tmp_path: Path, values: dict) -> None:
    write_ply(tmp_path / "cloud.ply", {name: value[:0] for name, value in values.items()})
    assert len(PlyData.read(str(tmp_path / "cloud.ply"))["vertex"]) == 0
    assert len(read_ply(tmp_path / "cloud.ply")["means"]) == 0


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_every_file_follows_the_umask(tmp_path: Path, values: dict, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_trained(tmp_path, values, IdentityClassifier(4, values["identities"].shape[1]), {})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o666 & ~umask}, modes
    assert len(modes) == 3
