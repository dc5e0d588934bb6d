"""Videos as scenes: which frames are taken, upright, in the right colours; what cannot be used."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gradiseg_core.config.checks import files
from gradiseg_core.config.inputs import given_files
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.scene.hdr import HLG, PQ, compressed, hdr_to_srgb
from gradiseg_core.stages.scene.stage import prepare
from gradiseg_core.stages.scene.video_motion import chosen_frames, motion_px
from tests.videos import pan, texture, write_video

from .conftest import save_photo


def run(source: Path, out: Path, **options) -> SceneManifest:
    return prepare(SceneConfig(source="folder", path=source, **options), out, name="mine")


def walk(number: int, px: float = 10.0) -> list[tuple[float, float]]:
    """A camera that moves to the right by ``px`` for each frame."""
    return [(300 + px * index, 450) for index in range(number)]


def numbers(manifest: SceneManifest) -> list[int]:
    return [int(view.stem.rpartition("_")[2]) for view in manifest.views]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("My clip ä.MOV", "libx264"), ("c.mkv", "libx265"),
     ("d.webm", "libvpx-vp9")],
)  # fmt: skip
def test_a_video_is_a_scene(tmp_path: Path, name: str, codec: str) -> None:
    frames = pan(walk(40))
    video = write_video(tmp_path / name, frames, codec=codec)
    manifest = run(video, tmp_path / "out", frames=15)
    taken = numbers(manifest)
    assert len(taken) == 15
    assert taken == sorted(taken)
    assert manifest.ordered
    assert manifest.sizes == {(320, 180): 15}
    assert len(manifest.test_views) == 2
    for view, number in zip(manifest.views, taken, strict=True):
        assert view.name == f"{Path(name).stem}_{number:02d}.jpg"
        assert view.original == f"{name}#t={number / 30:.3f}"
        written = read_image(tmp_path / "out" / "images" / view.name).astype(int)
        assert np.abs(written - frames[number]).mean() < 6
    assert SceneManifest.load(tmp_path / "out") == manifest
    assert run(video, tmp_path / "again", frames=15) == manifest


def test_blurred_frames_are_not_taken(tmp_path: Path) -> None:
    frames = pan(walk(60, 4))
    for index in [i for i in range(60) if i % 6 not in (2, 3)]:
        blurred = Image.fromarray(frames[index]).filter(ImageFilter.BoxBlur(3))
        frames[index] = np.asarray(blurred)
    manifest = run(write_video(tmp_path / "a.mp4", frames, rate=15), tmp_path / "out", frames=10)
    assert all(number % 6 in (2, 3) for number in numbers(manifest))


def test_frames_are_as_far_apart_as_the_picture_moves(tmp_path: Path) -> None:
    """A camera that stands, walks, stands: hardly any frame is taken where it stands."""
    centres = [(300, 450)] * 60 + walk(30, 20) + [(880, 450)] * 60
    trembling = np.random.default_rng(1).normal(0, 0.5, (150, 2))
    frames = pan([tuple(at) for at in np.array(centres) + trembling])
    manifest = run(write_video(tmp_path / "a.mp4", frames, rate=15), tmp_path / "out")
    taken = numbers(manifest)
    # 580 px are 1.8 widths: a frame for each 0.04 would be 46, and the walk has 30.
    assert sum(58 <= number <= 92 for number in taken) >= len(taken) - 4
    assert 20 <= len(taken) <= 46


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_phones_rotation_is_applied(tmp_path: Path, turn: int) -> None:
    frames = pan(walk(20, 20))
    video = write_video(tmp_path / "a.mp4", frames, turn=turn)
    manifest = run(video, tmp_path / "out", frames=5)
    view = manifest.views[2]
    shown = np.rot90(frames[numbers(manifest)[2]], -turn // 90)  # clockwise
    assert (view.width, view.height) == shown.shape[1::-1]
    written = read_image(tmp_path / "out" / "images" / view.name).astype(int)
    assert np.abs(written - shown).mean() < 6


def test_a_video_that_changes_its_size(tmp_path: Path) -> None:
    """Streams joined as they are, as recorders and phones that are turned make them."""
    (tmp_path / "in").mkdir()
    joined = b""
    for index, size in enumerate(((320, 180), (180, 320))):
        part = tmp_path / f"{index}.ts"
        write_video(part, pan(walk(40), size))
        joined += part.read_bytes()
    video = tmp_path / "in" / "joined.mts"
    video.write_bytes(joined)
    manifest = run(video, tmp_path / "out", frames=20)
    assert set(manifest.sizes) == {(320, 180), (180, 320)}
    assert min(manifest.sizes.values()) >= 6
    for view in manifest.views:
        shape = read_image(tmp_path / "out" / "images" / view.name).shape
        assert shape == (view.height, view.width, 3)


def test_uneven_times(tmp_path: Path) -> None:
    frames = pan(walk(40))
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 40)).round(3)
    video = write_video(tmp_path / "a.mkv", frames, times=list(times))
    manifest = run(video, tmp_path / "out", frames=12)
    for view, number in zip(manifest.views, numbers(manifest), strict=True):
        assert float(str(view.original).rpartition("=")[2]) == pytest.approx(
            times[number], abs=2e-3
        )
        written = read_image(tmp_path / "out" / "images" / view.name).astype(int)
        assert np.abs(written - frames[number]).mean() < 6


@pytest.mark.parametrize(
    ("size", "matrix"), [((1280, 720), 1), ((1280, 720), 2), ((320, 180), 5), ((320, 180), 2)]
)
def test_colours_by_the_matrix_that_is_tagged_or_usual(
    tmp_path: Path, size: tuple[int, int], matrix: int
) -> None:
    """2: without a tag, BT.709 for HD and BT.601 below, as players take it."""
    frames = []
    for frame in pan([(650 + 25 * index, 450) for index in range(12)], size):
        frame = frame.copy()
        frame[40:140, 40:140] = (200, 30, 40)
        frames.append(frame)
    stored = {2: 1 if size[0] > 720 else 5}.get(matrix, matrix)
    if matrix == 2:
        video = write_video(tmp_path / "a.mp4", _stored_as(frames, stored))
    else:
        video = write_video(tmp_path / "a.mp4", frames, colorspace=stored)
    manifest = run(video, tmp_path / "out", frames=4)
    found = read_image(tmp_path / "out" / "images" / manifest.views[1].name)[90, 90]
    assert np.abs(found.astype(int) - (200, 30, 40)).max() <= 6


def _stored_as(frames: list, matrix: int) -> list:
    """Frames whose colours, stored by BT.601's matrix, are the given ones by another matrix."""
    import av

    found = []
    for frame in frames:
        planes = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        yuv = planes.reformat(format="yuv444p", dst_colorspace=matrix)
        found.append(yuv.reformat(format="rgb24", src_colorspace=5).to_ndarray())
    return found


