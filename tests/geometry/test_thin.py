"""A wire that the surface lacks is found from the photographs of all views."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from gradiseg_core.cameras import Camera
from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry import thin as module
from gradiseg_core.geometry.fusion import fuse
from gradiseg_core.geometry.labelling import label_view, thin_parts
from gradiseg_core.geometry.options import FusionOptions, GeometryOptions, SurfaceOptions
from gradiseg_core.geometry.surface import extract
from tests.geometry.ray_casting import Cast, cast

UP = (np.array([0.0, 0.0, 1.0]), 0.0)
OPTIONS = GeometryOptions()
#: An arch over the table, from the side of the ball.
_TURN = np.linspace(0.0, 0.8 * np.pi, 200)
ARCH = np.stack([0.25 - 0.2 * (1 - np.cos(_TURN)), 0.85 + 0 * _TURN, 0.3 + 0.2 * np.sin(_TURN)], 1)
_BALL = np.random.default_rng(0).normal(size=(100, 3))
_BALL *= 0.02 / np.linalg.norm(_BALL, axis=1, keepdims=True)
WIRE = (ARCH[:, None] + _BALL).reshape(-1, 3)  # two voxels thick
INK = (250, 230, 20)


@pytest.fixture(scope="module")
def views() -> Cast:
    return cast(24)


@pytest.fixture(scope="module")
def scene(views: Cast) -> tuple[Surface, np.ndarray]:
    """The surface, and the exact object of every node."""
    fused = fuse(
        views.depths, views.alphas, views.colours, views.cameras, FusionOptions(voxel_px=3.0)
    )
    surface = extract(fused, SurfaceOptions())
    x, y, z = surface.points.T
    ball = np.hypot(x - 0.55, y - 0.85) < 0.32
    object_of = np.select([z < 0.03, ball, x < -0.1], [0, 3, 1], 2).astype(np.int32)
    return surface, object_of


def _pixels(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and depths of points in a view."""
    seen = points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
    pixel = seen @ camera.K.T
    rows, columns = (pixel[:, i] / pixel[:, 2] for i in (1, 0))
    inside = (rows >= 0) & (columns >= 0) & (rows < camera.height) & (columns < camera.width)
    return rows[inside].astype(int), columns[inside].astype(int), seen[inside, 2]


