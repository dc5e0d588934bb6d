"""Folders as people have them: sub-folders, any names, copies, changed exposure, what is hidden."""

from __future__ import annotations

import logging
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.inputs import given_files
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.scene.stage import prepare

from .conftest import save_photo


def run(source: Path, out: Path, **options) -> SceneManifest:
    return prepare(SceneConfig(source="folder", path=source, **options), out, name="mine")


def names(manifest: SceneManifest) -> dict[str, str | None]:
    return {view.name: view.original for view in manifest.views}


def texture(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A smooth picture of its own, with fine grain."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(30, 220, (6, 9, 3), np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
    grain = random.integers(-8, 9, pixels.shape)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def test_sub_folders_become_a_part_of_the_names(tmp_path: Path) -> None:
    for name in ("left/1.jpg", "left/2.jpg", "left/10.jpg", "right/1.JPG", "right/far/1.png"):
        save_photo(tmp_path / "in" / name)
    mask = np.zeros((16, 24), np.uint8)
    mask[:4] = 255
    (tmp_path / "in" / "ignore" / "left").mkdir(parents=True)
    Image.fromarray(mask).save(tmp_path / "in" / "ignore" / "left" / "2.png")
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert names(manifest) == {
        "left_1.jpg": "left/1.jpg",
        "left_2.jpg": "left/2.jpg",
        "left_10.jpg": "left/10.jpg",
        "right_1.JPG": "right/1.JPG",
        "right_far_1.png": "right/far/1.png",
    }
    ignored = read_ignored(tmp_path / "out", "left_2")
    assert ignored is not None
    assert np.array_equal(ignored, mask > 0)
    assert SceneManifest.load(tmp_path / "out") == manifest


def test_a_folder_around_all_photographs_is_no_part_of_the_names(tmp_path: Path) -> None:
    for name in "abc":
        save_photo(tmp_path / "in" / "DCIM" / "100APPLE" / f"{name}.jpg")
    assert names(run(tmp_path / "in", tmp_path / "out")) == dict.fromkeys(
        ("a.jpg", "b.jpg", "c.jpg")
    )


def test_names_that_meet_stay_apart_whatever_the_order(tmp_path: Path) -> None:
    for name in ("a_b/1.jpg", "a/b_1.jpg", "1.jpg", "1.png", "1.heic.jpg"):
        save_photo(tmp_path / "in" / name, (24 + len(name), 16))
    found = names(run(tmp_path / "in", tmp_path / "out"))
    assert found == {
        "1.jpg": None,
        "1_png.png": "1.png",
        "1.heic.jpg": None,
        "a_b_1.jpg": "a/b_1.jpg",
        "a_b_1_jpg.jpg": "a_b/1.jpg",
    }


def test_what_systems_and_other_programs_leave_is_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = (".trash/a.jpg", "@eaDir/IMG/a.jpg", "__MACOSX/b.jpg", ".DS_Store", "._1.jpg")
    results = ("results/mine/scene/scene.json", "results/mine/scene/images/r.jpg")
    layout = ("ignore/c.png", "images_train/d.jpg", "sparse/0/e.png")
    for name in ("1.jpg", "2.jpg", "3.jpg", "more/4.jpg", *hidden, *results, *layout):
        path = tmp_path / "in" / name
        if path.suffix in (".jpg", ".png"):
            save_photo(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    (tmp_path / "in" / "more" / "loop").symlink_to(tmp_path / "in")
    section = SceneConfig(source="folder", path=tmp_path / "in", ignore=tmp_path / "in" / "ignore")
    given = {str(path.relative_to(tmp_path / "in")) for path in given_files(section)}
    assert given == {"1.jpg", "2.jpg", "3.jpg", "more/4.jpg", "ignore/c.png"}
    with caplog.at_level(logging.INFO):
        manifest = run(tmp_path / "in", tmp_path / "out")
    assert list(names(manifest)) == ["1.jpg", "2.jpg", "3.jpg", "more_4.jpg"]
    assert "images_train/ with 1" in caplog.text
    assert "eaDir" not in caplog.text


def test_photographs_that_are_elsewhere_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        save_photo(tmp_path / "in" / f"{name}.jpg")
    (tmp_path / "in" / "annexed.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "in" / "link to a.JPG").symlink_to(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / ".IMG_1.HEIC.icloud").write_bytes(b"x")
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert len(manifest.views) == 3  # the link is a copy
    assert "1 links to nothing (annexed.jpg): fetch" in caplog.text
    assert "1 files that are still in iCloud (.IMG_1.HEIC.icloud): download" in caplog.text


def test_any_letters(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "Küche è.jpg")
    for name in ("台所 1.jpg", apart, "🍎.jpg", "a\nb.jpg", "{x} <y>.jpg", " -v.jpg"):
        save_photo(tmp_path / "in" / name)
    found = run(tmp_path / "in", tmp_path / "out")
    expected = {"台所 1.jpg", "Küche è.jpg", "🍎.jpg", "a_b.jpg", "{x} <y>.jpg", " -v.jpg"}
    assert set(names(found)) == expected
    assert {path.name for path in (tmp_path / "out" / "images").iterdir()} == expected


def test_long_names_keep_their_ends(tmp_path: Path) -> None:
    """Three folders of 100 letters make a name that no file system takes."""
    deep = Path("a" * 100) / ("b" * 100) / ("é" * 60)
    for name in (deep / "IMG_1.jpg", deep / "IMG_2.jpg", Path("c" * 240 + ".jpg"), Path("d.jpg")):
        save_photo(tmp_path / "in" / name)
    found = names(run(tmp_path / "in", tmp_path / "out"))
    assert set(found.values()) == {str(deep / "IMG_1.jpg"), str(deep / "IMG_2.jpg"),
                                   "c" * 240 + ".jpg", None}  # fmt: skip
    assert all(len(name.encode()) <= 130 for name in found)
    assert sum(name.endswith("éé_IMG_1.jpg") for name in found) == 1
    assert {path.name for path in (tmp_path / "out" / "images").iterdir()} == set(found)


def panorama(path: Path, size: tuple[int, int], how: str) -> None:
    """Write a picture as phones stitch it: Apple's EXIF value, or Google's XMP."""
    image = texture(77, size)
    if how == "apple":
        exif = Image.Exif()
        exif[0x8769] = {0xA401: 6}
        image.save(path, exif=exif.tobytes())
    else:
        xmp = (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
            'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
            'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
            'GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>'
        )
        image.save(path, xmp=xmp.encode())


@pytest.mark.parametrize("how", ["apple", "google"])
def test_panoramas_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    for name in "abcd":
        save_photo(tmp_path / "in" / f"{name}.jpg", (96, 64))
    panorama(tmp_path / "in" / "PANO.jpg", (200, 100), how)
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert list(names(manifest)) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert "1 of 5 images" in caplog.text
    assert "panoramas by their metadata (PANO.jpg)" in caplog.text
    [one] = manifest.unused
    assert (one.file, one.why, one.detail) == ("PANO.jpg", "panorama", "200 x 100 px")
    for name in "ab":
        (tmp_path / "in" / f"{name}.jpg").unlink()
    with pytest.raises(InputError, match=r"PANO\.jpg.*at least 8 photographs.*perspective views"):
        run(tmp_path / "in", tmp_path / "out")


def test_sizes_that_differ_much_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A very long picture may be a panorama; a few large ones make the others no thumbnails."""
    for name in "abcdef":
        save_photo(tmp_path / "in" / f"{name}.jpg", (96, 64))
    save_photo(tmp_path / "in" / "large.jpg", (960, 640))
    save_photo(tmp_path / "in" / "long.jpg", (300, 90))
    with caplog.at_level(logging.INFO):
        manifest = run(tmp_path / "in", tmp_path / "out")
    assert len(manifest.views) == 8
    assert (
        "1 of 8 images are more than 4 times as large as most: large.jpg (960 x 640" in caplog.text
    )
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "1 of 8 images are very long: long.jpg (300 x 90 px)" in warned[0]


def test_raw_files_and_live_videos_beside_their_photographs_are_no_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(3):
        save_photo(tmp_path / "in" / f"IMG_{index}.jpg")
        for ending in ("MOV", "CR2", "AAE"):
            (tmp_path / "in" / f"IMG_{index}.{ending}").write_bytes(b"x")
    for name in ("IMG_9.mov", "IMG_9.PEF", "a.insp", "Thumbs.db"):
        (tmp_path / "in" / name).write_bytes(b"x")
    with caplog.at_level(logging.INFO):
        run(tmp_path / "in", tmp_path / "out")
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text.split(": ", 1)[1] for text in warned] == [
        "1 raw photograph (IMG_9.PEF): develop and export as jpg",
        "1 picture of a 360-degree camera (a.insp): export perspective views of it as jpg",
        "1 video (IMG_9.mov): a folder of photographs takes none; for a video of the scene, give "
        "it as the scene's `path`",
    ]
    assert "6 files are the raw photograph or the live video of a photograph" in caplog.text
    assert "7 files are no jpg" in caplog.text


def test_copies_are_noticed_and_used_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        texture(index, (640, 426)).save(folder / f"{index}.png")
    shutil.copy(folder / "1.png", folder / "1 (copy).png")
    (folder / "export").mkdir()
    texture(2, (640, 426)).save(folder / "export" / "IMG_2.jpg", quality=88)  # saved anew
    texture(3, (480, 320)).save(folder / "export" / "small.jpg")  # another picture
    moved = np.roll(np.asarray(texture(4, (640, 426))), 12, axis=1)  # the camera moved a little
    Image.fromarray(moved).save(folder / "5.png")
    manifest = run(folder, tmp_path / "out")
    # "1 (copy).png" comes before "1.png", but is the copy.
    assert list(names(manifest)) == [
        "0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "export_small.jpg"
    ]  # fmt: skip
    [said] = [r.getMessage() for r in caplog.records if "there twice" in r.getMessage()]
    assert "2 of 9 images" in said
    assert "1 (copy).png (as 1.png)" in said
    assert "export/IMG_2.jpg (as 2.png)" in said
    kept = SceneManifest.load(tmp_path / "out").unused
    assert [(one.file, one.why, one.detail) for one in kept] == [
        ("1 (copy).png", "copy", "1.png"),
        ("export/IMG_2.jpg", "copy", "2.png"),
    ]


def test_of_equal_photographs_the_shortest_name_stays(tmp_path: Path) -> None:
    """Whatever sorts first: copies have longer names, in bytes and as pictures."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(4):
        texture(index, (640, 426)).save(folder / f"IMG 000{index}.JPG", "JPEG", quality=95)
    shutil.copy(folder / "IMG 0000.JPG", folder / "IMG 0000 - Kopie.JPG")
    texture(1, (640, 426)).save(folder / "IMG 0001 (edited).png")
    shutil.copy(folder / "IMG 0002.JPG", folder / "A.JPG")
    manifest = run(folder, tmp_path / "out")
    assert list(names(manifest)) == ["A.JPG", "IMG 0000.JPG", "IMG 0001.JPG", "IMG 0003.JPG"]


def test_too_few_different_photographs(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / "in").mkdir(exist_ok=True)
        texture(0).save(tmp_path / "in" / f"{name}.png")
    with pytest.raises(InputError, match=r"3 of 4 images.*there twice.*Only 1 differ.*at least 8"):
        run(tmp_path / "in", tmp_path / "out")


def test_views_of_a_model_are_all_used(tmp_path: Path) -> None:
    scene = tmp_path / "in"
    (scene / "images").mkdir(parents=True)
    for index in range(3):
        texture(0).save(scene / "images" / f"{index}.png")
    (scene / "sparse" / "0").mkdir(parents=True)
    (scene / "sparse" / "0" / "cameras.txt").write_text("1 PINHOLE 96 64 80 80 48 32\n")
    assert len(run(scene, tmp_path / "out").views) == 3


def expose(path: Path, seed: int, seconds: float, iso: int = 100) -> None:
    path.parent.mkdir(exist_ok=True)
    exif = Image.Exif()
    exif[0x8769] = {0x829A: seconds, 0x8827: iso, 0x829D: 2.0}
    texture(seed).save(path, exif=exif.tobytes(), quality=95)


def test_changed_exposure_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for index in range(6):
        expose(tmp_path / "in" / f"{index}.jpg", index, 0.01)
    run(tmp_path / "in", tmp_path / "out")
    assert "exposure" not in caplog.text
    expose(tmp_path / "in" / "dark.jpg", 9, 0.002)
    expose(tmp_path / "in" / "same.jpg", 10, 0.005, iso=200)
    run(tmp_path / "in", tmp_path / "out")
    [said] = [r.getMessage() for r in caplog.records if "exposure" in r.getMessage()]
    assert "up to 5.0 times as bright" in said
    assert "farthest from most: dark.jpg)" in said


def test_many_formats_of_one_picture_keep_one(tmp_path: Path) -> None:
    """A phone's HEIC beside the JPEG that it was shared as."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    (tmp_path / "in").mkdir()
    for index in range(3):
        image = texture(index, (640, 426))
        image.save(tmp_path / "in" / f"IMG_{index}.HEIC", quality=90)
        image.save(tmp_path / "in" / f"IMG_{index}.jpg", quality=85)
        (tmp_path / "in" / f"IMG_{index}.MOV").write_bytes(b"a live photograph")
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert names(manifest) == {f"IMG_{index}.jpg": f"IMG_{index}.HEIC" for index in range(3)}
    found = read_image(tmp_path / "out" / "images" / "IMG_1.jpg").astype(int)
    assert np.abs(found - np.asarray(texture(1, (640, 426)))).mean() < 6


def test_what_a_run_writes_beside_its_photographs_is_no_photograph(tmp_path: Path) -> None:
    """`path: .`: a configuration and its results, from the first moment on, rerun nothing."""
    save_photo(tmp_path / "a.jpg")
    (tmp_path / "my.yaml").write_text("scenes: {mine: {path: .}}\n")
    results = tmp_path / "results" / "mine"
    results.mkdir(parents=True)
    (results / "budget.json").write_text("{}")
    section = SceneConfig(source="folder", path=tmp_path)
    assert given_files(section) == [tmp_path / "a.jpg"]
    for folder in ("logs", "benchmarks", "scene"):
        (results / folder).mkdir()
    (results / "scene" / "scene.json").write_text("{}")
    assert given_files(section) == [tmp_path / "a.jpg"]


def test_only_pictures_of_a_scene_rerun_it(tmp_path: Path) -> None:
    """Notes and what systems leave behind, live videos and raw files of photographs do not."""
    pictures = [tmp_path / "in" / name for name in ("1.jpg", "more/2.JPG", "ignore/1.png")]
    for path in pictures:
        save_photo(path)
    section = SceneConfig(source="folder", path=tmp_path / "in")
    assert given_files(section) == sorted(pictures)
    for name in ("notes.txt", "Thumbs.db", "1.MOV", "1.dng", "more/a.ini", "ignore/Thumbs.db"):
        (tmp_path / "in" / name).write_bytes(b"other")
    assert given_files(section) == sorted(pictures)


@pytest.mark.parametrize("source", ["lerf_mask", "mipnerf360"])
def test_only_pictures_of_a_published_layout_rerun_it(tmp_path: Path, source: str) -> None:
    used = [tmp_path / name for name in ("images/1.jpg", "sparse/0/cameras.bin")]
    for path in (*used, tmp_path / "images" / "Thumbs.db", tmp_path / "notes.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    section = SceneConfig.model_validate({"source": source, "path": tmp_path})
    if source == "mipnerf360":
        section = section.model_copy(update={"factor": 1})
    assert given_files(section) == used
