"""Files as others make them: damaged tags, wrong endings, every depth, pixels that are turned."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.scene.stage import prepare
from tests.png_files import write_png

from .conftest import save_photo

RAMP = np.linspace(20, 235, 16 * 24).reshape(16, 24).astype(np.uint8)


def run(source: Path, out: Path, kind: str = "folder", **options) -> SceneManifest:
    config = SceneConfig(source=kind, path=source, **options)
    return prepare(config, out, name="mine")


def fill(folder: Path, count: int = 3) -> None:
    for index in range(count):
        save_photo(folder / f"plain{index}.jpg")


def test_a_tag_of_the_wrong_type_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    red_left = np.full((24, 16, 3), 40, np.uint8)
    red_left[:, :8] = (220, 20, 20)
    image = Image.fromarray(red_left)
    exif = image.getexif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif[0x011A] = 72.0  # XResolution; its type is then changed to text
    exif[0x8769] = {0x920A: 4.5, 0xA405: 26}  # focal lengths
    data = exif.tobytes()
    broken = data.replace(struct.pack(">HH", 0x011A, 5), struct.pack(">HH", 0x011A, 2))
    assert broken != data
    (tmp_path / "in").mkdir(exist_ok=True)
    image.save(tmp_path / "in" / "bad.jpg", exif=broken, quality=95)
    with Image.open(tmp_path / "in" / "bad.jpg") as file, pytest.raises(TypeError):
        file.getexif().tobytes()  # what stopped everything

    manifest = run(tmp_path / "in", tmp_path / "out")
    assert set(manifest.sizes) == {(24, 16)}
    with Image.open(tmp_path / "out" / "images" / "bad.jpg") as file:
        tags = file.getexif()
        assert (tags.get(0x0112, 1), tags[0x010F], 0x011A in tags) == (1, "Maker", False)
        assert (tags.get_ifd(0x8769)[0x920A], tags.get_ifd(0x8769)[0xA405]) == (4.5, 26)
        upright = np.asarray(file)
    assert upright[:6, :, 0].min() > 180 > 90 > upright[10:, :, 0].max()  # the left is on top


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none(tmp_path: Path, value: int) -> None:
    fill(tmp_path / "in", 2)
    image = Image.fromarray(np.stack([RAMP] * 3, axis=-1))
    exif = image.getexif()
    exif[0x0112] = value
    image.save(tmp_path / "in" / "odd.png", exif=exif.tobytes())
    assert run(tmp_path / "in", tmp_path / "out").sizes == {(24, 16): 3}


def test_content_of_another_format_than_the_ending_says(tmp_path: Path) -> None:
    fill(tmp_path / "in", 2)
    rgb = np.stack([RAMP, RAMP[::-1], RAMP // 2], axis=-1)
    images = {"w.jpg": "WEBP", "p.JPG": "PNG", "j.png": "JPEG", "t.png": "TIFF", "b.tif": "BMP"}
    images["real.WEBP"] = "WEBP"
    written = {}
    for shift, (name, kind) in enumerate(images.items()):
        lossless = {"lossless": True} if kind == "WEBP" else {}
        written[Path(name).stem] = rgb + 4 * shift
        Image.fromarray(written[Path(name).stem]).save(
            tmp_path / "in" / name, format=kind, **lossless
        )
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert [view.name for view in manifest.views] == [
        "b.tif", "j.png", "p.JPG", "plain0.jpg", "plain1.jpg", "real.jpg", "t.png", "w.jpg"
    ]  # fmt: skip
    endings = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF"}
    for view in manifest.views:
        path = tmp_path / "out" / "images" / view.name
        with Image.open(path) as file:
            assert file.format == endings[path.suffix.lower()]
            if not view.name.startswith("plain"):
                difference = np.abs(np.asarray(file).astype(int) - written[path.stem])
                assert difference.mean() < 6  # JPEG
    assert np.array_equal(read_image(tmp_path / "out" / "images" / "t.png"), written["t"])


def _deep_files() -> dict[str, Image.Image]:
    unit = RAMP / 255.0
    rgb = np.stack([RAMP] * 3, axis=-1)
    black_and_white = Image.fromarray(RAMP > 128)
    return {
        "float01.tif": Image.fromarray(unit.astype(np.float32)),
        "deep16.png": Image.fromarray((unit * 65535).astype(np.uint16)),
        "deep16.tif": Image.fromarray((unit * 65535).astype(np.uint16)),
        "deep12.tif": Image.fromarray((unit * 4095).astype(np.uint16)),
        "int32.tif": Image.fromarray((unit * 65535).astype(np.int32)),
        "eight_in_32.tif": Image.fromarray(RAMP.astype(np.int32)),
        "float255.tif": Image.fromarray(RAMP.astype(np.float32)),
        "float16bit.tif": Image.fromarray((unit * 65535).astype(np.float32)),
        "cmyk.tif": Image.fromarray(rgb).convert("CMYK"),
        "palette.png": Image.fromarray(RAMP).convert("P"),
        "la.png": Image.fromarray(np.stack([RAMP, np.full_like(RAMP, 255)], -1), "LA"),
        "rgba.png": Image.fromarray(rgb).convert("RGBA"),
        "one_bit.png": black_and_white,
    }


@pytest.mark.parametrize("name", list(_deep_files()))
def test_every_depth_becomes_8_bits(tmp_path: Path, name: str) -> None:
    image = _deep_files()[name]
    fill(tmp_path / "in", 2)
    image.save(tmp_path / "in" / name)
    run(tmp_path / "in", tmp_path / "out")
    expected = (RAMP > 128) * 255 if name == "one_bit.png" else RAMP
    path = tmp_path / "out" / "images" / name
    with Image.open(path) as file:
        assert file.mode in ("L", "RGB")
    found = read_image(path).astype(int)
    assert np.abs(found - expected[..., None]).max() <= 1


def test_16_bit_colours_are_rewritten_in_8(tmp_path: Path) -> None:
    fill(tmp_path / "in", 2)
    deep = np.stack([RAMP] * 3, axis=-1) / 255.0 * 65535
    write_png(tmp_path / "in" / "0.png", deep, 16)
    run(tmp_path / "in", tmp_path / "out")
    path = tmp_path / "out" / "images" / "0.png"
    assert not path.samefile(tmp_path / "in" / "0.png")
    assert np.abs(read_image(path).astype(int) - RAMP[..., None]).max() <= 1


def test_dark_and_bright_photographs_of_16_bits_have_one_white(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, brightest in (("a", 65535), ("b", 4000), ("c", 200)):
        values = (RAMP / 235.0 * brightest).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "in" / f"{name}.png")
    run(tmp_path / "in", tmp_path / "out")
    highest = [read_image(tmp_path / "out" / "images" / f"{n}.png").max() for n in "abc"]
    assert highest == [255, 16, 1]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.0, 7.5, "0 to 7.5, neither 0..1"),
        (-3.0, 1.0, "-3 to 1"),
        (0.0, 3e5, "300000, beyond 16 bits"),
        (0.0, np.nan, "not finite"),
    ],
)
def test_ranges_that_mean_nothing_are_refused(
    tmp_path: Path, low: float, high: float, said: str
) -> None:
    fill(tmp_path / "in")
    values = np.linspace(low, high, 16 * 24, dtype=np.float32).reshape(16, 24)
    Image.fromarray(values).save(tmp_path / "in" / "radiance.tif")
    with pytest.raises(InputError, match=rf"radiance\.tif.*{said}"):
        run(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiff_files_are_turned_once(tmp_path: Path, orientation: int, compression: str) -> None:
    (tmp_path / "in").mkdir()
    for part, (name, kind) in enumerate((("a", "png"), ("b", "tif"), ("c", "tif"), ("d", "png"))):
        stored = np.stack([RAMP, RAMP // 2, RAMP // (3 + part)], axis=-1)
        path = tmp_path / "in" / f"{name}.{kind}"
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"compression": compression} if kind == "tif" else {}
        Image.fromarray(stored).save(path, exif=exif, **options)
    manifest = run(tmp_path / "in", tmp_path / "out")
    images = tmp_path / "out" / "images"
    size = (16, 24) if orientation >= 5 else (24, 16)
    assert set(manifest.sizes) == {size}
    for part, view in enumerate(manifest.views):
        stored = Image.fromarray(np.stack([RAMP, RAMP // 2, RAMP // (3 + part)], axis=-1))
        stored.getexif()[0x0112] = orientation
        upright = np.asarray(ImageOps.exif_transpose(stored))
        np.testing.assert_array_equal(read_image(tmp_path / "in" / view.name), upright)
        np.testing.assert_array_equal(read_image(images / view.name), upright)
        with Image.open(images / view.name) as file:  # nothing is left for COLMAP to ignore
            assert (file.getexif().get(0x0112, 1), file.size) == (1, size)


def test_tiff_files_of_a_model_stay_as_stored(tmp_path: Path) -> None:
    scene = tmp_path / "in"
    (scene / "images").mkdir(parents=True)
    stored = np.stack([RAMP, RAMP // 2, RAMP // 3], axis=-1)
    for index in range(3):
        Image.fromarray(stored).save(scene / "images" / f"{index}.tif", tiffinfo={274: 3})
    (scene / "sparse" / "0").mkdir(parents=True)
    (scene / "sparse" / "0" / "cameras.txt").write_text("1 PINHOLE 24 16 20 20 12 8\n")
    (scene / "sparse" / "0" / "images.txt").write_text(
        "".join(f"{k + 1} 1 0 0 0 0 0 0 1 {k}.tif\n\n" for k in range(3))
    )
    (scene / "sparse" / "0" / "points3D.txt").write_text("")
    run(scene, tmp_path / "out", "lerf_mask")
    for index in range(3):
        path = tmp_path / "out" / "images" / f"{index}.tif"
        np.testing.assert_array_equal(read_image(path), stored)
        with Image.open(path) as file:
            assert 274 not in file.tag_v2


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_colours_of_fewer_bits_in_files_of_16_are_refused(tmp_path: Path, bits: int) -> None:
    fill(tmp_path / "in")
    colours = np.stack([RAMP, RAMP * 0, RAMP * 0], axis=-1) / 235.0 * (2**bits - 1)
    write_png(tmp_path / "in" / "deep.png", colours, 16)
    with pytest.raises(InputError, match=r"deep\.png: colours in 16 bits.*10 to 14 bits"):
        run(tmp_path / "in", tmp_path / "out")
    write_png(tmp_path / "in" / "bright.png", np.full((16, 24, 3), 65535), 16)
    run(tmp_path / "in", tmp_path / "out")


def test_black_images_are_never_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path / "in")
    Image.fromarray((RAMP / 255.0 * 12).astype(np.uint8)).save(tmp_path / "in" / "dim.png")
    run(tmp_path / "in", tmp_path / "out")
    [record] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "1 of 4 images are black" in record.message
    assert "dim.png" in record.message


def test_every_unreadable_file_is_named_with_its_reason(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    contents = {
        "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        "lfs.png": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        "page.jpg": (b"<!DOCTYPE html><html>", "web page"),
        "empty.png": (b"", "empty"),
        "radiance.tif": (_float_rgb_tiff(), "TIFF of a kind"),
        "notes.jpg": (b"a list of photographs", "(its content is no picture, or one of an"),
    }
    for name, (data, _) in contents.items():
        (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(InputError, match="6 of 9 images") as error:
        run(tmp_path / "in", tmp_path / "out")
    for name, (_, reason) in contents.items():
        [line] = [line for line in str(error.value).splitlines() if name in line]
        assert reason in line


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"photometric": "rgb", "planarconfig": "separate"}, "lie one after another"),
        ({"photometric": "miniswhite"}, "0 is white"),
    ],
)
def test_tiff_files_that_pillow_reads_wrong_are_named(
    tmp_path: Path, options: dict, reason: str
) -> None:
    tifffile = pytest.importorskip("tifffile", reason="comes with scikit-image")
    fill(tmp_path / "in")
    shape = (3, 16, 24) if "planarconfig" in options else (16, 24)
    values = np.random.default_rng(0).integers(0, 65535, shape, np.uint16)
    tifffile.imwrite(tmp_path / "in" / "scan.tif", values, **options)
    with pytest.raises(InputError, match=f"1 of 4 images.*\\n.*scan.tif: .*{reason}"):
        run(tmp_path / "in", tmp_path / "out")
    compressed = np.right_shift(values, 8).astype(np.uint8)  # 8 bits are read right
    tifffile.imwrite(tmp_path / "in" / "scan.tif", compressed, **options)
    run(tmp_path / "in", tmp_path / "out")


def _float_rgb_tiff() -> bytes:
    """A TIFF of 2 x 2 pixels of three 32-bit floats, which Pillow does not know."""
    tags = [
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 220), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 48), (339, 3, 3, 206),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    values = struct.pack("<3H", 32, 32, 32) + struct.pack("<3H", 3, 3, 3)
    return head.ljust(200, b"\0") + values.ljust(20, b"\0") + np.ones(12, "<f4").tobytes()


def test_what_is_left_out_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path / "in")
    for name in [f"IMG_{index}.CR3" for index in range(7)] + ["walk.MOV", "notes.txt"]:
        (tmp_path / "in" / name).write_bytes(b"x")
    fill(tmp_path / "in" / "masks", 2)
    (tmp_path / "in" / "empty").mkdir()
    run(tmp_path / "in", tmp_path / "out")
    warned = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 3
    assert "7 raw photographs (IMG_0.CR3, IMG_1.CR3" in warned[0]
    assert "and 2 more): develop" in warned[0]
    assert "1 video (walk.MOV)" in warned[1]
    assert "masks/ with 2" in warned[2]


def test_images_in_sub_folders_of_a_published_layout_are_not_read(tmp_path: Path) -> None:
    fill(tmp_path / "in" / "images" / "left", 3)
    fill(tmp_path / "in" / "images" / "right", 4)
    with pytest.raises(InputError, match=r"holds 0 images.*left/ with 3, right/ with 4"):
        run(tmp_path / "in", tmp_path / "out", "lerf_mask")