def _with_wire(views: Cast, chosen: range) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the photographs with the arch in some views, and where it is."""
    photographs, places = [], []
    for number, (camera, photograph, depth) in enumerate(
        zip(views.cameras, views.photographs, views.depths, strict=True)
    ):
        drawn, where = photograph.copy(), np.zeros(depth.shape, bool)
        if number in chosen:
            rows, columns, z = _pixels(WIRE, camera)
            visible = z < depth[rows, columns]
            where[rows[visible], columns[visible]] = True
            drawn[where] = INK
        photographs.append(drawn)
        places.append(where)
    return photographs, places


def test_a_wire_is_found_and_belongs_to_what_it_touches(views: Cast, scene: tuple) -> None:
    surface, object_of = scene
    photographs, places = _with_wire(views, range(len(views.cameras)))
    thin = thin_parts(surface, object_of, UP, views.cameras, photographs, OPTIONS)
    assert len(thin) > 100
    assert (thin.object_of == 3).all()
    away = np.linalg.norm(thin.points[:, None] - ARCH, axis=-1).min(axis=1)
    assert np.quantile(away, 0.9) < 1.5 * surface.voxel
    for number in (0, 5):
        found = label_view(
            surface, object_of, thin, views.depths[number], views.cameras[number],
            photographs[number], OPTIONS,
        )  # fmt: skip
        table = places[number] & (views.ids[number] == 0)
        assert table.sum() > 10
        assert (found[table] == 3).mean() > 0.8
        wrong = (found == 3) & (views.ids[number] != 3) & ~places[number]
        assert wrong.sum() < 0.5 * places[number].sum()


def test_what_one_photograph_shows_alone_is_nothing(views: Cast, scene: tuple) -> None:
    surface, object_of = scene
    photographs, _ = _with_wire(views, range(2))
    thin = thin_parts(surface, object_of, UP, views.cameras, photographs, OPTIONS)
    assert len(thin) == 0


def test_what_touches_no_object_is_no_part(views: Cast, scene: tuple) -> None:
    surface, object_of = scene
    photographs, _ = _with_wire(views, range(len(views.cameras)))
    none = thin_parts(surface, object_of * 0, UP, views.cameras, photographs, OPTIONS)
    assert len(none) == 0
    far = np.where(object_of == 1, 1, 0).astype(np.int32)  # the box on the other side
    assert len(thin_parts(surface, far, UP, views.cameras, photographs, OPTIONS)) == 0


def test_things_of_changing_colour_are_empty_space(views: Cast, scene: tuple) -> None:
    """A voxel that is unlike the table in all views, but in another colour each time."""
    surface, object_of = scene
    photographs, places = _with_wire(views, range(len(views.cameras)))
    generator = np.random.default_rng(0)
    for photograph, where in zip(photographs, places, strict=True):
        photograph[where] = generator.integers(0, 256, 3)
    assert len(thin_parts(surface, object_of, UP, views.cameras, photographs, OPTIONS)) < 10


def test_ignored_pixels_are_no_views_of_a_wire(views: Cast, scene: tuple) -> None:
    """Something that is ignored hides the wire in every third view, in the table's colour."""
    surface, object_of = scene
    count = len(views.cameras)
    photographs, places = _with_wire(views, range(count))
    hidden = [where if number % 3 == 0 else None for number, where in enumerate(places)]
    for number in range(0, count, 3):
        photographs[number] = views.photographs[number]
    given = surface, object_of, UP, views.cameras, photographs, OPTIONS
    assert len(thin_parts(*given)) < 30
    thin = thin_parts(*given, hidden)
    assert len(thin) > 100
    assert (thin.object_of == 3).all()


def test_what_is_ignored_is_no_wire(views: Cast, scene: tuple) -> None:
    surface, object_of = scene
    photographs, places = _with_wire(views, range(len(views.cameras)))
    assert len(thin_parts(surface, object_of, UP, views.cameras, photographs, OPTIONS, places)) == 0


def test_a_surface_that_no_photograph_shows_has_no_thin_things(
    views: Cast, scene: tuple, caplog: pytest.LogCaptureFixture
) -> None:
    """All of free space is unlike it: too many points to join, 130 pairs each."""
    surface, object_of = scene
    photographs = [np.full_like(photograph, INK) for photograph in views.photographs]
    candidates = sum(map(len, module._candidates(surface, object_of, UP)))
    tracemalloc.start()
    thin = thin_parts(surface, object_of, UP, views.cameras, photographs, OPTIONS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(thin) == 0
    assert "thin things such as wires are left out" in caplog.text
    assert "geometry.iterations" in caplog.text
    assert candidates > 100_000
    assert peak < 250 * candidates  # bytes


def test_joining_points_takes_little_memory_for_each_pair() -> None:
    side = 30
    points = 0.5 * np.argwhere(np.ones((side,) * 3))
    nodes = np.argwhere(np.ones((side // 2, side // 2, 1))) - [0.0, 0.0, 1.0]
    surface = SimpleNamespace(points=nodes, voxel=1.0, lab=np.zeros((len(nodes), 3), np.float32))
    lab = np.zeros((len(points), 3), np.float32)
    tracemalloc.start()
    owner = module._owners(points, lab, surface, np.ones(len(nodes), np.int32))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (owner == 1).all()
    assert peak < 60 * 128 * len(points)  # bytes, pairs of each point


@pytest.mark.parametrize("up", [UP, None])
def test_slabs_hold_the_candidates_of_the_whole(
    scene: tuple, up: tuple | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface, object_of = scene
    (whole,) = module._candidates(surface, object_of, up)
    monkeypatch.setattr(module, "_SLAB", 1)
    slabs = list(module._candidates(surface, object_of, up))
    assert len(slabs) > 2
    np.testing.assert_array_equal(np.concatenate(slabs), whole)
