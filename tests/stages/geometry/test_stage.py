"""The whole stage, on exact depth in place of what a long training shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plyfile import PlyData

from gradiseg_core import progress
from gradiseg_core.cameras import Frame
from gradiseg_core.config.geometry import GeometryConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.geometry import SavedGeometry, load_geometry
from gradiseg_core.files.trained import load_trained
from gradiseg_core.geometry.find import segment_scene
from gradiseg_core.geometry.normals import view_normals
from gradiseg_core.geometry.options import GeometryOptions, StereoOptions
from gradiseg_core.geometry.prepare import Renderings
from gradiseg_core.stages.geometry import stage
from gradiseg_core.stages.geometry.stage import reconstruct_surface
from tests.geometry.ray_casting import Cast, cast, cast_cameras, write_cast

#: Depth is exact here, and photographs of flat colours would not sharpen it.
AS_RENDERED = GeometryOptions(stereo=StereoOptions(iterations=0))
CONFIG = GeometryConfig(iterations=2, longest_side=320, device="cpu")


def exact(monkeypatch: pytest.MonkeyPatch, *, things: bool = True, noise: float = 0.0) -> None:
    """Let all views show their exact depth, or one that is off by a factor of each view's own."""
    generator = np.random.default_rng(0)

    def rendered(trainer, cameras, depth):
        views = cast_cameras(list(cameras), things=things)
        factors = generator.uniform(1.0 - noise, 1.0 + noise, len(cameras)).astype(np.float32)
        depths = [map_ * factor for map_, factor in zip(views.depths, factors, strict=True)]
        return Renderings(list(cameras), depths, views.alphas, views.colours)

    monkeypatch.setattr(stage, "render_cameras", rendered)


@pytest.fixture(scope="module")
def views() -> Cast:
    return cast(10, 320, 240)


