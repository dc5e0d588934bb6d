"""Photographs in phones' and cameras' formats: HEIC, AVIF, JPEG XL and others, their colours."""

from __future__ import annotations

import io
import logging
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.scene.hdr import hdr_to_srgb
from gradiseg_core.stages.scene.stage import prepare

from .conftest import save_photo

#: Primaries and white point in xy, gamma 2.2: a wide profile, as cameras and phones write it.
_ADOBE_LIKE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))


def run(source: Path, out: Path, **options) -> SceneManifest:
    return prepare(SceneConfig(source="folder", path=source, **options), out, name="mine")


def fill(folder: Path, count: int = 2) -> None:
    for index in range(count):
        save_photo(folder / f"plain{index}.jpg", (96, 64))


def picture(size: tuple[int, int] = (96, 64)) -> NDArray[np.uint8]:
    """Red on the upper left, blue on the lower right, a ramp between."""
    width, height = size
    pixels = np.repeat(np.linspace(40, 200, width * height).reshape(height, width, 1), 3, axis=2)
    pixels[: height // 2, : width // 2] = (220, 20, 20)
    pixels[height // 2 :, width // 2 :] = (20, 20, 220)
    return pixels.astype(np.uint8)


def camera_exif(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = orientation, "Maker", "Phone"
    exif[0x8769] = {0x920A: 4.5, 0xA405: 26, 0x829A: 0.01, 0x8827: 100, 0x829D: 2.0}
    return exif.tobytes()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def save(path: Path, pixels: NDArray[np.uint8], orientation: int = 1) -> None:
    """Write a picture, as stored, with EXIF data in the way of its format."""
    exif = camera_exif(orientation)
    image = Image.fromarray(pixels)
    if path.suffix.lower() in (".heic", ".hif"):
        pillow_heif.register_heif_opener()
        image.save(path, format="HEIF", exif=exif, quality=95, chroma=444)
    elif path.suffix == ".jxl":
        stream = imagecodecs.jpegxl_encode(pixels, lossless=True)
        tiff = bytes(4) + exif.removeprefix(b"Exif\0\0")
        kind = b"brob", b"Exif" + imagecodecs.brotli_encode(tiff)
        path.write_bytes(
            struct.pack(">I4s4s", 12, b"JXL ", b"\r\n\x87\n")
            + box(b"ftyp", b"jxl \0\0\0\0jxl ")
            + box(*(kind if path.stem.endswith("b") else (b"Exif", tiff)))
            + box(b"jxlc", stream)
        )
    else:
        options = {".avif": {"quality": 95, "subsampling": "4:4:4"}, ".webp": {"lossless": True}}
        known = options.get(path.suffix, {})
        image.save(path, **({"exif": exif} if path.suffix not in (".bmp", ".jp2") else {}), **known)


@pytest.mark.parametrize(
    ("name", "written", "focal"),
    [
        ("IMG 1.HEIC", "IMG 1.jpg", True),
        ("a.hif", "a.jpg", True),
        ("a.avif", "a.jpg", True),
        ("a.webp", "a.jpg", True),
        ("a.jxl", "a.jpg", True),
        ("b.jxl", "b.jpg", True),
        ("a.jp2", "a.jpg", False),
        ("a.bmp", "a.png", False),
    ],
)
def test_formats_become_such_as_colmap_reads_with_their_focal_length(
    tmp_path: Path, name: str, written: str, focal: bool
) -> None:
    fill(tmp_path / "in")
    save(tmp_path / "in" / name, picture())
    manifest = run(tmp_path / "in", tmp_path / "out")
    [view] = [view for view in manifest.views if not view.name.startswith("plain")]
    assert (view.name, view.original) == (written, name)
    path = tmp_path / "out" / "images" / written
    assert np.abs(read_image(path).astype(int) - picture()).mean() < 4
    with Image.open(path) as file:
        assert file.format == {".jpg": "JPEG", ".png": "PNG"}[path.suffix]
        tags = file.getexif().get_ifd(0x8769)
    if focal:
        assert (tags[0x920A], tags[0xA405]) == (4.5, 26)


@pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.webp", "a.tif", "a.png", "a.jpg"])
@pytest.mark.parametrize("orientation", [3, 5, 6])
def test_every_format_is_turned_upright_once(tmp_path: Path, name: str, orientation: int) -> None:
    fill(tmp_path / "in")
    stored = Image.fromarray(picture())
    inverse = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.TRANSPOSE}
    stored = stored.transpose(inverse.get(orientation, Image.Transpose.ROTATE_90))
    save(tmp_path / "in" / name, np.asarray(stored), orientation)
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert set(manifest.sizes) == {(96, 64)}
    [view] = [view for view in manifest.views if not view.name.startswith("plain")]
    path = tmp_path / "out" / "images" / view.name
    assert np.abs(read_image(path).astype(int) - picture()).mean() < 5
    with Image.open(path) as file:
        assert file.getexif().get(0x0112, 1) == 1


def test_a_jpeg_with_a_gain_map_is_used_as_it_is(tmp_path: Path) -> None:
    """As phones write them since 2023: Pillow calls them MPO, COLMAP and Pillow read the first."""
    from gradiseg_core.files._pycolmap import pycolmap

    fill(tmp_path / "in")
    small = Image.fromarray(picture((24, 16))).convert("L")
    Image.fromarray(picture()).save(
        tmp_path / "in" / "a.jpg", "MPO", save_all=True, append_images=[small], quality=97
    )
    run(tmp_path / "in", tmp_path / "out")
    path = tmp_path / "out" / "images" / "a.jpg"
    assert path.samefile(tmp_path / "in" / "a.jpg")
    by_colmap = pycolmap.Bitmap.read(str(path), True).to_array().astype(int)
    assert np.abs(by_colmap - picture()).mean() < 4
    assert np.abs(read_image(path).astype(int) - picture()).mean() < 4
    assert read_image(path, (48, 32)).shape == (32, 48, 3)


def test_colmap_finds_the_focal_length_of_a_heic_photograph(tmp_path: Path) -> None:
    from gradiseg_core.files._pycolmap import pycolmap

    fill(tmp_path / "in")
    save(tmp_path / "in" / "a.heic", picture())
    run(tmp_path / "in", tmp_path / "out")
    camera = pycolmap.infer_camera_from_image(tmp_path / "out" / "images" / "a.jpg")
    assert camera.has_prior_focal_length
    assert camera.focal_length == pytest.approx(26 / 36 * 96, rel=0.05)


def wide_profile() -> bytes:
    """A matrix profile with Adobe RGB's primaries and a gamma of 2.2 (ICC.1:2001, by hand)."""
    white = np.array([0.9642, 1.0, 0.8249])
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _ADOBE_LIKE]).T
    columns = xyz * np.linalg.solve(xyz, white)

    def fixed(values: NDArray) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *np.round(values * 65536).astype(int))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(79)
    tags = {b"desc": text, b"wtpt": fixed(white), b"cprt": b"text" + bytes(4) + b"none\0\0\0\0"}
    tags |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(fixed, columns.T), strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    head = bytearray(128)
    head[:4] = struct.pack(">I", start + len(data))
    head[8:12], head[12:24], head[36:40] = b"\x02\x10\0\0", b"mntrRGB XYZ ", b"acsp"
    head[68:80] = struct.pack(">3i", *np.round(white * 65536).astype(int))
    return bytes(head) + struct.pack(">I", len(tags)) + table + data


