"""Supervoxels, merging and background on surfaces made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.fusion import Volume
from gradiseg_core.geometry.labels import take_over
from gradiseg_core.geometry.options import SegmentationOptions
from gradiseg_core.geometry.segmentation import (
    absorb_small,
    build_hierarchy,
    is_background,
    supervoxels,
)
from gradiseg_core.geometry.support import Support
from tests.geometry.surfaces import strip
from tests.synthetic import ring_of_cameras


def _support(surface: Surface, height: float = 10.0) -> Support:
    count = len(surface)
    return Support(
        np.zeros(3),
        np.array([0.0, 0.0, 1.0]),
        0.5,
        np.full(count, height, np.float32),
        np.zeros(count, bool),
    )


def _regions(surface: Surface, stop: float = 0.3, **options) -> np.ndarray:
    chosen = SegmentationOptions(whole_size=200, **options)
    return build_hierarchy(surface, _support(surface), chosen, 0.6).cut(stop)


def test_flat_surface_of_one_colour_is_one_region() -> None:
    surface = strip()
    assert (_regions(surface) == 0).all()
    grown = supervoxels(surface, _support(surface), SegmentationOptions())
    assert np.unique(grown).tolist() == list(range(12 * 2))  # cells of 5 voxels
    assert np.bincount(grown).min() > 5


def test_crease_separates() -> None:
    surface = strip()
    x = surface.index[:, 0]
    surface.concavity[(x == 29) | (x == 30)] = 1.0
    regions = _regions(surface)
    assert np.array_equal(np.unique(regions), [0, 1])
    assert (regions[x < 29] == 0).all()
    assert (regions[x > 30] == 1).all()


def test_colour_alone_does_not_separate_and_makes_a_weak_crease_count() -> None:
    surface = strip()
    x = surface.index[:, 0]
    surface.lab[x >= 30] = (50.0, 60.0, 0.0)
    assert (_regions(surface) == 0).all()
    # c = 0.4: 0.4 x 0.45 = 0.18 stays joined in one colour, 0.4 + 0.1 = 0.5 does not in two.
    surface.concavity[(x == 29) | (x == 30)] = 0.4
    assert _regions(surface).max() == 1
    surface.lab[:] = (50.0, 0.0, 0.0)
    assert _regions(surface).max() == 0


def test_merges_come_in_order_and_cuts_nest() -> None:
    surface = strip()
    x = surface.index[:, 0]
    surface.concavity[(x == 19) | (x == 20)] = 0.5
    surface.concavity[(x == 39) | (x == 40)] = 1.0
    counts = [_regions(surface, stop).max() + 1 for stop in (0.1, 0.3, 0.6)]
    assert counts == [3, 2, 1]


def test_support_is_no_region() -> None:
    from dataclasses import replace

    surface = strip()
    inside = surface.index[:, 0] < 20
    support = replace(_support(surface), inside=inside)
    regions = build_hierarchy(surface, support, SegmentationOptions(), 0.3).cut(0.3)
    assert np.array_equal(regions == -1, inside)
    everything = replace(support, inside=np.ones(len(surface), bool))
    assert (build_hierarchy(surface, everything, SegmentationOptions(), 0.3).cut(0.3) == -1).all()


def test_small_regions_go_to_the_neighbour_that_costs_least() -> None:
    surface = strip()
    x = surface.index[:, 0]
    regions = np.where(x < 28, 0, np.where(x < 32, 1, 2)).astype(np.int64)  # 40 nodes between
    surface.concavity[(x == 27) | (x == 28)] = 1.0
    absorbed = absorb_small(regions, surface, SegmentationOptions())
    assert np.array_equal(np.unique(absorbed[x < 28]), [0])
    assert np.array_equal(np.unique(absorbed[x >= 28]), [2])


@pytest.mark.parametrize(
    ("height", "focus", "expected"),
    [(10.0, 0.0, False), (2.0, 0.0, True), (10.0, 0.95, True)],
)
def test_background_is_flat_or_at_the_rim(height: float, focus: float, expected: bool) -> None:
    surface = strip()
    regions = np.zeros(len(surface), np.int64)
    volume = Volume(np.array([focus, 0.0, 0.0]), 2.6, 1.0, 0.01)
    cameras = ring_of_cameras(6, 320, 240)
    found = is_background(
        regions, surface, _support(surface, height), volume, cameras, SegmentationOptions()
    )
    assert found.tolist() == [expected]


def test_background_is_what_rises_without_a_crease_or_is_cut_off() -> None:
    from dataclasses import replace

    surface = strip()
    x = surface.index[:, 0]
    support = replace(_support(surface), inside=x < 20)
    regions = np.where(x < 20, -1, 0)
    volume = Volume(np.zeros(3), 2.6, 1.0, 0.01)
    cameras = ring_of_cameras(6, 320, 240)

    def background() -> bool:
        options = SegmentationOptions()
        return bool(is_background(regions, surface, support, volume, cameras, options)[0])

    assert background()
    surface.concavity[(x == 19) | (x == 20)] = 0.5
    assert not background()
    surface.points[:, :2] *= 5  # 3 m wide: every frame cuts it off
    assert background()


def test_what_touches_the_support_at_a_tip_is_no_bump() -> None:
    """As a whisk that leans: it has no crease there, and hardly a border."""
    from dataclasses import replace

    surface = strip()
    x, y = surface.index[:, 0], surface.index[:, 1]
    support = replace(_support(surface), inside=x < 20)
    regions = np.where(x < 20, -1, 0)
    pair = surface.edges
    across = (x[pair] < 20).sum(axis=1) == 1
    tip = replace(surface, edges=pair[~across | (y[pair] == 0).all(axis=1)])
    volume = Volume(np.zeros(3), 2.6, 1.0, 0.01)
    cameras = ring_of_cameras(6, 320, 240)
    for given, expected in ((surface, True), (tip, False)):
        found = is_background(regions, given, support, volume, cameras, SegmentationOptions())
        assert found.tolist() == [expected]


def test_other_ids_are_taken_over_in_background_only() -> None:
    maps = [np.array([[1, 1, 0, 0, 0]], np.int32)] * 2
    others = [np.array([[5, 5, 7, 7, 5]], np.int32), np.array([[5, 7, 7, 7, 2]], np.int32)]
    # 7: 4 of 5 px lie in the background; 5: 1 of 4; 2: all.
    first, second = take_over(maps, others, 0.6)
    assert first.tolist() == [[1, 1, 3, 3, 0]]
    assert second.tolist() == [[1, 1, 3, 3, 2]]
