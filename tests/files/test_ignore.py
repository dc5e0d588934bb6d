"""Ignored pixels: written, added to, read at other sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import ignore_file, read_ignored, write_ignored
from gradiseg_core.files.images import write_image
from gradiseg_core.files.pictures import shown_photograph


def test_what_is_written_is_read_and_added_to(tmp_path: Path) -> None:
    first, second = np.zeros((2, 6, 8), bool)
    first[1:3, 2:5], second[5, 7] = True, True
    assert write_ignored(tmp_path, "a.b", first)
    assert write_ignored(tmp_path, "a.b", second)
    found = read_ignored(tmp_path, "a.b")
    assert found is not None
    assert np.array_equal(found, first | second)
    with Image.open(tmp_path / "ignore" / "a.b.png") as file:
        assert (file.mode, file.size) == ("L", (8, 6))
        assert set(np.unique(np.asarray(file))) == {0, 255}


def test_a_view_without_ignored_pixels_has_no_file(tmp_path: Path) -> None:
    assert not write_ignored(tmp_path, "a", np.zeros((6, 8), bool))
    assert not ignore_file(tmp_path, "a").exists()
    assert read_ignored(tmp_path, "a") is None


def test_a_smaller_pixel_is_ignored_if_any_part_of_it_is(tmp_path: Path) -> None:
    ignored = np.zeros((6, 8), bool)
    ignored[1, 2], ignored[4:6, 6:8] = True, True
    write_ignored(tmp_path, "a", ignored)
    found = read_ignored(tmp_path, "a", (4, 3))
    assert found is not None
    assert sorted(map(tuple, np.argwhere(found).tolist())) == [(0, 1), (2, 3)]
    larger = read_ignored(tmp_path, "a", (16, 12))
    assert larger is not None
    assert larger.sum() == 4 * ignored.sum()


def test_another_size_is_refused(tmp_path: Path) -> None:
    write_ignored(tmp_path, "a", np.ones((6, 8), bool))
    with pytest.raises(InputError, match=r"ignore/a\.png.*another size"):
        write_ignored(tmp_path, "a", np.ones((5, 8), bool))


def test_pictures_show_what_is_ignored_hatched(tmp_path: Path) -> None:
    picture = np.full((60, 80, 3), 200, np.uint8)
    write_image(tmp_path / "images" / "a.png", picture)
    assert np.array_equal(shown_photograph(tmp_path, "a.png"), picture)
    ignored = np.zeros((60, 80), bool)
    ignored[20:50, 30:70] = True
    write_ignored(tmp_path, "a", ignored)
    shown = shown_photograph(tmp_path, "a.png", (40, 30))
    assert (shown[:9] == 200).all()
    inside = shown[11:24, 16:34]
    assert inside.max() < 160
    assert len(np.unique(inside)) == 2  # stripes of two greys
