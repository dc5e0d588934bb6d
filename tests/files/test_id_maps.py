"""Resampling of ID maps: areas decide, outlines stay in place, large IDs survive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.files.id_maps import (
    read_id_map,
    resize_by_area,
    resize_by_centres,
    resize_by_corners,
    sample_cells,
    spread_cells,
    write_id_map,
)


def test_the_id_that_covers_most_of_a_pixel_wins() -> None:
    ids = np.array([[7, 7, 3, 0], [7, 0, 0, 0]])
    np.testing.assert_array_equal(resize_by_area(ids, (1, 2)), [[7, 0]])
    thirds = np.repeat([[1, 1, 2, 2, 2, 2]], 3, axis=0)  # 6 wide to 4: pixels of 1.5
    np.testing.assert_array_equal(resize_by_area(thirds, (1, 4)), [[1, 2, 2, 2]])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_outlines_do_not_move(factor: int) -> None:
    rows, columns = np.mgrid[:240, :240] + 0.5
    shifts, growths = [], []
    for center in np.random.default_rng(0).uniform(115.0, 125.0, (40, 2)):
        disc = ((rows - center[0]) ** 2 + (columns - center[1]) ** 2 < 80.0**2) * 9
        small = resize_by_area(disc, (240 // factor, 240 // factor)) == 9
        shifts.append((np.argwhere(small).mean(axis=0) + 0.5) * factor - center)
        growths.append(small.sum() * factor**2 / (disc == 9).sum())
    # One source pixel's nearest neighbour would give a shift of 0.5 px at even factors.
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0.0, atol=0.05)
    assert np.mean(growths) == pytest.approx(1.0, abs=0.002)


def test_ties_go_to_both_sides_in_turn_and_not_to_the_smallest_id() -> None:
    edge = np.repeat([[5, 1]], 8, axis=0)  # the outline cuts every target pixel in half
    assert sorted(resize_by_area(edge, (4, 1))[:, 0]) == [1, 1, 5, 5]


def test_enlarging_repeats_and_the_same_size_changes_nothing() -> None:
    ids = np.array([[1, 70000], [0, 2]])
    np.testing.assert_array_equal(resize_by_area(ids, (4, 4)), ids.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(resize_by_area(ids, (2, 2)), ids)
    assert resize_by_area(ids, (2, 2)).dtype == np.int32


def test_corners_take_the_pixel_that_holds_them() -> None:
    row = np.array([[10, 11, 12, 13, 14]], np.int32)
    np.testing.assert_array_equal(resize_by_corners(row, (1, 3)), [[10, 11, 13]])  # 0, 5/3, 10/3
    np.testing.assert_array_equal(
        resize_by_corners(row, (2, 8))[1], row[0][[0, 0, 1, 1, 2, 3, 3, 4]]
    )
    np.testing.assert_array_equal(resize_by_centres(row, (1, 3)), [[10, 12, 14]])  # 5/6, 5/2, 25/6
    assert resize_by_corners(row, (1, 5)) is row


def test_cells_and_back() -> None:
    values = np.arange(7 * 9).reshape(7, 9)
    cells = sample_cells(values, 3)
    np.testing.assert_array_equal(cells, values[[1, 4]][:, [1, 4, 7]])
    back = spread_cells(cells, values.shape, 3)
    assert back.shape == values.shape
    np.testing.assert_array_equal(back[:6], cells.repeat(3, 0).repeat(3, 1))
    np.testing.assert_array_equal(back[6], back[5])  # beyond the last cell
    np.testing.assert_array_equal(sample_cells(back, 3), cells)


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 300], [65535, 2, 2]])
    write_id_map(tmp_path / "ids.png", ids)
    np.testing.assert_array_equal(read_id_map(tmp_path / "ids.png"), ids)
    assert read_id_map(tmp_path / "ids.png").dtype == np.int32
    for wrong in (-1, 65536):
        with pytest.raises(ValueError, match="do not fit 16 bits"):
            write_id_map(tmp_path / "wrong.png", np.full((2, 2), wrong))
