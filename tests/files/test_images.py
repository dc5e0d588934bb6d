"""Resampling of ID maps: areas decide, outlines stay in place, large IDs survive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.files.images import read_id_map, resize_ids, write_id_map


def test_the_id_that_covers_most_of_a_pixel_wins() -> None:
    ids = np.array([[7, 7, 3, 0], [7, 0, 0, 0]])
    np.testing.assert_array_equal(resize_ids(ids, (2, 1)), [[7, 0]])
    thirds = np.repeat([[1, 1, 2, 2, 2, 2]], 3, axis=0)  # 6 wide to 4: pixels of 1.5
    np.testing.assert_array_equal(resize_ids(thirds, (4, 1)), [[1, 2, 2, 2]])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_outlines_do_not_move(factor: int) -> None:
    rows, columns = np.mgrid[:240, :240] + 0.5
    shifts, growths = [], []
    for center in np.random.default_rng(0).uniform(115.0, 125.0, (40, 2)):
        disc = ((rows - center[0]) ** 2 + (columns - center[1]) ** 2 < 80.0**2) * 9
        small = resize_ids(disc, (240 // factor, 240 // factor)) == 9
        shifts.append((np.argwhere(small).mean(axis=0) + 0.5) * factor - center)
        growths.append(small.sum() * factor**2 / (disc == 9).sum())
    # One source pixel's nearest neighbour would give a shift of 0.5 px at even factors.
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0.0, atol=0.05)
    assert np.mean(growths) == pytest.approx(1.0, abs=0.002)


def test_ties_go_to_both_sides_in_turn_and_not_to_the_smallest_id() -> None:
    edge = np.repeat([[5, 1]], 8, axis=0)  # the outline cuts every target pixel in half
    assert sorted(resize_ids(edge, (1, 4))[:, 0]) == [1, 1, 5, 5]


def test_enlarging_repeats_and_the_same_size_changes_nothing() -> None:
    ids = np.array([[1, 70000], [0, 2]])
    np.testing.assert_array_equal(resize_ids(ids, (4, 4)), ids.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(resize_ids(ids, (2, 2)), ids)
    assert resize_ids(ids, (2, 2)).dtype == np.int32


def test_a_file_is_resampled_when_read(tmp_path: Path) -> None:
    ids = np.zeros((8, 12), np.int32)
    ids[2:6, 4:8] = 300
    write_id_map(tmp_path / "ids.png", ids)
    expected = np.zeros((4, 6), np.int32)
    expected[1:3, 2:4] = 300
    np.testing.assert_array_equal(read_id_map(tmp_path / "ids.png", (6, 4)), expected)
