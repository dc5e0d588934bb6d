"""Masks and ID maps in the encodings of others: read right, or refused with their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import id_map_file, read_id_map
from gradiseg_core.files.masks import read_mask, write_mask
from tests.png_files import write_png

MASK = np.zeros((60, 80), dtype=bool)
MASK[12:40, 20:61] = True
GREY = MASK.astype(np.uint8) * 255


def _soft() -> Image.Image:
    """A disc with an antialiased outline."""
    large = Image.new("L", (640, 480))
    ImageDraw.Draw(large).ellipse((120, 100, 520, 400), fill=255)
    return large.resize((80, 60), Image.Resampling.BOX)


def _palette(colors: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(MASK.astype(np.uint8), "P")
    image.putpalette([value for color in colors for value in color])
    return image


def _rgba(color: np.ndarray | int, alpha: np.ndarray | int) -> Image.Image:
    rgba = np.zeros((60, 80, 4), np.uint8)
    rgba[..., :3] = np.broadcast_to(np.asarray(color, np.uint8), (60, 80))[..., None]
    rgba[..., 3] = alpha
    return Image.fromarray(rgba)


PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
CLEAR = {
    "0 and 255": Image.fromarray(GREY),
    "0 and 1": Image.fromarray(MASK.astype(np.uint8)),
    "one bit": Image.fromarray(MASK),
    "0 and 254": Image.fromarray(MASK.astype(np.uint8) * 254),
    "16 bits": Image.fromarray(MASK.astype(np.uint16) * 65535),
    "0 and 1 in 16 bits": Image.fromarray(MASK.astype(np.uint16)),
    "0 and 255 in 16 bits": Image.fromarray(GREY.astype(np.uint16)),
    "0 and 1 in 32 bits": Image.fromarray(MASK.astype(np.int32)),
    "float 0 and 1": Image.fromarray(MASK.astype(np.float32)),
    "float 0 and 255": Image.fromarray(GREY.astype(np.float32)),
    "VOC's palette": _palette([(0, 0, 0), (128, 0, 0)]),
    "palette of black and white": _palette([(0, 0, 0), (255, 255, 255)]),
    "palette of greys": _palette([(value,) * 3 for value in range(256)]),
    "RGB": Image.fromarray(np.stack([GREY] * 3, -1)),
    "RGB of 0 and 1": Image.fromarray(np.stack([MASK.astype(np.uint8)] * 3, -1)),
    "green on black": Image.fromarray(np.stack([GREY * 0, GREY, GREY * 0], -1)),
    "RGBA, opaque": _rgba(GREY, 255),
    "alpha alone, black": _rgba(0, GREY),
    "alpha alone, white": _rgba(255, GREY),
    "white on transparent black": _rgba(GREY, GREY),
    "a photograph cut out": Image.fromarray(np.dstack([PHOTOGRAPH, GREY])),
    "LA, opaque": Image.fromarray(np.stack([GREY, GREY * 0 + 255], -1), "LA"),
    "all set": Image.fromarray(GREY * 0 + 255),
    "empty": Image.fromarray(GREY * 0),
}


@pytest.mark.parametrize("name", CLEAR)
def test_encodings(tmp_path: Path, name: str) -> None:
    image = CLEAR[name]
    path = tmp_path / ("mask.tif" if image.mode in "FI" else "mask.png")
    image.save(path)
    expected = {"all set": MASK | True, "empty": MASK & False}.get(name, MASK)
    found = read_mask(path)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_greys_of_outlines(tmp_path: Path, quality: int) -> None:
    soft = _soft()
    soft.save(tmp_path / "soft.png")
    soft.save(tmp_path / "soft.jpg", quality=quality)
    soft.convert("RGB").save(tmp_path / "rgb.jpg", quality=quality)
    expected = np.asarray(soft) > 128
    np.testing.assert_array_equal(read_mask(tmp_path / "soft.png"), expected)
    for name in ("soft.jpg", "rgb.jpg"):
        assert (read_mask(tmp_path / name) != expected).mean() < 0.01
    Image.fromarray(GREY).save(tmp_path / "hard.jpg", quality=quality)
    assert (read_mask(tmp_path / "hard.jpg") != MASK).mean() < 0.005
    deep = (np.asarray(soft).astype(np.uint16) * 257).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png"), expected)


def _with(values: dict[int, tuple[slice, slice]]) -> Image.Image:
    image = np.zeros((60, 80), np.uint8)
    for value, where in values.items():
        image[where] = value
    return Image.fromarray(image)


LEFT, RIGHT = (slice(10, 50), slice(5, 30)), (slice(10, 50), slice(40, 70))
UNCLEAR = {
    "1": (_with({1: (slice(None), slice(None))}), "values are 1:"),
    "ids": (_with({2: LEFT, 5: RIGHT}), "values are 0, 2, 5"),
    "one id": (_with({38: LEFT}), "values are 0, 38"),
    "large ids": (_with({200: LEFT, 250: RIGHT}), "values are 0, 200, 250"),
    "trimap": (_with({255: RIGHT, 128: LEFT}), "values are 0, 128, 255"),
    "0, 1 and void": (_with({1: LEFT, 255: RIGHT}), "values are 0, 1, 255"),
    "photograph": (Image.fromarray(PHOTOGRAPH[..., 0]), "256 values from 0 to 255"),
    "two colours": (_palette([(255, 0, 0), (0, 255, 0)]), "2 colours"),
    "colours": (Image.fromarray(PHOTOGRAPH), "colours"),
    "16 bits": (Image.fromarray(MASK.astype(np.uint16) * 300), "values are 0, 300"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_cannot_be_told_is_refused_with_its_values(tmp_path: Path, name: str) -> None:
    image, said = UNCLEAR[name]
    image.save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=rf"mask\.png is not a binary mask: .*{said}"):
        read_mask(tmp_path / "mask.png")


def test_own_masks_come_back(tmp_path: Path) -> None:
    for name, mask in (("some", MASK), ("none", MASK & False), ("all", MASK | True)):
        write_mask(tmp_path / f"{name}.png", mask)
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png"), mask)


IDS = np.arange(60 * 80).reshape(60, 80) // 40
SMALL = (IDS % 8).astype(np.uint8)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(IDS.astype(np.uint16)), IDS),
        (Image.fromarray(IDS.astype(np.int32)), IDS),
        (Image.fromarray(IDS.astype(np.float32)), IDS),
        (Image.fromarray(SMALL), SMALL),
        (Image.fromarray(SMALL).convert("RGB"), SMALL),
        (Image.fromarray(SMALL).convert("RGBA"), SMALL),
        (Image.fromarray(SMALL).convert("LA"), SMALL),
        (Image.fromarray(SMALL, "P"), SMALL),
        (Image.fromarray(MASK), MASK),
    ],
)
def test_id_maps(tmp_path: Path, image: Image.Image, expected: np.ndarray) -> None:
    if image.mode == "P":
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 24)))
    image.save(tmp_path / "ids.tif")
    found = read_id_map(tmp_path / "ids.tif")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)


def test_id_maps_that_lost_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "ids.png"
    Image.fromarray(SMALL).save(path, format="JPEG")
    with pytest.raises(InputError, match=r"ids\.png is a JPEG file"):
        read_id_map(path)
    Image.fromarray(PHOTOGRAPH).save(path)
    with pytest.raises(InputError, match="3 channels"):
        read_id_map(path)
    Image.fromarray(IDS / np.float32(7)).save(path, format="TIFF")
    with pytest.raises(InputError, match="not whole numbers"):
        read_id_map(path)
    Image.fromarray(-IDS.astype(np.int32)).save(path, format="TIFF")
    with pytest.raises(InputError, match="negative values"):
        read_id_map(path)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp"])
def test_an_orientation_is_refused_in_every_format(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    path = tmp_path / f"turned.{kind}"
    Image.fromarray(GREY).save(path, exif=exif)
    said = rf"turned\.{kind} carries the EXIF orientation 3.*without the orientation"
    with pytest.raises(InputError, match=said):
        read_mask(path)
    if kind in ("png", "tif"):
        with pytest.raises(InputError, match=said):
            read_id_map(path)
    exif[0x0112] = 1
    Image.fromarray(GREY).save(path, exif=exif)
    assert (read_mask(path) != MASK).mean() < 0.01


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_of_16_bits_are_refused(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "deep.png"
    for value in (1, 255, 300):
        write_png(path, np.repeat(MASK[..., None] * value, channels, axis=-1), 16)
        for read in (read_mask, read_id_map):
            with pytest.raises(InputError, match=r"deep\.png has several channels of 16 bits"):
                read(path)


@pytest.mark.parametrize("bits", [2, 4])
def test_greys_of_few_bits_keep_their_values(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "few.png"
    ids = IDS % 2**bits
    write_png(path, ids, bits)
    np.testing.assert_array_equal(read_id_map(path), ids)
    for value in (1, 2**bits - 1):
        write_png(path, MASK * value, bits)
        np.testing.assert_array_equal(read_mask(path), MASK)
    write_png(path, MASK | True, bits)
    with pytest.raises(InputError, match="values are 1:"):
        read_mask(path)


def test_a_palette_of_greys_in_another_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ids.png"
    image = Image.fromarray(SMALL % 4, "P")
    for greys, accepted in (((0, 1, 2, 3), True), ((200, 100, 50, 0), False)):
        image.putpalette([value for grey in greys for value in (grey, grey, grey)])
        image.save(path)
        if accepted:
            np.testing.assert_array_equal(read_id_map(path), SMALL % 4)
        else:
            with pytest.raises(InputError, match=r"entry 0 is grey 200.*grey png"):
                read_id_map(path)
    Image.fromarray(SMALL, "L").convert("RGB").quantize(8).save(path)
    with pytest.raises(InputError, match="palette of greys"):
        read_id_map(path)


@pytest.mark.parametrize("value", [2.0**24, 3e9, np.inf])
def test_floats_that_are_not_exact_are_no_ids(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.where(MASK, value, 0).astype(np.float32)).save(tmp_path / "ids.tif")
    with pytest.raises(InputError, match=r"ids\.tif has values up to .* exact"):
        read_id_map(tmp_path / "ids.tif")
    largest = np.where(MASK, 2**24 - 1, 0)
    Image.fromarray(largest.astype(np.float32)).save(tmp_path / "ids.tif")
    np.testing.assert_array_equal(read_id_map(tmp_path / "ids.tif"), largest)


def test_an_id_map_is_found_under_any_usual_ending(tmp_path: Path) -> None:
    assert id_map_file(tmp_path, "no. 5") is None
    (tmp_path / "no. 5.TIF").write_bytes(b"")
    assert id_map_file(tmp_path, "no. 5") == tmp_path / "no. 5.TIF"
    (tmp_path / "no. 5.png").write_bytes(b"")
    assert id_map_file(tmp_path, "no. 5") == tmp_path / "no. 5.png"
