"""Photographs that cannot be decoded, and videos, are named before anything is planned for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from gradiseg_core import cli
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.planning import budgets, launch
from gradiseg_core.planning.budgets import photographs_of
from gradiseg_core.stages.scene import photographs as photographs_module
from gradiseg_core.stages.scene.inspecting import Photograph, inspect
from gradiseg_core.stages.scene.stage import prepare
from tests.videos import pan, write_video

NOISE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
BYTES = np.random.default_rng(1).bytes(50_000)


def photographs(folder: Path) -> Path:
    folder.mkdir()
    for number in range(9):
        Image.fromarray(np.roll(NOISE, 7 * number, 1)).save(folder / f"{number}.jpg")
    return folder


def of_stage(folder: Path, out: Path) -> str:
    with pytest.raises(InputError) as error:
        prepare(SceneConfig(source="folder", path=Path(folder.name)), out, name=folder.stem)
    return str(error.value)


@pytest.fixture(autouse=True)
def _nothing_is_planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*_: object) -> None:
        raise AssertionError("planned")

    monkeypatch.setattr(launch, "_plan", never)
    budgets._measured.cache_clear()  # by paths from where a test works
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("content", [b"", BYTES], ids=["empty", "random"])
@pytest.mark.parametrize("options", [[], ["--plan"]], ids=["run", "plan"])
def test_a_video_that_is_none(
    content: bytes, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "walk.MOV").write_bytes(content)
    assert cli.main(["run", "walk.MOV", *options]) == 1
    told = capsys.readouterr()
    assert of_stage(tmp_path / "walk.MOV", tmp_path / "out") in told.err
    assert told.out == ""
    assert not (tmp_path / "walk.yaml").exists()
    assert cli.main(["run", "walk.MOV", "--plan", "--", "--unlock"]) == 0  # nothing is made of it


def test_one_of_several_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "walk" / "good.mp4", pan([(300 + 12 * step, 400) for step in range(30)]))
    (tmp_path / "walk" / "bad.mp4").write_bytes(b"no video")
    assert cli.main(["run", "walk", "--plan"]) == 1
    told = capsys.readouterr().err
    assert of_stage(tmp_path / "walk", tmp_path / "out") in told
    assert "1 of 2 videos" in told
    assert "`scenes.walk.skip_unreadable: true`" in told
    remedy = told.split("write walk.yaml and run it:", 1)[1]
    assert yaml.safe_load(remedy)["scenes"] == {"walk": {"path": "walk", "skip_unreadable": True}}


def test_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photographs(tmp_path / "cup")
    (folder / "10.jpg").write_bytes(b"")
    (folder / "deep").mkdir()
    (folder / "deep" / "2.heic").write_bytes(BYTES)
    assert cli.main(["run", "cup", "--plan"]) == 1
    told = capsys.readouterr().err
    assert of_stage(folder, tmp_path / "out") in told
    assert "2 of 11 images" in told
    assert "10.jpg: unreadable" in told
    Path("cup.yaml").write_text("scenes: {cup: {path: cup, skip_unreadable: true}}")
    with pytest.raises(AssertionError, match="planned"):
        cli.main(["run", "cup", "--plan"])
    assert "cup: 9 photographs," in capsys.readouterr().out  # of 11 files


def test_only_photographs_that_are_used_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photographs(tmp_path / "cup")
    for number in range(9):
        shutil.copy(folder / f"{number}.jpg", folder / f"{number} - copy.jpg")
    with pytest.raises(AssertionError, match="planned"):
        cli.main(["run", "cup", "--plan"])
    assert "cup: 9 photographs," in capsys.readouterr().out
    prepare(SceneConfig(source="folder", path=folder), Path("results/cup/scene"), name="cup")
    Path("cup.yaml").write_text("scenes: {cup: {path: cup}}")
    with pytest.raises(AssertionError, match="planned"):
        cli.main(["run", "cup", "--plan"])
    assert "cup: 9 photographs," in capsys.readouterr().out
    Image.fromarray(255 - NOISE).save(folder / "new.jpg")
    budgets._measured.cache_clear()
    with pytest.raises(AssertionError, match="planned"):
        cli.main(["run", "cup", "--plan"])
    assert "cup: 19 photographs," in capsys.readouterr().out  # chosen anew by the stage
    Path("cup.yaml").unlink()
    shutil.rmtree("results")
    for name in ("new", "3", "3 - copy", "4", "4 - copy"):
        (folder / f"{name}.jpg").unlink()
    budgets._measured.cache_clear()
    assert cli.main(["run", "cup", "--plan"]) == 1
    told = capsys.readouterr()
    assert "7 of 14 images in cup are there twice" in told.err
    assert "Only 7 differ, and a scene needs at least 8 photographs" in told.err
    assert told.out == ""
    Path("cup.yaml").write_text("scenes: {cup: {path: cup}}")  # of a user who wants so few
    with pytest.raises(AssertionError, match="planned"):
        cli.main(["run", "cup", "--plan"])


def test_a_prepared_scene_is_left_alone(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "cup")
    Path("cup.yaml").write_text("scenes: {cup: {path: cup}}")
    prepare(SceneConfig(source="folder", path=folder), Path("results/cup/scene"), name="cup")
    (folder / "3.jpg").write_bytes(b"")
    with pytest.raises(AssertionError, match="planned"):
        cli.main(["run", "cup", "--plan"])


def test_a_short_video_gives_no_more_photographs_than_it_has_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "walk.mp4", pan([(300 + 12 * step, 400) for step in range(30)]))
    short = photographs_of(SceneConfig(source="folder", path=tmp_path / "walk.mp4"))
    assert short.count == 30
    few = photographs_of(SceneConfig(source="folder", path=tmp_path / "walk.mp4", frames=12))
    assert few.count == 12


def test_photographs_that_are_cut_short_are_all_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photographs(tmp_path / "cup")
    Image.fromarray(NOISE).save(folder / "whole.png")
    for name in ("2.jpg", "7.jpg", "whole.png"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    assert cli.main(["run", "cup", "--plan"]) == 1
    told = capsys.readouterr().err
    assert of_stage(folder, tmp_path / "out") in told
    assert "3 of 10 images" in told
    assert all(f"{name}: unreadable" in told for name in ("2.jpg", "7.jpg", "whole.png"))
    assert not Path("results").exists()  # or the scene would be taken for another folder's


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The photographs that are decoded to be inspected, in no order."""
    found: list[str] = []

    def look(path: Path) -> Photograph:
        found.append(path.name)
        return inspect(path)

    monkeypatch.setattr(photographs_module, "inspect", look)
    return found


