"""Ignore masks that users give: found, matched by name, turned, refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.inputs import given_files
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.stages.scene.stage import prepare

from .conftest import save_photo


def mask(path: Path, size: tuple[int, int] = (24, 16), *, corner: bool = True) -> Path:
    """Write a mask whose upper left quarter is white, or all of it."""
    pixels = np.full((size[1], size[0]), 0 if corner else 255, np.uint8)
    pixels[: size[1] // 2, : size[0] // 2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def photographs(folder: Path) -> None:
    for name in ("a.jpg", "b.JPG", "c.png", "d.jpg"):
        save_photo(folder / name)


def run(source: Path, out: Path, **options) -> None:
    prepare(SceneConfig(source="folder", path=source, **options), out, name="mine")


def test_masks_in_the_folder_of_photographs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = tmp_path / "in"
    photographs(photos)
    given = [mask(photos / "ignore" / name) for name in ("a.png", "b.JPG.png", "c.tif")]
    extra = mask(photos / "ignore" / "z.png")
    with caplog.at_level(logging.INFO):
        run(photos, tmp_path / "out")
    for view in "abc":
        ignored = read_ignored(tmp_path / "out", view)
        assert ignored is not None
        assert ignored[:8, :12].all()
        assert ignored.sum() == 8 * 12
    assert read_ignored(tmp_path / "out", "d") is None
    assert "1 of the masks" in caplog.text
    assert "of no photograph: z.png" in caplog.text
    assert "sub-folders" not in caplog.text
    assert "masks of 3 of 4 photographs" in caplog.text
    inputs = given_files(SceneConfig(source="folder", path=photos))
    assert {*given, extra, photos / "a.jpg"} <= set(inputs)


def test_masks_beside_images_and_where_the_configuration_says(tmp_path: Path) -> None:
    photographs(tmp_path / "in" / "images")
    mask(tmp_path / "in" / "ignore" / "a.png")
    mask(tmp_path / "other" / "b.png")
    run(tmp_path / "in" / "images", tmp_path / "beside")
    assert read_ignored(tmp_path / "beside", "a") is not None
    run(tmp_path / "in" / "images", tmp_path / "named", ignore=tmp_path / "other")
    assert read_ignored(tmp_path / "named", "a") is None
    assert read_ignored(tmp_path / "named", "b") is not None
    config = SceneConfig(
        source="folder", path=tmp_path / "in" / "images", ignore=tmp_path / "other"
    )
    assert tmp_path / "other" / "b.png" in given_files(config)
    assert tmp_path / "in" / "ignore" / "a.png" not in given_files(config)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_of_stored_pixels_turns_with_its_photograph(
    tmp_path: Path, orientation: int
) -> None:
    for name in ("a.jpg", "b.jpg"):
        save_photo(tmp_path / "in" / name)
    stored = (16, 24) if orientation >= 5 else (24, 16)
    save_photo(tmp_path / "in" / "turned.jpg", stored, orientation=orientation)
    mask(tmp_path / "in" / "ignore" / "turned.png", stored)
    run(tmp_path / "in", tmp_path / "out")
    ignored = read_ignored(tmp_path / "out", "turned")
    assert ignored is not None
    if orientation >= 5:  # the photograph's upper left quarter is red, wherever it is turned to
        with Image.open(tmp_path / "out" / "images" / "turned.jpg") as file:
            red = np.asarray(file)[..., 0] > 128
        assert np.array_equal(ignored, red)
    else:
        assert ignored[:8, :12].all()


def test_one_error_names_every_bad_mask(tmp_path: Path) -> None:
    photographs(tmp_path / "in")
    mask(tmp_path / "in" / "ignore" / "a.png", (12, 8))
    Image.fromarray(np.full((16, 24), 90, np.uint8)).save(tmp_path / "in" / "ignore" / "b.png")
    mask(tmp_path / "in" / "ignore" / "c.png")
    mask(tmp_path / "in" / "ignore" / "c.png.png")
    with pytest.raises(InputError) as error:
        run(tmp_path / "in", tmp_path / "out")
    message = str(error.value)
    assert message.startswith("3 of the masks in")
    assert "a.png is 12 x 8 px, its photograph 24 x 16 px" in message
    assert "b.png is not a binary mask" in message
    assert "c.png and c.png.png: two masks of c.png" in message


def test_masks_of_other_names_are_an_error_if_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photographs(tmp_path / "in")
    mask(tmp_path / "in" / "ignore" / "blurred.png")
    run(tmp_path / "in", tmp_path / "out")  # perhaps a folder of bad photographs
    assert "none of the 1 pictures" in caplog.text
    with pytest.raises(InputError, match=r"blurred\.png.*the mask of a\.jpg is a\.png"):
        run(tmp_path / "in", tmp_path / "out", ignore=tmp_path / "in" / "ignore")


def test_masks_of_what_to_keep_are_suspected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photographs(tmp_path / "in")
    mask(tmp_path / "in" / "ignore" / "a.png", corner=False)
    run(tmp_path / "in", tmp_path / "out")
    assert "the other way round" in caplog.text
    assert "nearly nothing is left of 1 photographs: a.jpg" in caplog.text


def test_masks_of_photographs_in_sub_folders(tmp_path: Path) -> None:
    names = ("left/a.jpg", "left/b.jpg", "right/a.jpg", "right/b.jpg")
    for index, name in enumerate(names):  # equal ones would be used once
        save_photo(tmp_path / "in" / name, (24 + 2 * index, 16))
    mask(tmp_path / "in" / "ignore" / "left" / "a.png")
    mask(tmp_path / "in" / "ignore" / "right_b.png", (30, 16))
    run(tmp_path / "in", tmp_path / "out")
    views = {path.stem for path in (tmp_path / "out" / "ignore").iterdir()}
    assert views == {"left_a", "right_b"}