@pytest.mark.parametrize(
    "name", ["wide.jpg", "wide.png", "wide.tif", "wide.heic", "wide.avif", "alpha.png"]
)
def test_wide_profiles_become_srgb(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "in")
    # In these primaries, (200, 120, 80) is a more saturated colour than it would be in sRGB. By
    # hand: linear light, the matrix of the primaries, the inverse of sRGB's (both to D50), gamma.
    linear = (np.array([200, 120, 80]) / 255) ** (round(2.2 * 256) / 256)
    white = np.array([0.9642, 1.0, 0.8249])
    xyz = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in _ADOBE_LIKE]).T
    srgb = np.array(
        [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
         [0.0139322, 0.0971045, 0.7141733]]
    )  # fmt: skip
    light = np.linalg.solve(srgb, (xyz * np.linalg.solve(xyz, white)) @ linear)
    expected = 255 * (1.055 * np.clip(light, 0, 1) ** (1 / 2.4) - 0.055)
    assert np.abs(expected - (200, 120, 80)).max() > 15  # it matters

    pixels = picture()
    pixels[:, 48:] = (200, 120, 80)
    image = Image.fromarray(pixels)
    if name == "alpha.png":
        image.putalpha(255)
    pillow_heif.register_heif_opener()
    options = {"quality": 100} if name.endswith(("jpg", "heic", "avif")) else {}
    image.save(tmp_path / "in" / name, icc_profile=wide_profile(), **options)
    run(tmp_path / "in", tmp_path / "out")
    path = tmp_path / "out" / "images" / name.replace("heic", "jpg").replace("avif", "jpg")
    found = read_image(path)[32, 80]
    assert np.abs(found - expected).max() <= 4
    with Image.open(path) as file:
        assert not file.info.get("icc_profile")


