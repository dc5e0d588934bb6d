"""Bits of the support, and parts that hang, on a strip of voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry import parts
from gradiseg_core.geometry.options import SegmentationOptions
from gradiseg_core.geometry.support import Support
from tests.geometry.surfaces import strip
from tests.synthetic import ring_of_cameras

TABLE, THING = (60.0, 0.0, 0.0), (60.0, 40.0, 0.0)


@pytest.fixture
def surface() -> Surface:
    """Along x: table up to 20, something up to 40, another thing."""
    made = strip(60, 10)
    made.lab[:] = THING
    made.lab[made.index[:, 0] < 20] = TABLE
    return made


def _support(surface: Surface, height: float) -> Support:
    """The table, and heights of all the rest."""
    inside = surface.index[:, 0] < 20
    heights = np.where(inside, 0.0, height).astype(np.float32)
    return Support(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.5, heights, inside)


def _two(surface: Surface) -> np.ndarray:
    """Regions: 0 beside the table, 1 behind it."""
    x = surface.index[:, 0]
    return np.select([x < 20, x < 40], [-1, 0], 1).astype(np.int64)


def test_colour_steps_are_taken_from_the_table(surface: Surface) -> None:
    surface.lab[surface.index[:, 0] >= 40] = (40.0, 0.0, 0.0)  # a shadow counts half
    steps = parts.colour_steps(surface, _support(surface, 5.0))
    x = surface.index[:, 0]
    assert (steps[x < 20] == 0).all()
    np.testing.assert_allclose(steps[(x >= 20) & (x < 40)], 40.0)
    np.testing.assert_allclose(steps[x >= 40], 10.0)
    nowhere = replace(_support(surface, 5.0), inside=np.zeros(len(surface), bool))
    assert np.isinf(parts.colour_steps(surface, nowhere)).all()


@pytest.mark.parametrize(
    ("height", "colour", "tilt", "bit"),
    [
        (4.0, (50.0, 0.0, 0.0), 0.0, True),  # low, a shadow, level
        (12.0, (50.0, 0.0, 0.0), 0.0, False),  # high
        (4.0, THING, 0.0, False),  # of another colour
        (4.0, (50.0, 0.0, 0.0), 80.0, False),  # a low wall
    ],
)
def test_bits_are_low_level_and_coloured_as_the_support(
    surface: Surface, height: float, colour: tuple, tilt: float, bit: bool
) -> None:
    second = surface.index[:, 0] >= 40
    surface.lab[second] = colour
    surface.normals[second] = (np.sin(np.radians(tilt)), 0.0, np.cos(np.radians(tilt)))
    support, regions = _support(surface, height), _two(surface)
    steps = parts.colour_steps(surface, support)
    bits = parts.bits_of_support(regions, surface, support, steps)
    assert np.array_equal(bits, second & bit)
    left, grown = parts.trimmed(regions, support, bits)
    assert np.array_equal(left == 1, second & (not bit))
    assert np.array_equal(grown.inside, support.inside | bits)


def _pinched(surface: Surface, joint: int) -> Surface:
    """Only the first ``joint`` rows of voxels connect both things."""
    a, b = surface.index[surface.edges[:, 0]], surface.index[surface.edges[:, 1]]
    across = (np.minimum(a[:, 0], b[:, 0]) == 39) & (np.maximum(a[:, 0], b[:, 0]) == 40)
    far = np.maximum(a[:, 1], b[:, 1]) >= joint
    return replace(surface, edges=surface.edges[~(across & far)])


@pytest.mark.parametrize(
    ("length", "joint", "second_height", "joined"),
    [
        (60, 10, 20.0, True),  # 28 pairs over the root of 200 nodes are 2
        (60, 10, 5.0, False),  # stands on the table, or its foot is hidden
        (41, 10, 20.0, False),  # 28 pairs over the root of 10 nodes are 9
        (60, 0, 20.0, False),  # touches nothing
    ],
)
def test_what_hangs_by_a_narrow_joint_is_a_part(
    length: int, joint: int, second_height: float, joined: bool
) -> None:
    surface = _pinched(strip(length, 10), joint)
    regions = _two(surface)
    support = _support(surface, 2.0)
    support.height[regions == 1] = second_height
    found = parts.join_hanging(regions, surface, support, SegmentationOptions())
    assert np.array_equal(found == -1, regions == -1)
    assert (found[regions == 0] == 0).all()
    assert (found[regions == 1] == (0 if joined else 1)).all()


def _slabs(surface: Surface, height: float, background: tuple = (False, False)) -> list[bool]:
    support = _support(surface, height)
    steps, shades = (f(surface, support) for f in (parts.colour_steps, parts.shadow_steps))
    regions = _two(surface)
    return parts.slabs(regions, surface, support, steps, shades, np.array(background)).tolist()


def test_a_slab_of_the_supports_colour_is_no_object(surface: Surface) -> None:
    surface.lab[surface.index[:, 0] >= 40] = TABLE
    assert _slabs(surface, 6.0) == [False, True]
    assert _slabs(surface, 9.0) == [False, False]


def test_bits_of_support_that_few_views_see_are_no_objects(surface: Surface) -> None:
    """Lumps of a carpet at the rim: of its colour, and whole in a third of the views."""
    near = ring_of_cameras(2, 320, 240)
    away = [replace(camera, cam_from_world=np.diag([1.0, -1.0, -1.0, 1.0])) for camera in near * 2]
    surface.lab[surface.index[:, 0] >= 40] = TABLE
    steps = parts.colour_steps(surface, _support(surface, 20.0))
    regions = _two(surface)
    assert parts.rims(regions, surface, near, steps, 2).tolist() == [False, False]
    assert parts.rims(regions, surface, near + away, steps, 2).tolist() == [False, True]


def test_a_shadow_beside_an_object_is_no_object(surface: Surface) -> None:
    inside = surface.index[:, 0] < 20
    surface.lab[inside] = (60.0, 10.0, 20.0)
    dark = np.array([76.0, 10.0, 20.0]) * 0.5 - (16.0, 0.0, 0.0)  # an eighth of the light
    surface.lab[surface.index[:, 0] >= 40] = dark
    assert np.linalg.norm((dark - (60.0, 10.0, 20.0)) * (0.5, 1.0, 1.0)) > 15
    assert _slabs(surface, 6.0) == [False, True]
    assert _slabs(surface, 9.0) == [False, False]
    # A dark sheet that lies apart, here beside no object, is one.
    assert _slabs(surface, 6.0, background=(True, False)) == [False, False]
    # As dark, of another colour.
    surface.lab[surface.index[:, 0] >= 40] = (dark[0], -5.0, -15.0)
    assert _slabs(surface, 6.0) == [False, False]


def test_shadows_are_known_by_the_ray_from_black(surface: Surface) -> None:
    from skimage.color import lab2rgb, rgb2lab, rgb2xyz, xyz2rgb

    x = surface.index[:, 0]
    table = np.array([0.8, 0.6, 0.4])
    surface.lab[x < 20] = rgb2lab(table)
    surface.lab[(x >= 20) & (x < 40)] = rgb2lab(xyz2rgb(0.3 * rgb2xyz(table)))
    surface.lab[x >= 40] = rgb2lab(xyz2rgb(0.3 * rgb2xyz(table[::-1])))
    assert lab2rgb(surface.lab[x < 20][0]) == pytest.approx(table, abs=1e-3)
    steps = parts.shadow_steps(surface, _support(surface, 5.0))
    assert steps[x < 20].max() < 1e-3
    assert steps[(x >= 20) & (x < 40)].max() < 0.1
    assert steps[x >= 40].min() > 20
    nowhere = replace(_support(surface, 5.0), inside=np.zeros(len(surface), bool))
    assert np.isinf(parts.shadow_steps(surface, nowhere)).all()


@pytest.mark.parametrize(
    ("height", "apart", "joined"), [(1.0, True, True), (1.0, False, False), (9.0, True, False)]
)
def test_the_bottom_of_a_bowl_belongs_to_the_bowl(
    surface: Surface, height: float, apart: bool, joined: bool
) -> None:
    """The second thing is as low as the table; it touches the first alone, or the table as well."""
    regions = _two(surface)
    if not apart:
        regions = np.where(regions == 0, -1, regions)
        regions[surface.index[:, 0] < 22] = -1
        regions[(surface.index[:, 0] >= 38) & (surface.index[:, 0] < 40)] = 0
    support = _support(surface, 20.0)
    support.height[regions == 1] = height
    if not apart:
        support.inside[(regions == -1) | (surface.index[:, 0] == 59)] = True
        regions[surface.index[:, 0] == 59] = -1
    found = parts.join_enclosed(regions, surface, support, SegmentationOptions())
    second = regions == 1
    assert (found[second] == (0 if joined else 1)).all()
    assert np.array_equal(found[~second], regions[~second])


def _boxes(*boxes: tuple[tuple, tuple]) -> tuple[Surface, np.ndarray]:
    """Boxes of voxels from corner to corner: their outer surface, and the box of each node."""
    rows = []
    for number, (low, high) in enumerate(boxes):
        for axis in range(3):
            others = [range(low[k], high[k] + 1) for k in range(3) if k != axis]
            for side, sign in ((low[axis], -1.0), (high[axis], 1.0)):
                for place in np.stack(np.meshgrid(*others), axis=-1).reshape(-1, 2):
                    normal = sign * np.eye(3)[axis]
                    rows.append((*np.insert(place, axis, side), *normal, number))
    table = np.array(rows, np.float64)
    for number, (low, high) in enumerate(boxes):  # what lies in another one is no surface
        inside = ((table[:, :3] >= low) & (table[:, :3] <= high)).all(axis=1)
        table = table[~inside | (table[:, 6] == number)]
    count = len(table)
    first = np.flatnonzero(table[:, 6] == 0)[0]
    edges = np.stack([np.full(count, first), np.arange(count)], axis=1)[first + 1 :]
    surface = Surface(
        points=table[:, :3] * 0.01, normals=table[:, 3:6].astype(np.float32),
        lab=np.zeros((count, 3), np.float32), concavity=np.full(count, 0.5, np.float32),
        index=table[:, :3].astype(np.int64), edges=edges, voxel=0.01,
    )  # fmt: skip
    return surface, table[:, 6].astype(np.int64)


@pytest.mark.parametrize(
    ("second", "objects", "joined"),
    [
        (((20, 0, 0), (40, 20, 10)), (True, True), True),  # the other half of a slab
        (((20, 2, 2), (40, 18, 8)), (True, True), True),  # its recessed pages
        (((20, 0, 0), (40, 20, 10)), (True, False), False),  # background
        (((20, 0, 0), (30, 20, 40)), (True, True), False),  # a wall beside it
        (((0, 0, 10), (20, 20, 40)), (True, True), True),  # a tower of one plan
        (((5, 5, 10), (15, 15, 40)), (True, True), False),  # a narrow tower on it
    ],
)
def test_what_is_convex_together_is_one(second: tuple, objects: tuple, joined: bool) -> None:
    surface, regions = _boxes(((0, 0, 0), (20, 20, 10)), second)
    found = parts.join_convex(regions, surface, np.array(objects), SegmentationOptions())
    assert np.array_equal(found, np.zeros_like(regions) if joined else regions)


@pytest.mark.parametrize(("colour", "joined"), [(0.0, True), (40.0, False)])
def test_what_even_groups_keep_apart_is_not_joined(colour: float, joined: bool) -> None:
    """A book on a book of its size: convex together, but a deep crease between two colours."""
    surface, regions = _boxes(((0, 0, 0), (20, 20, 10)), ((0, 0, 10), (20, 20, 20)))
    surface.concavity[:] = 0.8
    surface.lab[regions == 1, 1] = colour
    found = parts.join_convex(regions, surface, np.array([True, True]), SegmentationOptions())
    assert np.array_equal(found, np.zeros_like(regions) if joined else regions)


def test_feet_are_low_and_coloured_as_the_table(surface: Surface) -> None:
    x, y = surface.index[:, 0], surface.index[:, 1]
    surface.lab[(x >= 20) & (y < 5)] = TABLE
    support = _support(surface, 2.0)
    support.height[x >= 30] = 6.0
    surface.normals[(x >= 20) & (x < 25)] = (0.6, 0.0, -0.8)  # hangs over
    steps, shades = (f(surface, support) for f in (parts.colour_steps, parts.shadow_steps))
    found = parts.feet(surface, support, steps, shades)
    assert found[(x >= 25) & (x < 30) & (y < 4)].all()
    assert not found[(x >= 25) & (y > 5)].any()
    assert not found[x >= 30].any()
    assert not found[(x >= 20) & (x < 25)].any()