def test_hdr_by_hand() -> None:
    # BT.2408: reference white (203 nits) is 75 % of HLG and 58 % of PQ; grey stays grey.
    for transfer, white in ((HLG, 0.75), (PQ, 0.5806)):
        level = hdr_to_srgb(np.full((1, 1, 3), white * 65535, np.uint16), transfer)[0, 0]
        light = 0.75 + 0.25 * (1 - np.exp(-1))
        expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
        assert np.abs(level - expected).max() <= 1.5
        ramp = hdr_to_srgb(np.linspace(0, 65535, 300).astype(np.uint16)[None, :, None].repeat(3, 2),
                           transfer)[0]  # fmt: skip
        assert np.all(np.diff(ramp[:, 0].astype(int)) >= 0)
        assert np.ptp(ramp.astype(int), axis=1).max() <= 1
        assert ramp[0, 0] == 0
        assert ramp[-1, 0] >= 254
    # Half of reference white in PQ is half of white in sRGB: below the knee nothing is compressed.
    half = ((0.8359375 + 18.8515625 * (101.5 / 1e4) ** 0.1593017578125) / (
        1 + 18.6875 * (101.5 / 1e4) ** 0.1593017578125)) ** 78.84375  # fmt: skip
    level = hdr_to_srgb(np.full((1, 1, 3), half * 65535, np.uint16), PQ)[0, 0]
    assert np.abs(level - 255 * (1.055 * 0.5 ** (1 / 2.4) - 0.055)).max() <= 1
    slopes = np.diff(compressed(np.linspace(0, 8, 8001, dtype=np.float32))) / 0.001
    assert slopes[0] == pytest.approx(1, abs=0.01)
    assert np.abs(np.diff(slopes)).max() < 0.02  # no kink


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_hdr_videos_become_srgb(tmp_path: Path, transfer: int) -> None:
    white = {HLG: 0.75, PQ: 0.5806}[transfer]
    frames = []
    for frame in pan(walk(12, 30)):
        deep = (frame / 255.0 * white * 65535).astype(np.uint16)
        deep[80:100, 140:160] = white * 65535
        frames.append(deep)
    video = write_video(
        tmp_path / "a.mov", frames, codec="libx265", pixels="yuv420p10le", colorspace=9,
        color_primaries=9, color_trc=transfer,
    )  # fmt: skip
    manifest = run(video, tmp_path / "out", frames=4)
    found = read_image(tmp_path / "out" / "images" / manifest.views[1].name)
    expected = hdr_to_srgb(frames[numbers(manifest)[1]], transfer).astype(int)
    assert np.abs(found.astype(int) - expected).mean() < 5
    assert np.abs(found[90, 150].astype(int) - 244).max() <= 3


