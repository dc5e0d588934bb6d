"""Programs from npm: PlayCanvas's splat-transform reads and cuts, Khronos's validator looks."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.exporting.glb import write_glb
from gradiseg_core.exporting.packed import morton_order, write_compressed_ply, write_spz
from gradiseg_core.exporting.ply import write_gaussians
from tests.exporting import clouds

pytestmark = pytest.mark.slow

_VALIDATE = """
const validator = require('gltf-validator'), fs = require('fs');
const bytes = new Uint8Array(fs.readFileSync(process.argv[1]));
validator.validateBytes(bytes).then(report => console.log(JSON.stringify(report.issues)));
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both programs; skips without Node.js, or where npm cannot fetch them."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs Node.js 20 or newer, with npm")
    folder = tmp_path_factory.mktemp("node")
    names = ("@playcanvas/splat-transform", "gltf-validator")
    done = subprocess.run(
        [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", *names],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot fetch {', '.join(names)}: {done.stderr[-300:]}")
    return folder


def transform(programs: Path, *arguments: str | Path) -> None:
    program = programs / "node_modules" / ".bin" / "splat-transform"
    done = subprocess.run(
        [str(program), "--quiet", "--overwrite", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_object_is_cut_out_by_its_id(programs: Path, tmp_path: Path) -> None:
    cloud = clouds.make(500)
    write_gaussians(tmp_path / "all.ply", cloud, object_id=True, comments=["object 3 mug"])
    transform(programs, tmp_path / "all.ply", "-V", "object_id,eq,3", tmp_path / "mug.ply")
    found = clouds.properties(tmp_path / "mug.ply")
    own = cloud.ids == 3
    assert 0 < own.sum() < len(cloud)
    for name, values in clouds.as_properties(cloud.take(own)).items():
        if not name.startswith("n"):  # it leaves normals out
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-7, err_msg=name)
    np.testing.assert_array_equal(found["object_id"], 3)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_comes_back_in_the_axes_of_the_model(
    programs: Path, tmp_path: Path, degree: int
) -> None:
    """By Niantic's own library, which splat-transform holds; harmonics are turned back as well."""
    cloud = clouds.make(500, degree)
    write_spz(tmp_path / "a.spz", cloud)
    transform(programs, tmp_path / "a.spz", tmp_path / "a.ply")
    found = clouds.properties(tmp_path / "a.ply")
    expected = clouds.as_properties(cloud)
    for names, tolerance in (
        ("x y z", 1e-5),
        ("scale_0 scale_1 scale_2", 1 / 32 + 1e-5),
        ("f_dc_0 f_dc_1 f_dc_2", 0.014),
    ):
        for name in names.split():
            np.testing.assert_allclose(found[name], expected[name], atol=tolerance)
    each = {0: 0, 1: 3, 2: 8, 3: 15}[degree]
    for channel in range(3):
        for k in range(each):
            ours = expected[f"f_rest_{15 * channel + k}"]
            np.testing.assert_allclose(found[f"f_rest_{each * channel + k}"], ours, atol=0.005)
    assert f"f_rest_{3 * each}" not in found
    opacity = 1 / (1 + np.exp(-found["opacity"].astype(float)))
    assert np.isfinite(found["opacity"]).all()
    np.testing.assert_allclose(opacity, 1 / (1 + np.exp(-cloud.opacities)), atol=1 / 250)
    quats = np.stack([found[f"rot_{i}"] for i in range(4)], axis=1)
    clouds.assert_same_rotations(quats, cloud.quats, degrees=0.5)


def test_compressed_ply(programs: Path, tmp_path: Path) -> None:
    cloud = clouds.make(3000)
    write_compressed_ply(tmp_path / "a.compressed.ply", cloud)
    transform(programs, tmp_path / "a.compressed.ply", tmp_path / "a.ply")
    found = clouds.properties(tmp_path / "a.ply")
    expected = clouds.as_properties(cloud.take(morton_order(cloud.means)))
    for name, tolerance in (
        ("x", 0.01),
        ("z", 0.01),
        ("scale_1", 0.01),
        ("f_dc_2", 0.05),
        ("f_rest_0", 1 / 16),
        ("f_rest_20", 1 / 16),
        ("f_rest_44", 1 / 16),
    ):
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance, err_msg=name)
    quats = np.stack([found[f"rot_{i}"] for i in range(4)], axis=1)
    clouds.assert_same_rotations(quats, cloud.take(morton_order(cloud.means)).quats, degrees=0.6)


def test_glb_is_what_splat_transform_writes(programs: Path, tmp_path: Path) -> None:
    """Attribute by attribute: it writes glTF's axes, a half turn about z from a PLY's."""
    cloud = clouds.make(200)
    write_gaussians(tmp_path / "a.ply", cloud)
    transform(programs, tmp_path / "a.ply", tmp_path / "theirs.glb")
    write_glb(tmp_path / "ours.glb", cloud, turned=False, extras={})
    theirs, ours = (clouds.raw_json(tmp_path / f"{name}.glb") for name in ("theirs", "ours"))
    primitives = [file["meshes"][0]["primitives"][0] for file in (theirs, ours)]
    assert set(primitives[0]["attributes"]) == set(primitives[1]["attributes"])
    assert primitives[0]["extensions"] == primitives[1]["extensions"]
    prefix = "KHR_gaussian_splatting:"
    found = [attributes(tmp_path / f"{name}.glb") for name in ("theirs", "ours")]
    for name in ("SCALE", "OPACITY", "SH_DEGREE_0_COEF_0"):
        np.testing.assert_allclose(found[0][prefix + name], found[1][prefix + name], rtol=1e-5)
    turned = found[1]["POSITION"] * [-1, -1, 1]
    np.testing.assert_allclose(found[0]["POSITION"], turned, atol=1e-5)


def attributes(path: Path) -> dict[str, np.ndarray]:
    """Attributes of floats; splat-transform's colours are bytes."""
    content = path.read_bytes()
    document = clouds.raw_json(path)
    start = 12 + 8 + int.from_bytes(content[12:16], "little") + 8
    found = {}
    for name, index in document["meshes"][0]["primitives"][0]["attributes"].items():
        accessor = document["accessors"][index]
        if accessor["componentType"] != 5126:
            continue
        view = document["bufferViews"][accessor["bufferView"]]
        count = view["byteLength"] // 4
        values = np.frombuffer(content, "<f4", count, start + view.get("byteOffset", 0))
        found[name] = values.reshape(accessor["count"], -1)
    return found


def test_khronos_validator_finds_nothing_but_the_extension(programs: Path, tmp_path: Path) -> None:
    """It does not know the extension yet, and says so of each of its attributes."""
    cloud = clouds.make(200, offset=(4e6, 0, 0))
    write_glb(
        tmp_path / "a.glb", cloud, turned=False, object_id=True, extras={"objects": {"1": "mug"}}
    )
    done = subprocess.run(
        ["node", "-e", _VALIDATE, str(tmp_path / "a.glb")],
        cwd=programs,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rest = [
        message
        for message in json.loads(done.stdout)["messages"]
        if "KHR_gaussian_splatting" not in message["pointer"] + message["message"]
    ]
    assert rest == []
