"""Source ``folder``: everything that users' photographs do."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.scene.stage import prepare

from .conftest import save_photo


def run(source: Path, out: Path, **options) -> SceneManifest:
    config = SceneConfig(source="folder", path=source, **options)
    return prepare(config, out, name="mine")


def test_split_suffixes_and_manifest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["a.jpg", "b.JPG", "c.png", "d.tif", "e.TIFF", "f.jpeg", "g.jpg", "h.jpg", "i.jpg"]
    for name in reversed(names):
        save_photo(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("x")
    (tmp_path / "in" / "._a.jpg").write_bytes(b"resource fork")
    with caplog.at_level(logging.INFO):
        manifest = run(tmp_path / "in", tmp_path / "out")
    assert [view.name for view in manifest.views] == names
    assert [(v.name, v.test_index) for v in manifest.test_views] == [("a.jpg", 0), ("i.jpg", 1)]
    assert set(manifest.sizes) == {(24, 16)}
    assert SceneManifest.load(tmp_path / "out") == manifest
    assert "notes.txt" in caplog.text
    assert sorted(p.name for p in (tmp_path / "out" / "images").iterdir()) == names
    linked = tmp_path / "out" / "images" / "b.JPG"
    assert linked.samefile(tmp_path / "in" / "b.JPG")


def test_numbers_without_leading_zeros_count_by_value(tmp_path: Path) -> None:
    for index in range(1, 15):
        save_photo(tmp_path / "in" / f"{index}.jpg")
    manifest = run(tmp_path / "in", tmp_path / "out", test_every=4)
    assert [view.name for view in manifest.views] == [f"{index}.jpg" for index in range(1, 15)]
    assert [view.name for view in manifest.test_views] == ["1.jpg", "5.jpg", "9.jpg", "13.jpg"]
    assert SceneManifest.load(tmp_path / "out") == manifest


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_written_upright(tmp_path: Path, orientation: int) -> None:
    stored = (16, 24) if orientation >= 5 else (24, 16)
    for name in ("a.jpg", "b.jpg"):
        save_photo(tmp_path / "in" / name)
    save_photo(tmp_path / "in" / "turned.jpg", stored, orientation=orientation)
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert set(manifest.sizes) == {(24, 16)}
    with Image.open(tmp_path / "out" / "images" / "turned.jpg") as image:
        assert image.size == (24, 16)
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010F] == "Maker"  # SfM reads the focal length from there
        written = np.asarray(image).astype(int)
    upright = read_image(tmp_path / "in" / "turned.jpg").astype(int)
    assert np.abs(written - upright).mean() < 6
    assert not (tmp_path / "out" / "images" / "turned.jpg").samefile(tmp_path / "in" / "turned.jpg")


def test_sizes_and_orientations_may_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        save_photo(tmp_path / "in" / name)
    save_photo(tmp_path / "in" / "large.png", (48, 32))
    save_photo(tmp_path / "in" / "portrait.jpg", (24, 16), orientation=6)
    save_photo(tmp_path / "in" / "thumb.jpg", (6, 4))
    with caplog.at_level(logging.INFO):
        manifest = run(tmp_path / "in", tmp_path / "out")
    sizes = {view.name: (view.width, view.height) for view in manifest.views}
    assert sizes["large.png"] == (48, 32)
    assert sizes["portrait.jpg"] == (16, 24)
    assert next(iter(manifest.sizes.items())) == ((24, 16), 3)
    assert "of 24 x 16 (3), 48 x 32 (1), 16 x 24 (1) and 1 more sizes px" in caplog.text
    assert "1 of 6 images are much smaller than the largest (48 px): thumb.jpg" in caplog.text


def test_one_error_names_every_bad_file(tmp_path: Path) -> None:
    for index in range(4):
        save_photo(tmp_path / "in" / f"good{index}.jpg")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"not an image")
    data = (tmp_path / "in" / "good0.jpg").read_bytes()
    (tmp_path / "in" / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError) as error:
        run(tmp_path / "in", tmp_path / "out")
    text = str(error.value)
    for name in ("broken.jpg", "cut.jpg"):
        assert name in text
    assert "good" not in text
    assert "remove" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]  # nothing half-made


def test_duplicate_stems_too_few_and_missing(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        save_photo(tmp_path / "twins" / "images" / name)
    with pytest.raises(InputError, match=r"a\.jpg and a\.png"):
        prepare(
            SceneConfig(source="lerf_mask", path=tmp_path / "twins"), tmp_path / "out", name="mine"
        )
    save_photo(tmp_path / "few" / "one" / "a.jpg")
    (tmp_path / "few" / "IMG.DNG").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds 1 images.*at least 8.*IMG\.DNG.*develop"):
        run(tmp_path / "few", tmp_path / "out")
    with pytest.raises(InputError, match="no such folder"):
        run(tmp_path / "nowhere", tmp_path / "out")


def test_deep_and_transparent_images_become_8_bit_rgb(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    deep = np.full((16, 24), 32768, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "in" / "deep.png")
    clear = np.full((16, 24, 4), (255, 0, 0, 0), np.uint8)
    clear[:, 12:] = (0, 0, 255, 255)
    Image.fromarray(clear).save(tmp_path / "in" / "clear.png")
    Image.new("L", (24, 16), 7).save(tmp_path / "in" / "grey.png")
    run(tmp_path / "in", tmp_path / "out")
    values = {}
    for name in ("deep", "clear", "grey"):
        values[name] = tuple(read_image(tmp_path / "out" / "images" / f"{name}.png")[0, 0])
    assert values == {"deep": (128,) * 3, "clear": (255,) * 3, "grey": (7,) * 3}
    ignored = read_ignored(tmp_path / "out", "clear")
    assert ignored is not None
    assert ignored[:, :12].all()
    assert not ignored[:, 12:].any()
    assert read_ignored(tmp_path / "out", "deep") is None


def test_rerun_replaces_and_cleans_up(tmp_path: Path) -> None:
    for index in range(5):
        save_photo(tmp_path / "in" / f"{index}.jpg")
    run(tmp_path / "in", tmp_path / "out" / "scene")
    (tmp_path / "in" / "3.jpg").unlink()
    manifest = run(tmp_path / "in", tmp_path / "out" / "scene", test_every=2)
    assert [view.name for view in manifest.test_views] == ["0.jpg", "2.jpg"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["scene"]
    assert len(list((tmp_path / "out" / "scene" / "images").iterdir())) == 4


def test_config_asks_for_a_path() -> None:
    with pytest.raises(ValueError, match="needs path"):
        SceneConfig(source="folder")
    with pytest.raises(ValueError, match="set source"):
        SceneConfig(path=Path("x"))


def test_manifest_refuses_contradictions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run stage"):
        SceneManifest.load(tmp_path)
    for index in range(3):
        save_photo(tmp_path / "in" / f"{index}.jpg")
    run(tmp_path / "in", tmp_path / "out")
    path = tmp_path / "out" / "scene.json"
    path.write_text(path.read_text().replace('"test_index": 0', '"test_index": 1'))
    with pytest.raises(InputError, match="test_index"):
        SceneManifest.load(tmp_path / "out")