@pytest.mark.parametrize("ending", ["avif", "heic"])
@pytest.mark.parametrize(
    ("primaries", "expected"),
    # By the chromaticities of H.273, computed apart from this code.
    [(1, (200, 120, 80)), (12, (213, 115, 70)), (9, (236, 105, 70))],
)
def test_wide_primaries_by_number_become_srgb(
    tmp_path: Path, ending: str, primaries: int, expected: tuple[int, int, int]
) -> None:
    fill(tmp_path / "in")
    pixels = picture()
    pixels[:, 48:] = (200, 120, 80)
    pillow_heif.register_heif_opener()
    path = tmp_path / "in" / f"wide.{ending}"
    Image.fromarray(pixels).save(path, quality=100)
    data = path.read_bytes()
    place = data.index(b"colrnclx") + 8
    path.write_bytes(data[:place] + primaries.to_bytes(2, "big") + data[place + 2 :])
    run(tmp_path / "in", tmp_path / "out")
    found = read_image(tmp_path / "out" / "images" / "wide.jpg")[32, 80]
    assert np.abs(found - np.array(expected)).max() <= 4


def retagged(codestream: bytes, colours: str) -> bytes:
    """Return a lossless JPEG XL of 96 x 64 px in 8 bits with another colour encoding.

    Args:
        codestream: As imagecodecs makes it: sRGB, which is one bit of the head.
        colours: The bits that take its place, the first in the stream first.
    """
    stream = "".join(f"{byte:08b}"[::-1] for byte in codestream)
    # FF 0A; 64 rows: small, 64 / 8 - 1 in 5 bits; ratio 4 (3 : 2) in 3 bits; not all is default,
    # no extra fields, 8-bit integers (3 bits), modular 16-bit buffers, no extra channel (2), no XYB
    start = 16 + 1 + 5 + 3 + 1 + 1 + 3 + 1 + 2 + 1
    assert stream[16:25] == "1" + "11100" + "001"  # numbers, too, have their lowest bit first
    end = start + 4  # sRGB, no extensions (2), the default transform
    assert stream[start:end] == "1" + "00" + "1"
    head = stream[:start] + colours + "001"
    rest = stream[end + -end % 8 :]  # the frame begins with a whole byte
    head += "0" * (-len(head) % 8)
    bits = head + rest
    return bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


#: Not the default, no profile, RGB, white of D65; then primaries, no gamma, transfer, intent.
_RGB_D65 = "0" + "0" + "00" + "10"


