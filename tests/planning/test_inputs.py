"""Photographs and videos that cannot be opened are named before anything is planned for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from gradiseg_core import cli
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.planning import launch
from gradiseg_core.planning.budgets import photographs_of
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
