"""Files of stage `geometry`: what is written comes back, in the training frame."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.cameras import Frame
from gradiseg_core.errors import InputError
from gradiseg_core.files.geometry import (
    CUTS,
    SavedGeometry,
    SavedSurface,
    depth_unit,
    failure_of,
    load_geometry,
    save_depth,
    save_facts,
    save_normals,
    save_surface,
)

FRAME = Frame(0.25, (1000.0, 2000.0, 0.0))


def made(count: int = 40) -> SavedSurface:
    generator = np.random.default_rng(0)
    normals = generator.normal(size=(count, 3)).astype(np.float32)
    return SavedSurface(
        points=generator.normal(size=(count, 3)),
        normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
        lab=generator.uniform(0, 60, (count, 3)).astype(np.float32),
        concavity=generator.uniform(size=count).astype(np.float32),
        index=generator.integers(0, 90, (count, 3)),
        edges=generator.integers(0, count, (70, 2)),
        height=generator.normal(size=count).astype(np.float32),
        in_support=generator.uniform(size=count) > 0.5,
        supervoxels=generator.integers(-1, 9, count),
        merges=generator.integers(0, 9, (5, 2)),
        costs=generator.uniform(size=5),
        cuts={name: generator.integers(0, 4, count).astype(np.int32) for name in CUTS},
        voxel=0.05,
    )


def facts(**more: object) -> dict:
    return {"verdict": "found", "reason": None, "support": None, "depth_unit": 1.0, "views": []} | {
        **more
    }


def test_a_surface_comes_back_in_the_training_frame(tmp_path: Path) -> None:
    surface = made()
    save_surface(tmp_path, surface, FRAME)
    save_facts(tmp_path, facts(), FRAME)
    saved = load_geometry(tmp_path)
    assert saved.frame == FRAME
    for field in fields(SavedSurface):
        if field.name == "cuts":
            for name in CUTS:
                assert np.array_equal(saved.surface.cuts[name], surface.cuts[name])
        else:
            assert np.array_equal(
                getattr(saved.surface, field.name), getattr(surface, field.name)
            ), field.name


def test_the_ply_is_in_the_users_units(tmp_path: Path) -> None:
    from plyfile import PlyData

    surface = made()
    save_surface(tmp_path, surface, FRAME)
    vertices = PlyData.read(tmp_path / "surface.ply")["vertex"]
    np.testing.assert_allclose(vertices["x"], surface.points[:, 0] / 0.25, rtol=1e-6)
    for name, prop in CUTS.items():
        assert np.array_equal(vertices[prop], surface.cuts[name])


def test_the_support_plane_is_in_the_training_frame(tmp_path: Path) -> None:
    plane = {"normal": [0.0, 0.6, 0.8], "offset": 8.0}  # user's units: 4 of them are 1 here
    save_facts(tmp_path, facts(support=plane), FRAME)
    support = load_geometry(tmp_path).support
    assert support is not None
    assert support.offset == 2.0
    np.testing.assert_allclose(support.height(np.array([[0.0, 0.0, 2.5], [0.0, 5.0, 0.0]])), [0, 1])
    save_facts(tmp_path, facts(), Frame())
    assert load_geometry(tmp_path).support is None
    assert load_geometry(tmp_path).frame.is_identity  # that of an earlier run is gone


def test_depth_keeps_sixteen_bits(tmp_path: Path) -> None:
    depth = np.random.default_rng(0).uniform(0.5, 7.0, (12, 16)).astype(np.float32)
    depth[0, :3] = [0.0, 1e-6, 7.0]
    unit = depth_unit(float(depth.max()) / FRAME.scale)
    save_depth(tmp_path, "a", depth / FRAME.scale, unit)
    save_facts(tmp_path, facts(depth_unit=unit, views=["a"]), FRAME)
    saved = load_geometry(tmp_path)
    assert saved.stems == ["a"]
    back = saved.depth("a")
    np.testing.assert_allclose(back[1:], depth[1:], atol=0.51 * 7.0 / 65535)
    assert back[0, 0] == 0.0
    assert back[0, 1] > 0.0  # what is near is not nothing
    with Image.open(tmp_path / "depth" / "a.png") as file:
        assert np.asarray(file).dtype == np.uint16


def test_normals_come_back(tmp_path: Path) -> None:
    normals = np.random.default_rng(0).normal(size=(12, 16, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[0, 0] = 0.0
    normals[0, 1] = [-1.0, 0.0, 0.0]
    save_normals(tmp_path, "a", normals)
    back = SavedGeometry(tmp_path, facts(), Frame()).normals("a")
    assert not back[0, 0].any()
    np.testing.assert_allclose((back * normals).sum(axis=-1).ravel()[1:], 1.0, atol=1e-4)


def test_why_nothing_was_found(tmp_path: Path) -> None:
    assert failure_of(tmp_path) is None  # results that were touched, not made
    save_facts(tmp_path, facts(verdict="failed", reason="3 views are too few"), Frame())
    assert failure_of(tmp_path) == "3 views are too few"
    saved = load_geometry(tmp_path)
    assert not saved.found
    with pytest.raises(InputError, match="3 views are too few"):
        _ = saved.surface
    save_facts(tmp_path, facts(), Frame())
    assert failure_of(tmp_path) is None


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run stage `geometry` first"):
        load_geometry(tmp_path)
    (tmp_path / "geometry.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        load_geometry(tmp_path)
    (tmp_path / "geometry.json").write_text(json.dumps(facts()))
    with pytest.raises(InputError, match=r"depth/a\.png is missing"):
        load_geometry(tmp_path).depth("a")
