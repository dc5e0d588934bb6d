"""What lies in the noise of the support is told from it by its colour."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.flat import without_flat_things
from gradiseg_core.geometry.options import SegmentationOptions
from gradiseg_core.geometry.segmentation import absorb_small, build_hierarchy
from gradiseg_core.geometry.support import Support
from tests.geometry.surfaces import strip

TABLE, GRAIN, THING = (70.0, 8.0, 20.0), (60.0, 10.0, 25.0), (40.0, 50.0, 0.0)
BLACK, SHADOW = (20.0, 0.0, 0.0), (48.0, 6.0, 15.0)


@pytest.fixture
def surface() -> Surface:
    """A table with a grain, 4,000 voxels."""
    made = strip(100, 40)
    made.lab[:] = TABLE
    made.lab[made.index[:, 0] % 10 < 4] = GRAIN
    return made


def _neck(surface: Surface, at: int = 45) -> np.ndarray:
    """A strip of 30 voxels, under a hundredth of the table."""
    x, y, _ = surface.index.T
    return (x >= at) & (x < at + 10) & (y >= 18) & (y < 21)


def _support(surface: Surface, inside: np.ndarray) -> Support:
    heights = np.where(inside, 0.0, 10.0).astype(np.float32)
    return Support(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.5, heights, inside)


@pytest.mark.parametrize(
    ("colour", "flat"), [(THING, True), (BLACK, True), (SHADOW, False), (GRAIN, False)]
)
def test_a_rare_colour_that_is_no_shadow_is_no_support(
    surface: Surface, colour: tuple, flat: bool
) -> None:
    neck = _neck(surface)
    surface.lab[neck] = colour
    support = _support(surface, np.ones(len(surface), bool))
    found = without_flat_things(support, surface)
    assert np.array_equal(~found.inside, neck & flat)


def test_a_print_that_is_in_many_places_is_support(surface: Surface) -> None:
    for at in (5, 25, 45, 65, 85):
        surface.lab[_neck(surface, at)] = THING
    support = _support(surface, np.ones(len(surface), bool))
    assert without_flat_things(support, surface).inside.all()


def test_without_a_support_there_is_nothing_on_it(surface: Surface) -> None:
    support = _support(surface, np.zeros(len(surface), bool))
    assert without_flat_things(support, surface) is support


def test_a_flat_neck_joins_two_pieces(surface: Surface) -> None:
    """A handle and the bowl of a spoon stand out of the table, the neck between them does not."""
    x, y, _ = surface.index.T
    ends = (((x >= 25) & (x < 45)) | ((x >= 55) & (x < 75))) & (y >= 15) & (y < 25)
    surface.lab[ends | _neck(surface)] = THING
    options = SegmentationOptions()

    def pieces(support: Support) -> int:
        regions = build_hierarchy(surface, support, options, options.objects).cut(options.objects)
        return len(np.unique(absorb_small(regions, surface, options)[ends]))

    support = _support(surface, ~ends)
    assert pieces(support) == 2
    assert pieces(without_flat_things(support, surface)) == 1