def test_what_was_looked_at_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked: list[str]
) -> None:
    """Issue 20: nothing decodes a photograph more than twice."""
    folder = photographs(tmp_path / "cup")
    Image.fromarray(NOISE[..., 0].astype(np.uint16) * 200).save(folder / "deep.png")
    Image.fromarray(NOISE).rotate(90).save(folder / "other.bmp")
    every = sorted(path.name for path in folder.iterdir())
    monkeypatch.setattr(launch, "_plan", lambda *_: 0.0)
    monkeypatch.setattr(launch, "watched", lambda _: 0)
    assert cli.main(["run", "cup"]) == 0
    assert sorted(looked) == every
    looked.clear()
    assert cli.main(["run", "cup"]) == 0  # stopped before its first job
    (folder / "3.jpg").write_bytes((folder / "4.jpg").read_bytes() + b"more")
    config = SceneConfig(source="folder", path=Path("cup"))
    here = prepare(config, Path("results/cup/scene"), name="cup")
    assert looked == ["3.jpg"]
    anew = prepare(config, tmp_path / "elsewhere", name="cup")
    assert len(looked) == 1 + len(every)
    assert here == anew
    for view in here.views:
        kept, made = (
            Path(place, "images", view.name) for place in ("results/cup/scene", "elsewhere")
        )
        assert kept.read_bytes() == made.read_bytes()
    assert not Path("results/cup/.work/inspected.npz").exists()  # it was used


def test_damaged_notes_of_photographs_are_of_no_use(tmp_path: Path, looked: list[str]) -> None:
    photographs(tmp_path / "cup")
    note = Path("results/cup/.work/inspected.npz")
    note.parent.mkdir(parents=True)
    note.write_bytes(b"no archive")
    prepare(SceneConfig(source="folder", path=Path("cup")), Path("results/cup/scene"), name="cup")
    assert len(looked) == 9


def test_what_is_passed_over_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "_plan", lambda *_: 0.0)
    folder = photographs(tmp_path / "cup")
    assert cli.main(["run", "cup", "--plan"]) == 0
    assert "left out" not in capsys.readouterr().out
    for name in ("walks/one.mp4", "walks/two.MOV", "deep/0.DNG", "masks/0.png", "0.mov"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert cli.main(["run", "cup", "--plan"]) == 0
    told = capsys.readouterr().out
    assert "cup: left out: 1 raw photograph (0.DNG)" in told
    assert "cup: left out: 2 videos (one.mp4, two.MOV): a folder of photographs takes none" in told
    assert "cup: left out: images in sub-folders (masks/ with 1)" in told


def test_frames_of_a_video_are_those_that_were_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "_plan", lambda *_: 0.0)
    write_video(tmp_path / "walk.mp4", pan([(300 + 12 * step, 400) for step in range(30)]))
    assert cli.main(["run", "walk.mp4", "--plan"]) == 0
    assert "walk: up to 30 frames of the video, quality" in capsys.readouterr().out
    config = SceneConfig(source="folder", path=Path("walk.mp4"), frames=120)
    made = prepare(config, Path("results/walk/scene"), name="walk")
    Path("walk.yaml").write_text("quality: standard\nscenes: {walk: {path: walk.mp4}}\n")
    assert cli.main(["run", "walk.yaml", "--plan"]) == 0
    assert len(made.views) < 30
    assert f"walk: {len(made.views)} frames of the video, quality" in capsys.readouterr().out