def test_a_folder_of_videos_and_its_masks(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "2.mp4", pan(walk(30)))
    write_video(tmp_path / "in" / "10.mp4", pan([(x, 300) for x, _ in walk(60)]))
    (tmp_path / "in" / "notes.txt").write_text("x")
    first = run(tmp_path / "in", tmp_path / "out", frames=24)
    by_video = [view.stem.partition("_")[0] for view in first.views]
    assert by_video == ["2"] * 8 + ["10"] * 16  # by their order, and by how far they move
    mask = np.zeros((180, 320), np.uint8)
    mask[:, :50] = 255
    (tmp_path / "in" / "ignore").mkdir()
    Image.fromarray(mask).save(tmp_path / "in" / "ignore" / f"{first.views[3].stem}.png")
    run(tmp_path / "in", tmp_path / "out", frames=24)
    ignored = read_ignored(tmp_path / "out", first.views[3].stem)
    assert ignored is not None
    assert np.array_equal(ignored, mask > 0)


def test_a_live_photographs_video_makes_no_video_scene(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(3):
        save_photo(tmp_path / "in" / f"IMG_{index}.jpg")
        write_video(tmp_path / "in" / f"IMG_{index}.MOV", pan(walk(3)))
    with caplog.at_level(logging.INFO):
        manifest = run(tmp_path / "in", tmp_path / "out")
    assert not manifest.ordered
    assert [view.name for view in manifest.views] == ["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg"]
    assert "3 files are the raw photograph or the live video" in caplog.text
    for index in (1, 2):
        (tmp_path / "in" / f"IMG_{index}.jpg").unlink()
    with pytest.raises(InputError, match=r"holds 1 images.*2 videos.*give it as the scene's"):
        run(tmp_path / "in", tmp_path / "out")


def test_videos_that_cannot_be_used_are_named_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in"
    good = write_video(folder / "good.mp4", pan(walk(30)))
    (folder / "cut.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (folder / "empty.mov").write_bytes(b"")
    (folder / "text.webm").write_text("not a video")
    write_video(folder / "short.mp4", pan(walk(2)))
    write_video(folder / "still.mp4", pan([(400, 400)] * 30))
    with pytest.raises(InputError, match=r"5 of 6 videos") as error:
        run(folder, tmp_path / "out")
    said = dict(
        line.strip().split(": ", 1) for line in str(error.value).splitlines() if line[:2] == "  "
    )
    assert "incomplete" in said["cut.mp4"]
    assert "the file is empty" in said["empty.mov"]
    assert "no video" in said["text.webm"]
    assert "it has 2 frames" in said["short.mp4"]
    assert "hardly moves" in said["still.mp4"]
    assert "`scenes.mine.skip_unreadable: true`" in str(error.value)
    manifest = run(folder, tmp_path / "out", skip_unreadable=True)
    assert {view.stem.partition("_")[0] for view in manifest.views} == {"good"}
    assert "5 of 6 videos cannot be used and are left out" in caplog.text


def test_a_video_without_its_end_is_used_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_video(tmp_path / "whole.mkv", pan(walk(90)), rate=15)
    (tmp_path / "a.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        manifest = run(tmp_path / "a.mkv", tmp_path / "out", frames=10)
    assert max(numbers(manifest)) < 60
    assert "a part of it is missing" in caplog.text


def test_few_frames_of_much_motion_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video = write_video(tmp_path / "a.mp4", pan(walk(40, 20)))
    run(video, tmp_path / "out", frames=6)
    assert "more of them (`frames`, now 6)" in caplog.text


@pytest.mark.parametrize("stops", [0.0, 1.5])
def test_changed_exposure_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stops: float
) -> None:
    """From the middle on half as bright and darker; what the camera sees changes all the while."""
    frames = pan(walk(60, 12))
    for index in range(30, 60):
        light = 2.0 ** -min(stops, 0.25 * (index - 29))
        frames[index] = (frames[index] * light ** (1 / 2.2)).astype(np.uint8)
    run(write_video(tmp_path / "a.mp4", frames, rate=15), tmp_path / "out")
    said = [r.getMessage() for r in caplog.records if "exposure" in r.getMessage()]
    assert bool(said) == (stops > 0)
    if said:
        times = float(said[0].partition("up to ")[2].partition(" times")[0])
        assert times == pytest.approx(2**stops, rel=0.15)


def test_the_configuration_takes_a_video(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", pan(walk(4)))
    section = SceneConfig(source="folder", path=video)
    assert given_files(section) == [video]
    assert files("mine", {"scene": section}, tmp_path) == []
    text = tmp_path / "notes.txt"
    text.write_text("x")
    [problem] = files("mine", {"scene": SceneConfig(source="folder", path=text)}, tmp_path)
    assert "is a file; give the folder that holds the images, or a video (.mp4" in problem


@pytest.mark.parametrize(
    ("shift", "zoom", "turn"),
    [((7, 0), 1, 0), ((0.4, -0.6), 1, 0), ((50, 20), 1, 0), ((0, 0), 1.1, 0), ((0, 0), 1, 4)],
)
def test_motion_against_what_was_done(shift: tuple[float, float], zoom: float, turn: float) -> None:
    whole = texture(1200, 800).convert("L")

    def look(x: float, y: float, zoom: float, turn: float) -> np.ndarray:
        turned = whole.rotate(turn, center=(x, y), resample=Image.Resampling.BICUBIC)
        half = (320 / zoom, 180 / zoom)
        box = (x - half[0], y - half[1], x + half[0], y + half[1])
        return np.asarray(turned.resize((160, 90), Image.Resampling.BICUBIC, box=box), np.float32)

    rows, columns = np.mgrid[0:90, 0:160]
    away = np.hypot(rows - 44.5, columns - 79.5).mean()
    expected = np.hypot(*shift) / 4 + away * (zoom - 1) + away * 2 * np.sin(np.radians(turn) / 2)
    first = look(600, 400, 1, 0)
    second = look(600 + shift[0], 400 + shift[1], zoom, turn)
    assert motion_px(first, second) == pytest.approx(expected, rel=0.05, abs=0.03)
    assert motion_px(first, 0.8 * first + 20) < 0.2  # the exposure changed


def test_choice_by_hand() -> None:
    path = np.linspace(0, 4, 401)
    sharp = np.where(np.arange(401) % 10 == 5, 2.0, 1.0)
    taken = chosen_frames(path, sharp, 20)
    assert len(taken) == 20
    assert all(index % 10 == 5 for index in taken)
    assert all(12 <= b - a <= 30 for a, b in pairwise(taken))
    assert len(chosen_frames(path, sharp, 500)) == 101  # one for each 0.04 widths
    jump = np.concatenate([np.linspace(0, 1, 50), np.linspace(3, 4, 50)])
    taken = chosen_frames(jump, np.ones(100), 40)
    assert {49, 50} <= set(taken)
    assert len(taken) == len(set(taken)) <= 40
    assert chosen_frames(np.zeros(9), np.ones(9), 4) == [0, 3, 5, 8]
