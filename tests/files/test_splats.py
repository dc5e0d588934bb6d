"""PLY files of Gaussians as other trainers write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from gradiseg_core.errors import InputError
from gradiseg_core.files.splats import read_nerfstudio_transform, read_splats

COUNT = 6


def properties(rest: int, normals: bool = True) -> list[str]:
    names = ["x", "y", "z", *(["nx", "ny", "nz"] if normals else [])]
    names += [f"f_dc_{i}" for i in range(3)] + [f"f_rest_{i}" for i in range(rest)]
    return [*names, "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]


def write(path: Path, names: list[str], *, kind: str = "f4", order: str = "<", **other) -> dict:
    """Write a PLY by plyfile; return its values by name."""
    generator = np.random.default_rng(len(names))
    rows = np.empty(COUNT, [(name, other.get(name, kind)) for name in names])
    for name in names:
        rows[name] = 10 * generator.normal(size=COUNT)
    PlyData([PlyElement.describe(rows, "vertex")], byte_order=order).write(str(path))
    return {name: rows[name].astype(np.float32) for name in names}


@pytest.mark.parametrize(("rest", "degree"), [(0, 0), (9, 1), (24, 2), (45, 3)])
def test_every_degree_as_3dgs_and_gsplat_write_it(tmp_path: Path, rest: int, degree: int) -> None:
    path = tmp_path / "a.ply"
    values = write(path, properties(rest, normals=degree % 2 == 0))
    splats = read_splats(path)
    assert splats.degree == degree
    found = splats.values
    np.testing.assert_array_equal(found["means"], np.stack([values[n] for n in "xyz"], axis=1))
    np.testing.assert_array_equal(found["opacities"], values["opacity"])
    np.testing.assert_array_equal(found["scales"][:, 2], values["scale_2"])
    np.testing.assert_array_equal(found["sh0"][:, 0, 1], values["f_dc_1"])
    quats = np.stack([values[f"rot_{i}"] for i in range(4)], axis=1)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    np.testing.assert_allclose(found["quats"], quats, rtol=1e-5)
    each = rest // 3
    for channel in range(3):
        for k in range(15):
            expected = values[f"f_rest_{each * channel + k}"] if k < each else np.zeros(COUNT)
            np.testing.assert_array_equal(found["shN"][:, k, channel], expected)


def test_order_types_and_further_properties_do_not_matter(tmp_path: Path) -> None:
    names = [*reversed(properties(9)), "object_id", "obj_dc_0", "obj_dc_1"]
    values = write(tmp_path / "a.ply", names, kind="f8", order=">", object_id="u2")
    splats = read_splats(tmp_path / "a.ply")
    np.testing.assert_array_equal(splats.values["means"][:, 1], values["y"])
    encodings = splats.numbered("obj_dc_")
    assert encodings is not None
    np.testing.assert_array_equal(encodings[:, 1], values["obj_dc_1"])
    assert splats.numbered("nothing_") is None


def without(*gone: str) -> list[str]:
    return [name for name in properties(45) if name not in gone]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x", "y", "z", "red", "green", "blue"], "no f_dc_0.*a coloured point cloud"),
        (without("opacity"), "it has no opacity"),
        (without("f_rest_44"), "44 coefficients f_rest_<i>; degrees 0 to 3 have 0, 9, 24, 45"),
        ([*properties(45), *(f"f_rest_{i}" for i in range(45, 72))], "72 coefficients"),
        (without("rot_3"), "3 scales and 3 numbers of a rotation"),
        (without("scale_2"), "no scale_2"),
    ],
)
def test_what_is_no_ply_of_gaussians_is_named(
    tmp_path: Path, names: list[str], message: str
) -> None:
    write(tmp_path / "a.ply", names)
    with pytest.raises(InputError, match=message):
        read_splats(tmp_path / "a.ply")


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    with pytest.raises(InputError, match="is not a file"):
        read_splats(path)
    write(path, properties(45))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(InputError, match="cut short: 6 Gaussians take"):
        read_splats(path)
    path.write_bytes(whole.replace(b"vertex 6", b"vertex 0"))
    with pytest.raises(InputError, match="holds no Gaussian"):
        read_splats(path)
    path.write_bytes(b"\x1f\x8b spz")
    with pytest.raises(InputError, match=r"not a PLY file.*splat-transform"):
        read_splats(path)
    path.write_bytes(whole.replace(b"binary_little_endian", b"ascii"))
    with pytest.raises(InputError, match="format ascii"):
        read_splats(path)
    path.write_bytes(whole.replace(b"property float x", b"property list uchar int x"))
    with pytest.raises(InputError, match="property list uchar int x"):
        read_splats(path)


def test_a_compressed_ply_is_named(tmp_path: Path) -> None:
    from gradiseg_core.exporting.packed import write_compressed_ply
    from tests.exporting import clouds

    write_compressed_ply(tmp_path / "a.compressed.ply", clouds.make(9))
    with pytest.raises(InputError, match="compressed PLY, whose values are rounded"):
        read_splats(tmp_path / "a.compressed.ply")


def test_a_value_that_is_not_finite_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.ply", properties(45))
    ply = PlyData.read(str(tmp_path / "a.ply"))
    ply["vertex"]["opacity"][4] = np.inf
    ply.write(str(tmp_path / "b.ply"))
    with pytest.raises(InputError, match=r"opacities of 1 of 6 Gaussians.*Gaussian 4"):
        read_splats(tmp_path / "b.ply")


def test_where_nerfstudio_moved_a_scene(tmp_path: Path) -> None:
    path = tmp_path / "dataparser_transforms.json"
    turn = [[0.0, -1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 1.0, 3.0]]
    path.write_text(json.dumps({"transform": turn, "scale": 0.5}))
    found = read_nerfstudio_transform(path)
    assert found.scale == 0.5
    np.testing.assert_array_equal(found.rotation @ [1, 0, 0], [0, 1, 0])
    np.testing.assert_array_equal(found.translation, [1, 2, 3])
    for content, why in (
        ({"transform": turn}, "scale"),
        ({"transform": turn[:2], "scale": 1.0}, "not 3 x 4"),
        ({"transform": (2 * np.array(turn)).tolist(), "scale": 1.0}, "not a rotation"),
        ({"transform": [turn[1], turn[0], turn[2]], "scale": 1.0}, None),
        ({"transform": [[-v for v in turn[0]], turn[1], turn[2]], "scale": 1.0}, "mirrors"),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=why or "mirrors"):
            read_nerfstudio_transform(path)
    with pytest.raises(InputError, match="beside the run's"):
        read_nerfstudio_transform(tmp_path / "other.json")


@pytest.mark.parametrize("degree", [0, 3])
def test_a_file_of_gsplat(tmp_path: Path, degree: int) -> None:
    """By its own exporter, whose order of properties is another."""
    torch = pytest.importorskip("torch")
    exporter = pytest.importorskip("gsplat.exporter", reason="pip install gsplat==1.5.3")
    generator = torch.Generator().manual_seed(degree)

    def normal(*shape: int) -> object:
        return torch.randn(COUNT, *shape, generator=generator)

    values = {
        "means": normal(3),
        "scales": normal(3),
        "quats": torch.nn.functional.normalize(normal(4), dim=1),
        "opacities": normal(),
        "sh0": normal(1, 3),
        "shN": normal((degree + 1) ** 2 - 1, 3),
    }
    exporter.export_splats(**values, format="ply", save_to=str(tmp_path / "a.ply"))
    splats = read_splats(tmp_path / "a.ply")
    assert splats.degree == degree
    for name in ("means", "scales", "opacities", "sh0"):
        assert torch.equal(splats.values[name], values[name]), name
    torch.testing.assert_close(splats.values["quats"], values["quats"])
    assert torch.equal(splats.values["shN"][:, : values["shN"].shape[1]], values["shN"])
