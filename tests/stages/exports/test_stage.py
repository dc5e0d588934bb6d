"""Stage `exports`: files of a run, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core import cli
from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.config.root import load
from gradiseg_core.errors import ConfigError
from gradiseg_core.stages.exports.stage import export_run
from tests import synthetic, trained_scene
from tests.exporting import clouds


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> trained_scene.Folders:
    return trained_scene.make(tmp_path_factory.mktemp("results") / "balls")


def test_a_file_and_what_is_said_of_it(folders: trained_scene.Folders, tmp_path: Path) -> None:
    export_run(
        folder=folders.train,
        out_dir=tmp_path / "splats",
        name="splats",
        config=ExportConfig(format="ply", object_id=True),
    )
    found = clouds.properties(tmp_path / "splats" / "splats.ply")
    _, owner = synthetic.balls()
    np.testing.assert_array_equal(found["object_id"], trained_scene.TRACKED[owner])
    record = json.loads((tmp_path / "splats" / "export.json").read_text())
    assert record["files"] == ["splats.ply"]
    assert record["options"]["object_id"] is True
    assert (record["axes"], record["offset"]) == ("of the COLMAP model", [0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("keys", "files"),
    [
        ({"format": "ply", "split": True}, {"000_background.ply", "001.ply", "003.ply", "005.ply"}),
        (
            {"format": "gaussian_grouping"},
            {
                "cfg_args",
                "point_cloud/iteration_0/point_cloud.ply",
                "point_cloud/iteration_0/classifier.pth",
            },
        ),
        ({"format": "nerfstudio"}, {"transforms.json", "points.ply"}),
        ({"format": "objects"}, {"x.json"}),
        ({"format": "compressed_ply"}, {"x.compressed.ply"}),
    ],
)
def test_formats_of_several_files(
    keys: dict, files: set[str], folders: trained_scene.Folders, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    config = ExportConfig(**keys)
    export_run(folder=folders.train, out_dir=out, name="x", config=config)
    assert set(json.loads((out / "export.json").read_text())["files"]) == files
    assert all((out / file).stat().st_size for file in files)


def test_the_command(
    folders: trained_scene.Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(folders.train.parent), tmp_path / "a.glb"
    assert cli.main(["export", run, "--out", str(out), "--objects", "1", "3"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    _, owner = synthetic.balls()
    expected = np.isin(trained_scene.TRACKED[owner], [1, 3]).sum()
    assert len(clouds.glb(out)[1]["POSITION"]) == expected
    each = ["export", run, "--format", "ply", "--out", str(tmp_path / "each"), "--split"]
    assert cli.main(each) == 0
    assert len(list((tmp_path / "each").iterdir())) == 4
    capsys.readouterr()
    assert cli.main(["export", run, "--out", str(out), "--objects", "cup"]) == 1
    assert "no object is called 'cup'" in capsys.readouterr().err
    for name in ("a.spz", "a.ply", "a.compressed.ply", "a.glb", "a.json"):
        (tmp_path / "taken" / name).mkdir(parents=True)
        assert cli.main(["export", run, "--out", str(tmp_path / "taken" / name)]) == 1
        assert f"{name} is a folder; name a file in it" in capsys.readouterr().err


def test_a_scene_of_gaussian_grouping_becomes_a_run(
    folders: trained_scene.Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(folders.train.parent)
    model = tmp_path / "model"
    assert cli.main(["export", run, "--format", "gaussian_grouping", "--out", str(model)]) == 0
    taken = tmp_path / "taken"
    assert cli.main(["import-grouping", str(model), "--out", str(taken)]) == 0
    assert cli.main(["export", str(taken), "--out", str(tmp_path / "a.ply"), "--object-id"]) == 0
    found = clouds.properties(tmp_path / "a.ply")
    points, owner = synthetic.balls()
    np.testing.assert_array_equal(found["y"], points[:, 1].astype(np.float32))
    np.testing.assert_array_equal(found["object_id"], trained_scene.TRACKED[owner])
    capsys.readouterr()
    assert cli.main(["import-grouping", str(model), "--out", str(taken)]) == 1
    assert "is there already" in capsys.readouterr().err


RAW = {"scenes": {"a": {"source": "demo"}, "b": {"source": "demo"}}}


def test_a_scene_has_the_exports_of_the_file_and_its_own() -> None:
    raw = {
        "scenes": {
            "a": {"source": "demo", "exports": {"mug": {"format": "spz", "objects": ["mug"]}}},
            "b": {"source": "demo", "exports": {"all": {"format": "glb"}}},
        },
        "exports": {"all": {"format": "ply"}},
    }
    settings = load(raw)
    formats = {
        scene: {name: config.format for name, config in settings.exports_of(scene).items()}
        for scene in "ab"
    }
    assert formats == {"a": {"all": "ply", "mug": "spz"}, "b": {"all": "glb"}}


def test_an_edit_that_there_is_not_is_named() -> None:
    edits = {"without_mug": [{"remove": "mug"}]}
    exports = {"x": {"format": "ply", "edit": "without_cup"}}
    with pytest.raises(ConfigError, match=r"exports\.x\.edit: scene a has no edit 'without_cup'"):
        load({**RAW, "exports": exports, "edits": edits})
    exports["x"]["edit"] = "without_mug"
    assert load({**RAW, "exports": exports, "edits": edits}).exports_of("a")["x"].edit
    own = {"a": {"source": "demo", "edits": edits}, "b": {"source": "demo"}}
    with pytest.raises(ConfigError, match="scene b has no edit"):
        load({"scenes": own, "exports": exports})


@pytest.mark.parametrize(
    ("exports", "message"),
    [
        ({"x": {"format": "sog"}}, r"exports\.x\.format"),
        ({"x": {}}, r"exports\.x\.format"),
        ({"x": {"format": "ply", "objets": ["a"]}}, r"exports\.x\.objets.*objects"),
        ({"x": {"format": "colmap", "split": True}}, r"exports\.x\.split.*whole scene"),
        ({"../x": {"format": "ply"}}, r"exports"),
    ],
)
def test_what_is_wrong_is_named_before_any_job(exports: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load({**RAW, "exports": exports})
    with pytest.raises(ConfigError, match=message):
        load({"scenes": {"a": {"source": "demo", "exports": exports}}})
