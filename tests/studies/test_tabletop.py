"""Tabletops: exact truth, no interpenetration, resumption, clear errors."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.errors import BackendUnavailableError, ConfigError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import Available, SceneManifest
from gradiseg_core.files.masks import read_mask
from studies.options import TabletopConfig
from studies.tabletop import dataset
from studies.tabletop.denoise import denoise
from studies.tabletop.layout import arrange, separation
from studies.tabletop.surface import SPACING, surface_points

Table = tuple[Path, SceneManifest]


def test_layout_of_files(tiny_table: Table, tiny_config: TabletopConfig) -> None:
    folder, manifest = tiny_table
    assert len(manifest.train_views) == 3
    assert [view.name for view in manifest.test_views] == ["test_0.jpg", "test_1.jpg"]
    assert len(manifest.prompts) == tiny_config.objects
    train = sorted(path.name for path in (folder / "images_train").iterdir())
    assert train == [view.name for view in manifest.train_views]
    for view in manifest.views:
        image = read_image(folder / "images" / view.name)
        assert image.shape == (48, 64, 3)
        assert 40 < image.mean() < 215
    assert manifest.has == Available(
        test_mask=True, gt_ids=True, ground_truth=True, sparse=True, surface=True
    )
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_masks_are_the_ids(tiny_table: Table) -> None:
    folder, manifest = tiny_table
    truth = json.loads((folder / "ground_truth.json").read_text())
    assert list(truth) == ["scene", "prompts", "gt_id_of_prompt", "cameras"]
    assert truth["prompts"] == manifest.prompts
    for view in manifest.test_views:
        ids = read_id_map(folder / "gt_ids" / f"{view.stem}.png")
        for prompt, object_id in truth["gt_id_of_prompt"].items():
            path = folder / "test_mask" / str(view.test_index) / f"{prompt}.png"
            if path.exists():
                np.testing.assert_array_equal(read_mask(path), ids == object_id)
            else:
                assert (ids == object_id).sum() < 2


def test_cameras_agree_with_ids(tiny_table: Table, tiny_config: TabletopConfig) -> None:
    """Every visible pixel of an object lies within the box of its projected vertices."""
    folder, _ = tiny_table
    truth = json.loads((folder / "ground_truth.json").read_text())
    things = arrange(tiny_config)
    checked = 0
    for camera in truth["cameras"]:
        ids = read_id_map(folder / "gt_ids" / (camera["name"][:-4] + ".png"))
        K, pose = np.array(camera["K"]), np.array(camera["cam_from_world"])
        for index, thing in enumerate(things):
            rows, columns = np.nonzero(ids == index + 1)
            if len(rows) == 0:
                continue
            projected = (thing.vertices @ pose[:, :3].T + pose[:, 3]) @ K.T
            xy = projected[:, :2] / projected[:, 2:]
            pixels = np.stack([columns, rows], -1) + 0.5
            assert (pixels >= xy.min(axis=0)).all()
            assert (pixels <= xy.max(axis=0)).all()
            checked += 1
    assert checked > 25


def test_sparse_model_is_valid_and_exact(tiny_table: Table) -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="reads the model: pip install pycolmap")
    folder, manifest = tiny_table
    model = pycolmap.Reconstruction(folder / "sparse" / "0")
    assert sorted(image.name for image in model.images.values()) == [v.name for v in manifest.views]
    assert model.num_reg_images() == len(manifest.views)
    assert model.num_points3D() > 150
    model.update_point_3d_errors()
    assert model.compute_mean_reprojection_error() < 0.01
    assert min(point.track.length() for point in model.points3D.values()) >= 2
    truth = json.loads((folder / "ground_truth.json").read_text())
    exact = {camera["name"]: np.array(camera["cam_from_world"]) for camera in truth["cameras"]}
    for image in model.images.values():
        np.testing.assert_allclose(image.cam_from_world().matrix(), exact[image.name], atol=1e-9)
    # Observations see the surface: colours agree with the pixel under them.
    image = model.images[1]
    pixels = read_image(folder / "images" / image.name)
    close = []
    for point2D in image.points2D:
        color = model.points3D[point2D.point3D_id].color.astype(int)
        seen = pixels[int(point2D.xy[1]), int(point2D.xy[0])].astype(int)
        close.append(np.abs(color - seen).max() < 60)
    assert np.mean(close) > 0.6


@pytest.mark.parametrize("seed", range(3))
def test_layouts_do_not_interpenetrate(seed: int) -> None:
    config = TabletopConfig(seed=seed, texture_strength=0.0, touching=0.5)
    things = arrange(config)
    assert len({thing.prompt for thing in things}) == 10
    guests = {("black bowl", "yellow lemon"), ("orange book", "purple book")}
    gaps = []
    for i, first in enumerate(things):
        assert first.vertices[:, 2].min() > 0
        assert np.linalg.norm(first.vertices[:, :2], axis=1).max() < 0.5
        for second in things[i + 1 :]:
            if (first.prompt, second.prompt) in guests:
                continue
            gaps.append(separation(_hull(first.vertices), _hull(second.vertices)))
    assert min(gaps) > 0.0004
    assert sum(gap < 0.001 for gap in gaps) >= 2  # some touch


def _hull(vertices: np.ndarray) -> np.ndarray:
    from scipy.spatial import ConvexHull

    return vertices[ConvexHull(vertices[:, :2]).vertices, :2]


def test_guests_rest_on_their_hosts() -> None:
    things = {thing.prompt: thing for thing in arrange(TabletopConfig(texture_strength=0.0))}
    orange, purple = things["orange book"].vertices, things["purple book"].vertices
    assert 0 < purple[:, 2].min() - orange[:, 2].max() < 0.001
    bowl, lemon = things["black bowl"], things["yellow lemon"].vertices
    assert bowl.well is not None
    bottom, radius = bowl.well
    center = bowl.vertices[:, :2].mean(axis=0)
    depth = np.hypot(
        np.linalg.norm(lemon[:, :2] - center, axis=1), lemon[:, 2] - 0.0003 - bottom - radius
    )
    assert depth.max() < radius  # inside the hollow
    assert depth.max() > radius - 0.002  # and touching it


def test_separation_of_squares() -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    assert separation(square, square + np.array([1.25, 0.3])) == pytest.approx(0.25)
    assert separation(square, square + np.array([0.9, 0.0])) == pytest.approx(-0.1)


def test_too_many_objects_for_the_table() -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        arrange(TabletopConfig(spacing=0.4, touching=0.0, texture_strength=0.0))


def test_resumes_from_rendered_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_config: TabletopConfig
) -> None:
    pytest.importorskip("mitsuba", reason="renders the table: pip install -e '.[studies]'")
    small = tiny_config.model_copy(
        update={"width": 24, "height": 16, "objects": 2, "texture_strength": 0.0}
    )
    table = tmp_path / "tables" / "t"
    rendered = []
    color = dataset.Renderer.color

    def failing(self, camera, **options):
        if len(rendered) == 2:
            raise KeyboardInterrupt
        rendered.append(camera.name)
        return color(self, camera, **options)

    monkeypatch.setattr(dataset.Renderer, "color", failing)
    with pytest.raises(KeyboardInterrupt):
        dataset.make_tabletop(small, table, name="t", seed=0, threads=1)
    assert not table.exists()
    rendered.clear()
    monkeypatch.setattr(
        dataset.Renderer,
        "color",
        lambda self, camera, **options: (
            rendered.append(camera.name) or color(self, camera, **options)
        ),
    )
    dataset.make_tabletop(small, table, name="t", seed=0, threads=1)
    assert len(rendered) == small.views + small.test_views - 2
    assert [path.name for path in table.parent.iterdir()] == ["t"]


def test_missing_mitsuba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] in ("mitsuba", "drjit"):
            raise ImportError("No module named 'mitsuba'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BackendUnavailableError, match="pip install -e"):
        dataset.make_tabletop(TabletopConfig(), tmp_path / "t", name="t", seed=0, threads=1)
    assert list(tmp_path.iterdir()) == []


def test_denoise_keeps_texture_and_edges() -> None:
    rng = np.random.default_rng(0)
    height, width = 40, 60
    albedo = rng.uniform(0.2, 0.8, (height, width, 1)).repeat(3, axis=2).astype(np.float32)
    light = np.where(np.arange(width) < 30, 1.0, 0.2)[None, :, None]  # two planes, an edge between
    noisy = albedo * light * rng.gamma(8.0, 1 / 8.0, (height, width, 1))
    normals = np.zeros((height, width, 3), dtype=np.float32)
    normals[:, :30, 2] = 1.0
    normals[:, 30:, 0] = 1.0
    points = np.zeros_like(normals)
    clean = denoise(noisy.astype(np.float32), albedo, points, normals)
    before = np.abs(noisy - albedo * light)
    after = np.abs(clean - albedo * light)
    assert after.mean() < 0.35 * before.mean()
    assert after[:, 28:32].mean() < 0.5 * before[:, 28:32].mean()


def test_surfaces_are_dense_and_owned() -> None:
    config = TabletopConfig(objects=3)
    points, owners = surface_points(config)
    for index, thing in enumerate(arrange(config), start=1):
        own = points[owners == index]
        assert (own.min(axis=0) >= thing.vertices.min(axis=0) - 1e-9).all()
        assert (own.max(axis=0) <= thing.vertices.max(axis=0) + 1e-9).all()
        # Every corner of the shape has a sample nearby.
        some = thing.vertices[:: max(1, len(thing.vertices) // 200)]
        gaps = np.sqrt(((some[:, None] - own[None]) ** 2).sum(-1).min(axis=1))
        assert np.quantile(gaps, 0.99) < 4 * SPACING
    on_table = (owners == 0) & (np.abs(points[:, 2]) < 1e-9) & (np.abs(points[:, :2]).max(1) < 0.4)
    assert on_table.sum() * SPACING**2 == pytest.approx(0.8**2, rel=0.03)
