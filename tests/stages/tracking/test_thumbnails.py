"""Pictures of objects: the view that shows most of them, cut out, with an outline."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gradiseg_core.stages.tracking import thumbnails as module
from gradiseg_core.stages.tracking.thumbnails import (
    DIMMED,
    OUTLINE,
    SIDE,
    best_views,
    thumbnail,
    thumbnails,
)

Ids = NDArray[np.int32]


def view(*boxes: tuple[int, int, int, int, int]) -> Ids:
    """An ID map of 40 x 60; each box is ID, top, bottom, left, right."""
    ids = np.zeros((40, 60), np.int32)
    for label, top, bottom, left, right in boxes:
        ids[top:bottom, left:right] = label
    return ids


def test_the_view_that_shows_most_in_one_part_and_whole() -> None:
    maps = {
        "small": view((1, 10, 20, 10, 20)),  # 100 px
        "large": view((1, 10, 26, 10, 20)),  # 160 px
        "cut_off": view((1, 0, 30, 10, 20)),  # 300 px, which count for 150 at the border
        "divided": view((1, 5, 34, 10, 20), (2, 15, 19, 8, 22)),  # 250 px, in 100 and 150
    }
    assert best_views(maps, [1])[1] == "large"
    del maps["large"]
    assert best_views(maps, [1])[1] in ("cut_off", "divided")
    del maps["cut_off"], maps["divided"]
    assert best_views(maps, [1, 1]) == {1: "small"}


def test_equal_views_go_by_name() -> None:
    maps = {name: view((7, 10, 20, 10, 20)) for name in ("10", "9")}
    assert best_views(maps, [7]) == {7: "9"}


def test_a_picture_is_cut_out_dimmed_around_and_outlined() -> None:
    image = np.full((40, 60, 3), 200, np.uint8)
    mask = view((1, 10, 30, 20, 30)) == 1  # 20 high, 10 wide
    image[mask] = 80
    colour = np.array([250, 10, 10], np.uint8)
    picture = thumbnail(image, mask, colour)
    # 4 px of margin on all sides: 28 x 18 px of the photograph.
    assert picture.shape == (SIDE, round(18 * SIDE / 28), 3)
    scale = SIDE / 28
    middle = picture[SIDE // 2, picture.shape[1] // 2]
    assert middle.tolist() == [80, 80, 80]
    assert picture[1, 1].tolist() == [int(200 * DIMMED)] * 3
    outline = (picture == colour).all(axis=2)
    rows, columns = np.nonzero(outline)
    assert abs(rows.min() - 4 * scale) <= 1
    assert abs(columns.min() - 4 * scale) <= 1
    around = 2 * OUTLINE * scale * (20 + 10)
    assert outline.sum() == pytest.approx(around, rel=0.1)


def test_a_stray_pixel_does_not_widen_the_picture() -> None:
    ids = view((1, 10, 20, 10, 20))
    ids[39, 59] = 1
    image = np.zeros((40, 60, 3), np.uint8)
    assert thumbnail(image, ids == 1, np.zeros(3, np.uint8)).shape == (SIDE, SIDE, 3)


def test_a_picture_at_the_border_and_of_one_pixel() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    for box in ((1, 0, 40, 0, 60), (1, 0, 1, 0, 1), (1, 39, 40, 59, 60)):
        picture = thumbnail(image, view(box) == 1, np.zeros(3, np.uint8))
        assert max(picture.shape) == SIDE


def test_the_largest_objects_get_one_and_a_photograph_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    maps = {
        "a": view((1, 5, 10, 5, 10), (2, 20, 30, 20, 30), (3, 20, 35, 40, 55)),
        "b": view((1, 5, 9, 5, 9)),
    }
    read: list[str] = []

    def photograph(stem: str) -> NDArray[np.uint8]:
        read.append(stem)
        return np.zeros((40, 60, 3), np.uint8)

    found = thumbnails(maps, {1: 41, 2: 100, 3: 225}, photograph)
    assert {label: stem for label, (stem, _) in found.items()} == {3: "a", 2: "a"}
    assert read == ["a"]