@pytest.fixture(scope="module")
def made(views: Cast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("geometry")
    scene_dir, colmap_dir = write_cast(views, root, tests=1)
    Frame(2.0, (0.0, 0.0, 0.5)).save(colmap_dir)
    with pytest.MonkeyPatch.context() as patch:
        _exact_in_frame(patch)
        reconstruct_surface(
            scene_dir, colmap_dir, root / "geometry", CONFIG, seed=0, threads=1, options=AS_RENDERED
        )
    return root


def _exact_in_frame(patch: pytest.MonkeyPatch) -> None:
    """As :func:`exact`, for cameras of a frame that is twice as large and half a unit lower."""
    from dataclasses import replace

    def rendered(trainer, cameras, depth):
        mine = []
        for camera in cameras:
            pose = camera.cam_from_world.copy()
            pose[:3, 3] = pose[:3, 3] / 2.0 - pose[:3, :3] @ np.array([0.0, 0.0, 0.5])
            mine.append(replace(camera, cam_from_world=pose))
        views = cast_cameras(mine)
        depths = [2.0 * map_ for map_ in views.depths]
        return Renderings(list(cameras), depths, views.alphas, views.colours)

    patch.setattr(stage, "render_cameras", rendered)


@pytest.fixture(scope="module")
def saved(made: Path) -> SavedGeometry:
    return load_geometry(made / "geometry")


def test_objects_of_every_cut_are_saved(saved: SavedGeometry) -> None:
    assert saved.found
    assert saved.facts["objects"]["objects"] == 3
    fine, middle, coarse = (saved.surface.cuts[name] for name in ("parts", "objects", "groups"))
    assert fine.max() >= middle.max() >= coarse.max() > 0
    assert saved.facts["agreement"] > 0.8


def test_the_surface_lies_where_the_users_model_has_it(made: Path, saved: SavedGeometry) -> None:
    """The table of the model is at z = 0, in the PLY half a unit lower, the offset."""
    vertices = PlyData.read(made / "geometry" / "surface.ply")["vertex"]
    table = np.asarray(vertices["object"]) == 0
    assert np.median(np.asarray(vertices["z"])[table]) == pytest.approx(-0.5, abs=0.01)
    assert np.median(saved.surface.points[table, 2]) == pytest.approx(-1.0, abs=0.02)
    support = saved.support
    assert support is not None
    np.testing.assert_allclose(support.normal, [0.0, 0.0, 1.0], atol=0.02)
    assert abs(np.median(support.height(saved.surface.points)[table])) < 0.02
    assert saved.facts["support"]["offset"] == pytest.approx(-0.5, abs=0.01)


def test_all_views_have_depth_and_normals(views: Cast, made: Path, saved: SavedGeometry) -> None:
    """Test views as well, though they are neither trained on nor fused."""
    assert saved.stems == [camera.stem for camera in views.cameras]
    assert saved.facts["measured"]["views"] == len(views.cameras) - 1
    for camera, depth in zip(views.cameras, views.depths, strict=True):
        np.testing.assert_allclose(saved.depth(camera.stem), 2.0 * depth, atol=1e-3)
        normals = saved.normals(camera.stem)
        table = (views.ids[0] == 0) & (views.depths[0] > 0)
        if camera is views.cameras[0]:
            assert np.quantile(normals[table][:, 2], 0.1) > 0.95
        preview = np.asarray(Image.open(made / "geometry" / "previews" / f"{camera.stem}.png"))
        assert preview.shape[1] > 4 * camera.width
    assert (made / "geometry" / "overview.png").is_file()


def test_the_gaussians_are_a_trained_scene(made: Path) -> None:
    scene = load_trained(made / "geometry" / "gaussians")
    assert scene.metadata["iterations"] == 2
    assert len(scene.means) > 100
    assert abs(float(scene.means[:, 2].median()) + 1.0) < 0.3  # training frame


def test_normals_of_a_view_point_to_the_camera(views: Cast) -> None:
    camera, depth = views.cameras[2], views.depths[2]
    normals = view_normals(depth, camera)
    inner = np.s_[20:-20, 20:-20]
    table = (views.ids[2] == 0)[inner] & (depth > 0)[inner]
    assert np.median(normals[inner][table][:, 2]) > 0.999
    length = np.linalg.norm(normals, axis=-1)
    assert set(np.unique(length.round(4))) <= {0.0, 1.0}
    assert not normals[depth == 0].any()


@pytest.mark.parametrize(
    ("count", "more", "reason", "has_surface"),
    [
        (5, {}, "4 training views are too few", False),
        (10, {"things": False}, "no object stands out of the surface", True),
        (10, {"noise": 0.2}, "of the views' pixels show the fused surface", True),
    ],
)
def test_that_nothing_is_found_is_a_result(
    count: int,
    more: dict,
    reason: str,
    has_surface: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    views = cast(count, 160, 120, things=more.get("things", True))
    folders = write_cast(views, tmp_path)
    exact(monkeypatch, **more)
    out = tmp_path / "geometry"
    (out / "depth").mkdir(parents=True)
    (out / "depth" / "stale.png").touch()
    monkeypatch.setattr(progress, "APART_S", 0.0)
    caplog.set_level("INFO")
    options = GeometryOptions.model_validate({"fusion": {"voxel_px": 3.0}})
    strict = options.failure.model_copy(update={"min_agreement": 0.6})
    options = options.model_copy(update={"failure": strict})
    facts = reconstruct_surface(*folders, out, CONFIG, seed=0, threads=1, options=options)
    assert facts == json.loads((out / "geometry.json").read_text())
    assert facts["verdict"] == "failed"
    assert reason in facts["reason"]
    assert reason in caplog.text
    assert "`sfm`" in caplog.text
    for title in ("sharpening depth", "fusing the surface", "pictures of the surface"):
        assert (f"{title}: 100 %" in caplog.text) == has_surface
    assert (out / "surface.ply").is_file() == has_surface
    assert (out / "overview.png").is_file() == has_surface
    assert not (out / "surface.npz").exists()
    assert not (out / "depth" / "stale.png").exists()


def test_a_scene_without_cameras_is_refused(tmp_path: Path) -> None:
    views = cast(7, 64, 48)
    scene_dir, colmap_dir = write_cast(views, tmp_path)
    text = (scene_dir / "scene.json").read_text().replace("view_", "other_")
    (scene_dir / "scene.json").write_text(text)
    with pytest.raises(InputError, match="no training view"):
        reconstruct_surface(
            scene_dir, colmap_dir, tmp_path / "g", CONFIG, seed=0, threads=1, options=AS_RENDERED
        )


def test_what_is_saved_is_what_was_computed(views: Cast) -> None:
    """A cut is read and not computed again."""
    from gradiseg_core.geometry.find import to_save

    segmented = segment_scene(
        views.depths, views.alphas, views.colours, views.cameras, GeometryOptions()
    )
    saved = to_save(segmented)
    for name, value in vars(segmented.surface).items():
        assert np.array_equal(getattr(saved, name), value), name
    assert saved.cuts is segmented.cuts
    assert np.array_equal(saved.height, segmented.support.height)