@pytest.mark.parametrize(
    ("colours", "expected"),
    # P3 is 11, sRGB 1, BT.2020 9 of the primaries; linear light is 8 and sRGB 13 of the transfers.
    [
        (_RGB_D65 + "10" + "0" + "01" + "1101" + "10", (200, 120, 80)),
        (_RGB_D65 + "01" + "1001" + "0" + "01" + "1101" + "10", (213, 115, 70)),
        (_RGB_D65 + "01" + "1110" + "0" + "01" + "1101" + "10", (236, 105, 70)),
        (_RGB_D65 + "10" + "0" + "01" + "0110" + "10", (228, 182, 152)),
    ],
)
def test_colours_of_jpeg_xl_become_srgb(
    tmp_path: Path,
    colours: str,
    expected: tuple[int, int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(tmp_path / "in")
    pixels = picture()
    pixels[:, 48:] = (200, 120, 80)
    stream = retagged(imagecodecs.jpegxl_encode(pixels, lossless=True), colours)
    assert np.array_equal(imagecodecs.jpegxl_decode(stream), pixels)  # still a right file
    (tmp_path / "in" / "a.jxl").write_bytes(stream)
    run(tmp_path / "in", tmp_path / "out")
    found = read_image(tmp_path / "out" / "images" / "a.jpg")[32, 80]
    assert np.abs(found - np.array(expected)).max() <= 4
    assert "way that is not read" not in caplog.text


def test_colours_of_jpeg_xl_that_are_not_read_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "in")
    stream = imagecodecs.jpegxl_encode(picture(), lossless=True)
    gamma = f"{round(1e7 / 1.8):024b}"[::-1]
    colours = _RGB_D65 + "10" + "1" + gamma + "10"
    (tmp_path / "in" / "a.jxl").write_bytes(retagged(stream, colours))
    run(tmp_path / "in", tmp_path / "out")
    assert "1 JPEG XL images are described in a way that is not read here" in caplog.text


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_jpeg_xl_in_the_light_that_it_says(tmp_path: Path, bits: int) -> None:
    """Decoded to 16-bit integers of that many bits; imagecodecs writes them as linear light."""
    fill(tmp_path / "in")
    signal = picture() / 255
    linear = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    values = np.round(linear * (2**bits - 1)).astype(np.uint16)
    for name, stored in (("rgb", values), ("grey", np.ascontiguousarray(values[..., 1]))):
        data = imagecodecs.jpegxl_encode(stored, lossless=True, bitspersample=bits)
        (tmp_path / "in" / f"{name}.jxl").write_bytes(data)
    run(tmp_path / "in", tmp_path / "out")
    found = read_image(tmp_path / "out" / "images" / "rgb.jpg").astype(int)
    assert np.abs(found - picture()).mean() < 4
    found = read_image(tmp_path / "out" / "images" / "grey.jpg").astype(int)
    assert np.abs(found - picture()[..., 1:2]).mean() < 2


def test_a_jpeg_in_jpeg_xl_keeps_its_profile(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    stored = io.BytesIO()
    Image.fromarray(picture()).save(stored, "JPEG", quality=97, icc_profile=wide_profile())
    (tmp_path / "in" / "a.jxl").write_bytes(imagecodecs.jpegxl_encode_jpeg(stored.getvalue()))
    (tmp_path / "in" / "b.jpg").write_bytes(stored.getvalue())
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert [one.detail for one in manifest.unused] == ["a.jxl"]  # one picture
    found = read_image(tmp_path / "out" / "images" / "a.jpg").astype(int)
    (tmp_path / "in" / "a.jxl").unlink()
    run(tmp_path / "in", tmp_path / "out")
    expected = read_image(tmp_path / "out" / "images" / "b.jpg").astype(int)
    assert np.abs(found - expected).max() <= 1
    assert np.abs(expected - picture()).mean() > 5  # it matters


def test_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    both = np.stack([picture(), picture()[::-1]])
    data = imagecodecs.jpegxl_encode(both, lossless=True, photometric="rgb")
    (tmp_path / "in" / "a.jxl").write_bytes(data)
    run(tmp_path / "in", tmp_path / "out")
    found = read_image(tmp_path / "out" / "images" / "a.jpg").astype(int)
    assert np.abs(found - picture()).mean() < 4


@pytest.mark.parametrize(("transfer", "white"), [(18, 0.75), (16, 0.5806)])
def test_hdr_photographs_become_srgb(tmp_path: Path, transfer: int, white: float) -> None:
    """Cameras' .HIF files: PQ or HLG in BT.2020."""
    fill(tmp_path / "in")
    signal = np.clip(picture() / 255 * white * 65535, 0, 65535).astype(np.uint16)
    image = pillow_heif.from_bytes("RGB;16", (96, 64), signal.tobytes())
    image.save(
        tmp_path / "in" / "a.HIF", quality=98, chroma=444, color_primaries=9,
        transfer_characteristics=transfer, matrix_coefficients=9,
    )  # fmt: skip
    run(tmp_path / "in", tmp_path / "out")
    found = read_image(tmp_path / "out" / "images" / "a.jpg").astype(int)
    expected = hdr_to_srgb(signal, transfer).astype(int)
    assert np.abs(found - expected).mean() < 5
    assert np.abs(expected - picture()).mean() > 10  # it matters


def test_srgb_by_any_program_is_used_unchanged(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture()).save(tmp_path / "in" / "a.jpg", icc_profile=profile)
    run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "images" / "a.jpg").samefile(tmp_path / "in" / "a.jpg")


@pytest.mark.parametrize("profile", [b"no profile at all", wide_profile()[:300]])
def test_damaged_profiles_are_passed_over(
    tmp_path: Path, profile: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "in")
    Image.fromarray(picture()).save(tmp_path / "in" / "a.png", icc_profile=profile)
    run(tmp_path / "in", tmp_path / "out")
    assert np.array_equal(read_image(tmp_path / "out" / "images" / "a.png"), picture())


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_cmyk_and_grey_with_a_profile_for_other_pixels(tmp_path: Path, mode: str) -> None:
    fill(tmp_path / "in")
    image = Image.fromarray(picture()).convert(mode)
    image.save(tmp_path / "in" / "a.jpg", quality=98, icc_profile=wide_profile())
    run(tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out" / "images" / "a.jpg") as file:
        assert file.mode == "RGB"
        found = np.asarray(file).astype(int)
    if mode == "CMYK":  # the profile is for RGB, so that it says nothing about these
        assert np.abs(found - picture()).mean() < 4
    else:  # greys stay grey
        assert np.ptp(found, axis=-1).max() <= 3


def test_transparent_pixels_are_ignored_and_turn_with_the_photograph(tmp_path: Path) -> None:
    fill(tmp_path / "in")
    stored = np.dstack([picture((64, 96)), np.full((96, 64), 255, np.uint8)])
    stored[:10, :, 3] = 0  # the upper edge as stored; with orientation 6 the right edge
    stored[:, :5, 3] = 120
    image = Image.fromarray(stored)
    image.save(tmp_path / "in" / "a.png", exif=camera_exif(6))
    run(tmp_path / "in", tmp_path / "out")
    ignored = read_ignored(tmp_path / "out", "a")
    assert ignored is not None
    expected = np.zeros((64, 96), bool)
    expected[:, 86:] = True
    expected[:5] = True
    assert np.array_equal(ignored, expected)
    Image.new("RGBA", (96, 64), (9, 9, 9, 0)).save(tmp_path / "in" / "nothing.png")
    with pytest.raises(InputError, match=r"1 images are transparent throughout.*nothing\.png"):
        run(tmp_path / "in", tmp_path / "out")


def test_damaged_files_of_every_format_are_named_at_once_or_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "in", 3)
    names = ["a.heic", "b.avif", "c.jxl", "d.jpg", "e.png", "f.webp", "g.tif"]
    for name in names:
        path = tmp_path / "in" / name
        save(path, np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="7 of 10 images") as error:
        run(tmp_path / "in", tmp_path / "out")
    assert all(f"  {name}: unreadable (" in str(error.value) for name in names)
    assert "b.avif: unreadable (AVIF that is damaged" in str(error.value)
    assert "`scenes.<name>.skip_unreadable: true`" in str(error.value)
    with caplog.at_level(logging.WARNING):
        manifest = run(tmp_path / "in", tmp_path / "out", skip_unreadable=True)
    assert [view.name for view in manifest.views] == ["plain0.jpg", "plain1.jpg", "plain2.jpg"]
    assert "7 of 10 images cannot be read and are left out" in caplog.text
    assert all(name in caplog.text for name in names)
    assert [(one.file, one.why) for one in manifest.unused] == [
        (name, "unreadable") for name in names
    ]
    (tmp_path / "in" / "plain2.jpg").unlink()
    with pytest.raises(InputError, match=r"only 2 of 9 images.*can be read"):
        run(tmp_path / "in", tmp_path / "out", skip_unreadable=True)


def test_numbered_views_are_never_skipped() -> None:
    with pytest.raises(ValueError, match="skip_unreadable is set, but source is 'lerf_mask'"):
        SceneConfig(source="lerf_mask", path=Path("x"), skip_unreadable=True)


def test_threads_change_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "in", 4)
    for index in range(4):
        save(tmp_path / "in" / f"a{index}.heic", np.roll(picture(), 7 * index, axis=0))
    found = []
    for threads in (1, 4):
        config = SceneConfig(source="folder", path=tmp_path / "in")
        manifest = prepare(config, tmp_path / str(threads), name="mine", threads=threads)
        images = sorted((tmp_path / str(threads) / "images").iterdir())
        found.append((manifest, [(path.name, path.read_bytes()) for path in images]))
    assert found[0] == found[1]


def test_a_large_jpeg_is_inspected_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradiseg_core.stages.scene import inspecting

    seen = []
    small = inspecting._small
    monkeypatch.setattr(
        inspecting, "_small", lambda file, turn: seen.append(file.size) or small(file, turn)
    )
    pixels = np.asarray(Image.fromarray(picture()).resize((4096, 3072)))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", exif=camera_exif(6))
    (tmp_path / "a.jpg").write_bytes(stream.getvalue())
    photo = inspecting.inspect(tmp_path / "a.jpg")
    assert (photo.size, photo.turn, seen) == ((4096, 3072), 6, [(1024, 768)])
    assert photo.exposure == pytest.approx(np.log2(0.01 * 100 / (100 * 4)))
