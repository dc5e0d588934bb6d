"""PLY files, as plyfile, gsply and Open3D read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData

from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.errors import InputError
from gradiseg_core.exporting import packed, ply
from gradiseg_core.exporting.export import comments
from gradiseg_core.exporting.packed import fractional_bits, morton_order, write_compressed_ply
from gradiseg_core.exporting.packed import write_spz as spz
from tests.exporting import clouds


def test_every_property_as_plyfile_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ply, "_BLOCK", 64)  # the last block is not full
    cloud = clouds.make()
    ply.write_gaussians(tmp_path / "a.ply", cloud, object_id=True)
    found = clouds.properties(tmp_path / "a.ply")
    expected = clouds.as_properties(cloud)
    assert list(found) == [*expected, "object_id"]
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-7, err_msg=name)
        if not name.startswith("rot"):
            np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert found["object_id"].dtype == np.int32
    np.testing.assert_array_equal(found["object_id"], cloud.ids)


def test_gsply_reads_it_with_comments(tmp_path: Path) -> None:
    """It reads rows of 59 numbers, so `object_id` is not for it (docs/exporting.md)."""
    import gsply

    cloud = clouds.make(offset=(4e6, -5e5, 12.5))
    config = ExportConfig(format="ply")
    lines = comments(cloud, config, {2: "weißer Teekessel\nend_header"})
    ply.write_gaussians(tmp_path / "a.ply", cloud, comments=lines)
    data = gsply.plyread(str(tmp_path / "a.ply"))
    np.testing.assert_array_equal(data.means, cloud.means)
    np.testing.assert_array_equal(data.shN, cloud.shN)
    np.testing.assert_array_equal(np.ravel(data.opacities), cloud.opacities)
    written = PlyData.read(str(tmp_path / "a.ply")).comments
    assert "offset 4000000.0 -500000.0 12.5" in written
    assert r"object 2 wei\xdfer Teekessel end-header" in written
    assert any("units of the COLMAP model" in line for line in written)


def test_compressed_ply_as_gsply_reads_it(tmp_path: Path) -> None:
    import gsply

    cloud = clouds.make(3000)
    write_compressed_ply(tmp_path / "a.compressed.ply", cloud)
    data = gsply.plyread(str(tmp_path / "a.compressed.ply"))
    order = morton_order(cloud.means)
    assert sorted(order) == list(range(3000))
    np.testing.assert_allclose(data.means, cloud.means[order], atol=0.01)
    np.testing.assert_allclose(data.scales, cloud.scales[order], atol=0.01)
    np.testing.assert_allclose(data.shN, cloud.shN[order], atol=1 / 16)
    np.testing.assert_allclose(data.sh0, cloud.sh0[order], atol=0.05)
    opacity = 1 / (1 + np.exp(-np.ravel(data.opacities)))
    np.testing.assert_allclose(opacity, 1 / (1 + np.exp(-cloud.opacities[order])), atol=1 / 254)
    clouds.assert_same_rotations(data.quats, cloud.quats[order], degrees=0.6)


def test_blocks_make_the_file_that_gsply_makes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gsply

    for degree in (0, 3):
        cloud = clouds.make(1000, degree)
        cloud.opacities[:2] = (-20.0, 20.0)
        ordered = cloud.take(morton_order(cloud.means))
        whole = gsply.compress_to_bytes(packed._data(gsply, ordered))
        monkeypatch.setattr(packed, "_BLOCK", 256)
        write_compressed_ply(tmp_path / "a.compressed.ply", cloud)
        assert (tmp_path / "a.compressed.ply").read_bytes() == whole
        found = np.ravel(gsply.decompress_from_bytes(whole).opacities)
        assert np.abs(found).max() < 5.6  # gsply itself keeps 0 and 1 finite, others do not


def test_the_order_in_compressed_files_makes_them_exact(tmp_path: Path) -> None:
    """256 neighbours at a time span little; those that follow one another by chance do not."""
    import gsply

    cloud = clouds.make(20_000)
    write_compressed_ply(tmp_path / "sorted.compressed.ply", cloud)
    unsorted = gsply.GSData.from_arrays(
        means=cloud.means,
        scales=cloud.scales,
        quats=cloud.unit_quats(),
        opacities=cloud.opacities,
        sh0=cloud.sh0,
        format="ply",
    )
    found = gsply.plyread(str(tmp_path / "sorted.compressed.ply")).means
    plain = gsply.decompress_from_bytes(gsply.compress_to_bytes(unsorted)).means
    error = np.abs(found - cloud.means[morton_order(cloud.means)]).mean()
    assert 3 * error < np.abs(plain - cloud.means).mean()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_as_gsply_reads_it(tmp_path: Path, degree: int) -> None:
    """gsply returns what is stored: y up and z back, as the specification of SPZ has it."""
    import gsply

    cloud = clouds.make(500, degree)
    spz(tmp_path / "a.spz", cloud)
    data = gsply.read_spz(tmp_path / "a.spz")
    flip = np.array([1, -1, -1])
    np.testing.assert_allclose(data.means, cloud.means * flip, atol=1e-5)
    np.testing.assert_allclose(data.scales, cloud.scales, atol=1 / 32 + 1e-5)
    np.testing.assert_allclose(data.sh0, cloud.sh0, atol=0.014)
    opacity = 1 / (1 + np.exp(-np.ravel(data.opacities)))
    np.testing.assert_allclose(opacity, 1 / (1 + np.exp(-cloud.opacities)), atol=1 / 250)
    clouds.assert_same_rotations(data.quats, cloud.quats * [1, 1, -1, -1], degrees=0.5)
    if degree:
        turned = cloud.y_up().used_shn
        np.testing.assert_allclose(data.shN, turned, atol=1 / 256 + 1e-6)


def test_positions_in_spz_take_the_bits_that_there_are() -> None:
    for far, bits in ((1.0, 20), (100.0, 16), (3000.0, 11), (4.1e6, 1)):
        points = np.array([[far, 0, -far]], np.float32)
        assert fractional_bits(points) == bits
        assert np.abs(points).max() * 2**bits < 2**23
    with pytest.raises(InputError, match=r"4\.3e\+06 units from the origin"):
        fractional_bits(np.array([[0, 4.3e6, 0]], np.float32))
    with pytest.raises(InputError, match="nan units"):
        fractional_bits(np.array([[0, np.nan, 0]], np.float32))


def test_points_as_plyfile_reads_them(tmp_path: Path) -> None:
    cloud = clouds.make(50)
    points = cloud.means.astype(np.float64) + np.array([4e6, 5e5, 100.0])
    colours = np.arange(150, dtype=np.uint8).reshape(50, 3)
    ply.write_points(tmp_path / "a.ply", points, colours, ids=cloud.ids, confidence=cloud.certainty)
    found = clouds.properties(tmp_path / "a.ply")
    assert list(found) == ["x", "y", "z", "red", "green", "blue", "object_id", "confidence"]
    np.testing.assert_array_equal(np.stack([found[a] for a in "xyz"], axis=1), points)
    np.testing.assert_array_equal(found["green"], colours[:, 1])
    np.testing.assert_array_equal(found["object_id"], cloud.ids)
    np.testing.assert_array_equal(found["confidence"], cloud.certainty)


def test_points_as_open3d_reads_them(tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d", reason="pip install open3d (900 MB)")
    cloud = clouds.make(50)
    points = cloud.means.astype(np.float64) + np.array([4e6, 5e5, 100.0])
    colours = np.arange(150, dtype=np.uint8).reshape(50, 3)
    path = str(tmp_path / "a.ply")
    ply.write_points(Path(path), points, colours, ids=cloud.ids, confidence=cloud.certainty)
    legacy = open3d.io.read_point_cloud(path)
    np.testing.assert_array_equal(np.asarray(legacy.points), points)
    np.testing.assert_allclose(np.asarray(legacy.colors), colours / 255.0, atol=1e-9)
    new = open3d.t.io.read_point_cloud(path)
    np.testing.assert_array_equal(np.ravel(new.point["object_id"].numpy()), cloud.ids)
    np.testing.assert_array_equal(np.ravel(new.point["confidence"].numpy()), cloud.certainty)
