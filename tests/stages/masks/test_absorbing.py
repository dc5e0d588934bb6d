"""Absorbing of enclosed segments: drawn cases."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.stages.masks.absorbing import absorb_enclosed


def page() -> np.ndarray:
    """A page (2) on a table (0): a mark of two halves (5, 7) in it, and a tab (9) at its edge."""
    labels = np.zeros((30, 40), int)
    labels[5:25, 5:35] = 2
    labels[10:14, 10:12], labels[10:14, 12:14] = 5, 7
    labels[10:14, 35:39] = 9
    return labels


def test_marks_go_and_the_page_stays():
    labels = page()
    result = absorb_enclosed(labels, max_area=20, enclosure=0.6)
    expected = np.where(np.isin(labels, [5, 7]), 2, labels)
    expected[labels == 9] = 0  # 12 of the tab's 16 sides are on the table
    np.testing.assert_array_equal(result, expected)


def test_area_limits_what_is_absorbed():
    labels = page()
    # The mark's halves have 8 px each, together they are a hole of 16.
    np.testing.assert_array_equal(absorb_enclosed(labels, max_area=8, enclosure=0.6), labels)
    assert 9 in absorb_enclosed(labels, max_area=16, enclosure=0.6)
    # 20 x 30 px: the page is enclosed by the table like the mark by the page, only larger.
    assert set(np.unique(absorb_enclosed(labels, max_area=599, enclosure=0.6))) == {0, 2}
    assert set(np.unique(absorb_enclosed(labels, max_area=601, enclosure=0.6))) == {0}


@pytest.mark.parametrize(("enclosure", "kept"), [(0.74, False), (0.76, True)])
def test_share_of_the_border(enclosure, kept):
    labels = page()
    assert (9 in absorb_enclosed(labels, max_area=20, enclosure=enclosure)) == kept


def test_the_frame_is_no_border():
    labels = np.zeros((10, 10), int)
    labels[:3, :3] = 1  # two sides at the frame, two on 0
    assert not absorb_enclosed(labels, max_area=10, enclosure=1.0).any()


def test_one_segment_and_the_larger_of_two_stay():
    np.testing.assert_array_equal(
        absorb_enclosed(np.full((4, 4), 3), max_area=99, enclosure=0.6), 3
    )
    halves = np.repeat([[1, 2]], 4, axis=0).repeat([3, 5], axis=1)
    assert (absorb_enclosed(halves, max_area=99, enclosure=0.6) == 2).all()
