"""Stage `edits`: the edited scene, its pictures, its video; and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gradiseg_core
from gradiseg_core import cli
from gradiseg_core.config.edits import operations
from gradiseg_core.editing.turntable import orbit
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.stages.edits.stage import edit_run, shown_views
from tests import trained_scene
from tests.editing.conftest import GREEN, RED


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> trained_scene.Folders:
    folders = trained_scene.make(tmp_path_factory.mktemp("results") / "balls")
    folders.grounding.mkdir()
    content = {"prompts": {"red ball": {"ids": [RED], "why": ""}}}
    (folders.grounding / "selection.json").write_text(json.dumps(content))
    return folders


@pytest.fixture(scope="module")
def edited(folders: trained_scene.Folders) -> Path:
    out = folders.train.parent / "edits" / "gold"
    edit = operations([{"recolour": "red ball", "colour": "gold"}, {"scale": GREEN, "factor": 0.5}])
    edit_run(run_dir=folders.train.parent, out_dir=out, edit=edit, device="cpu", threads=2)
    return out


def test_what_it_writes_is_a_trained_scene(
    edited: Path, folders: trained_scene.Folders, tmp_path: Path
) -> None:
    """That can be loaded, rendered by its stage, and edited again."""
    from gradiseg_core.config.render import RenderConfig
    from gradiseg_core.stages.rendering.stage import render_views

    scene = gradiseg_core.load(edited, device="cpu")
    assert scene.run.run == folders.train.parent.resolve()
    done = json.loads((edited / "edit.json").read_text())
    assert done["made_from"] == "../.."
    assert done["edit"][1] == {"scale": GREEN, "factor": 0.5}
    assert [entry["selected"] for entry in done["done"]] == [150, 150]
    summary = render_views(
        folders.scene, folders.colmap, edited, tmp_path, RenderConfig(), threads=2
    )
    assert summary["num_gaussians"] == len(scene)
    again = scene.edit([{"keep": "red ball"}])
    again.save(tmp_path / "again")
    chain = json.loads((tmp_path / "again" / "edit.json").read_text())
    assert chain["edit"] == [*done["edit"], {"keep": "red ball"}]
    assert [entry["selected"] for entry in chain["done"]] == [150, 150, 150]
    # What it was made from, edited by what it says, is the same again.
    assert (tmp_path / "again" / chain["made_from"]).resolve() == folders.train.parent.resolve()
    whole = gradiseg_core.load(folders.train.parent, device="cpu").edit(chain["edit"])
    assert whole.fingerprint == gradiseg_core.load(tmp_path / "again", device="cpu").fingerprint


def test_an_edit_is_not_written_over_itself(
    edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (edited / "edit.json").read_bytes()
    arguments = ["edit", str(edited), "[{remove: red ball, fill: false}]", "--no-video", "--out"]
    assert cli.main([*arguments, str(edited / ".." / edited.name)]) == 1
    assert "is the scene that is edited; name another folder" in capsys.readouterr().err
    with pytest.raises(InputError, match="is the scene that is edited"):
        gradiseg_core.load(edited, device="cpu").save(edited)
    assert (edited / "edit.json").read_bytes() == before


def test_an_edit_keeps_no_pictures_of_another_one(
    folders: trained_scene.Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = str(folders.train.parent)
    assert cli.main(["edit", run, "[{keep: red ball}]", "--out", str(out), "--no-video"]) == 0
    (out / "turntable.mp4").write_bytes(b"of this edit")
    (out / "views" / "old.png").write_bytes(b"of this edit")
    (out / "mine.txt").write_text("kept")
    assert cli.main(["edit", str(out), "[{recolour: red ball, colour: gold}]",
                     "--out", str(tmp_path / "next"), "--no-video"]) == 0  # fmt: skip
    printed = capsys.readouterr().out
    assert printed.count("'keep'") == 1  # the command says what it did, not what was done before
    gradiseg_core.load(run, device="cpu").edit([{"keep": GREEN}]).save(out)
    assert not (out / "turntable.mp4").exists()
    assert not (out / "views").exists()
    assert (out / "mine.txt").exists()


def test_held_out_views_before_and_after(edited: Path, folders: trained_scene.Folders) -> None:
    pictures = sorted(path.name for path in (edited / "views").iterdir())
    assert pictures == ["view_000.png", "view_004.png"]
    row = np.asarray(Image.open(edited / "views" / "view_000.png")).astype(int)
    width = (row.shape[1] - 8) // 3
    before, after = row[:, 8 + width : 2 * width], row[:, 8 + 2 * width :]
    gold = [(p[..., 0] > 180) & (p[..., 1] > 140) & (p[..., 2] < 60) for p in (before, after)]
    assert gold[0].sum() == 0
    assert gold[1].sum() > 20
    scene = gradiseg_core.load(folders.train.parent, device="cpu")
    scene.__dict__["splits"] = {}
    assert shown_views(scene) == [f"view_{i:03d}.png" for i in (0, 2, 5, 7)]


def test_the_video_goes_once_around(edited: Path, folders: trained_scene.Folders) -> None:
    import av

    with av.open(str(edited / "turntable.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
    assert len(frames) == 96
    assert frames[0].shape == (48, 64, 3)
    scene = gradiseg_core.load(folders.train.parent, device="cpu")
    cameras = orbit(scene, 8)
    eyes = np.stack([camera.center_in_world for camera in cameras])
    np.testing.assert_allclose(np.linalg.norm(eyes[:, :2], axis=1), 2.4, atol=0.1)
    np.testing.assert_allclose(eyes[:, 2], 1.3, atol=0.1)
    # Each looks at the middle, and they are evenly spread.
    for camera in cameras:
        x, y, z = camera.cam_from_world[:3, :3] @ [0, 0, 0.2] + camera.cam_from_world[:3, 3]
        assert abs(x / z) < 0.05
        assert abs(y / z) < 0.05
    assert np.linalg.norm(eyes - np.roll(eyes, 1, axis=0), axis=1).std() < 0.05
    # What the first frame shows is what a camera there sees.
    shown = gradiseg_core.load(edited, device="cpu").render(orbit(scene)[0]).color
    assert np.abs(frames[0] / 255.0 - shown).mean() < 0.03


def test_where_views_are_on_one_side_the_video_stays_there(folders: trained_scene.Folders) -> None:
    scene = gradiseg_core.load(folders.train.parent, device="cpu")
    scene.__dict__["cameras"] = dict(list(scene.cameras.items())[:3])  # at 0, 45 and 90 degrees
    eyes = np.stack([camera.center_in_world for camera in orbit(scene, 40)])
    angles = np.rad2deg(np.arctan2(eyes[:, 1], eyes[:, 0]))
    assert angles.min() == pytest.approx(0.0, abs=3)
    assert angles.max() == pytest.approx(90.0, abs=3)


def test_the_command(
    folders: trained_scene.Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(folders.train.parent), tmp_path / "out"
    keep = "[{keep: red ball}]"
    assert cli.main(["edit", run, keep, "--out", str(out), "--no-video"]) == 0
    assert "{'keep': 'red ball'}: 150 Gaussians selected, 150 in the scene" in (
        capsys.readouterr().out
    )
    assert len(gradiseg_core.load(out, device="cpu")) == 150
    assert not (out / "turntable.mp4").exists()
    (tmp_path / "edit.yaml").write_text("- keep: red ball\n- remove: cup\n")
    assert cli.main(["edit", run, str(tmp_path / "edit.yaml"), "--out", str(out)]) == 1
    assert "operation 2 (remove): no object is called 'cup'; there are" in capsys.readouterr().err


def test_the_trained_scene_is_never_written_over(
    folders: trained_scene.Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folders.train.parent
    before = (folders.train / "point_cloud.ply").read_bytes()
    keep = "[{keep: red ball}]"
    for folder in (run, folders.train):
        assert cli.main(["edit", str(run), keep, "--out", str(folder), "--no-video"]) == 1
        assert f"{folder} holds a trained scene" in capsys.readouterr().err
        with pytest.raises(InputError, match="holds a trained scene"):
            gradiseg_core.load(run, device="cpu").save(folder)
    assert (folders.train / "point_cloud.ply").read_bytes() == before
    assert not (run / "point_cloud.ply").exists()
    (tmp_path / "file").touch()
    assert cli.main(["edit", str(run), keep, "--out", str(tmp_path / "file")]) == 1
    assert "file is a file; name a folder" in capsys.readouterr().err
    assert cli.main(["edit", str(run), keep, "--out", str(tmp_path / "file" / "below")]) == 1
    assert "below: Not a directory" in capsys.readouterr().err


def test_many_operations_are_longer_than_a_file_name() -> None:
    from gradiseg_core.editing.written import read_edit

    entry = "{recolour: red ball, colour: gold}"
    assert len(read_edit("[" + ", ".join([entry] * 20) + "]")) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.yaml", "there is no file missing.yaml"),
        ("[{remove: a", "the edit is no valid YAML"),
        ("[{remov: a}]", r"the edit is not valid: operation 1: 'remov' is no operation"),
        ("just text", "the edit is not valid: expected a list of operations"),
    ],
)
def test_what_is_written_wrong(text: str, message: str) -> None:
    from gradiseg_core.editing.written import read_edit

    with pytest.raises(ConfigError, match=message):
        read_edit(text)
