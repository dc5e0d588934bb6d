"""Trained scenes in the hands of a user: `gradiseg_core.load`, its objects, its pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gradiseg_core
from gradiseg_core.editing.boxes import box_around
from gradiseg_core.editing.labels import most_probable, probability_of
from gradiseg_core.editing.objects import BACKGROUND, listing
from gradiseg_core.errors import InputError
from gradiseg_core.files.trained import load_trained
from gradiseg_core.modules import PACKAGE_DIR, closure
from tests import synthetic, trained_scene
from tests.editing.conftest import BLUE, GREEN, RED


def test_the_table_of_objects(scene: gradiseg_core.Scene) -> None:
    points, owner = synthetic.balls()
    rows = {row.id: row for row in scene.objects}
    assert set(rows) == set(trained_scene.TRACKED[np.unique(owner)])
    assert {row.id: row.name for row in scene.objects if row.id} == {
        RED: "red ball",
        GREEN: "green ball",
        BLUE: None,
    }
    assert (rows[RED].views, rows[GREEN].views, rows[BLUE].views) == (2, 0, 1)
    own = points[owner == 1]
    assert rows[RED].count == len(own)
    np.testing.assert_allclose(rows[RED].centre, own.mean(axis=0), atol=1e-5)
    inside = rows[RED].box.contains(own)
    assert 0.9 < inside.mean() < 1.0  # a few may stick out
    assert rows[RED].probability == pytest.approx(1 / (1 + 7 * np.exp(-12.0)), abs=1e-5)
    assert json.loads(json.dumps(rows[RED].as_json()))["name"] == "red ball"


def test_a_view_looks_as_its_photograph(
    scene: gradiseg_core.Scene, folders: trained_scene.Folders
) -> None:
    from gradiseg_core.files.images import read_image

    name = next(iter(scene.cameras))
    shown = scene.render(name)
    photograph = read_image(folders.colmap / "images" / name) / 255.0
    assert np.abs(shown.color - photograph).mean() < 0.02
    assert shown.depth.max() > 0
    assert set(np.unique(shown.ids)) <= {0, RED, GREEN, BLUE}
    assert scene.render(name.rpartition(".")[0], size=(32, 24)).color.shape == (24, 32, 3)


def test_a_world_in_other_units(tmp_path: Path, folders: trained_scene.Folders) -> None:
    """Objects are in the user's world, whatever frame training took."""
    from gradiseg_core.cameras import Frame
    from gradiseg_core.files.trained import save_trained

    trained = load_trained(folders.train)
    values = {
        name: getattr(trained, name)
        for name in ("means", "quats", "scales", "opacities", "sh0", "shN", "identities")
    }
    frame = Frame(4.0, (100.0, 0.0, -20.0))
    save_trained(tmp_path / "train", values, trained.classifier, trained.metadata, frame)
    scene = gradiseg_core.load(tmp_path, device="cpu")
    points, owner = synthetic.balls()
    row = next(row for row in scene.objects if row.id == RED)
    expected = points[owner == 1].mean(axis=0) / 4.0 + np.array(frame.offset)
    np.testing.assert_allclose(row.centre, expected, atol=1e-4)
    assert scene.cameras == {}
    with pytest.raises(InputError, match="there is no view 'a'; there are none, as the scene has"):
        scene.render("a")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (7, r"no Gaussian has ID 7; there are 'red ball' \(ID 3\), 'green ball' \(ID 1\), 'balls'"),
        ("vase", "no object is called 'vase'; there are 'red ball'"),
        ("ball", "'ball' may be 'red ball', 'green ball'; write one of them in full"),
        ("cup", "'cup' was not found in this scene"),
    ],
)
def test_what_there_is_not(what: int | str, message: str, scene: gradiseg_core.Scene) -> None:
    with pytest.raises(InputError, match=message):
        scene.ids_of(what)


def test_what_there_is(scene: gradiseg_core.Scene) -> None:
    assert scene.ids_of("Red Ball") == scene.ids_of("red") == scene.ids_of(RED) == [RED]
    assert scene.ids_of("balls") == sorted([RED, GREEN])
    assert scene.ids_of(BACKGROUND) == [0]
    assert f"without a name: IDs {BLUE}; 'background' (ID 0)" in listing(
        [row.id for row in scene.objects], scene.prompts
    )
    assert scene.names_of_ids == {0: BACKGROUND, RED: "red ball", GREEN: "green ball"}


def test_where_there_is_no_scene(tmp_path: Path, folders: trained_scene.Folders) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        gradiseg_core.load(tmp_path / "none")
    with pytest.raises(InputError, match=r"give one of .*seed0"):
        gradiseg_core.load(folders.scene.parent)
    shutil.copytree(folders.train, tmp_path / "train")
    (tmp_path / "train" / "edit.json").write_text('{"made_from": "..", "done": ["remove"]}')
    with pytest.raises(InputError, match="does not say what was done; make the edit again"):
        gradiseg_core.load(tmp_path / "train")
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "edit.json").write_text("[")
    (tmp_path / "point_cloud.ply").write_text("")
    with pytest.raises(InputError, match=r"edit\.json cannot be read .* make the edit again"):
        gradiseg_core.load(tmp_path)


def test_probabilities_of_gaussians(folders: trained_scene.Folders) -> None:
    trained = load_trained(folders.train)
    table = trained.classifier(trained.identities).softmax(dim=1)
    ids, certainty = most_probable(trained)
    assert torch.equal(ids, table.argmax(dim=1))
    torch.testing.assert_close(certainty, table.amax(dim=1))
    torch.testing.assert_close(probability_of(trained, [RED, 0]), table[:, [RED, 0]].sum(dim=1))


@pytest.mark.parametrize("up", [None, np.array([0.0, 0.0, 2.0])])
def test_a_box_is_the_smallest(up: np.ndarray | None) -> None:
    """Of a block of 4 x 2 x 1 that is turned by 30 degrees around what is up."""
    generator = np.random.default_rng(0)
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    points = generator.uniform(-0.5, 0.5, (4000, 3)) * (4, 2, 1) @ turn + (1, 2, 3)
    box = box_around(points, up, trim=0.0)
    np.testing.assert_allclose(np.sort(box.size), [1, 2, 4], atol=0.15)
    np.testing.assert_allclose(box.centre, [1, 2, 3], atol=0.05)
    assert np.linalg.det(box.axes) == pytest.approx(1.0)
    assert box.contains(points).mean() > 0.998  # those that it touches may be on either side
    assert box.contains(box.centre + 0.99 * (box.corners() - box.centre)).all()
    assert not box.contains(box.centre + 1.01 * (box.corners() - box.centre)).any()
    if up is not None:
        np.testing.assert_allclose(box.axes[2], [0, 0, 1], atol=1e-12)


def test_the_package_is_light_and_no_other_stage_depends_on_it() -> None:
    code = (
        "import sys, gradiseg_core\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert callable(gradiseg_core.load) and 'torch' in sys.modules\n"
        "try:\n    gradiseg_core.nothing\nexcept AttributeError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(PACKAGE_DIR.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "module 'gradiseg_core' has no attribute 'nothing'\n"
    scripts = PACKAGE_DIR.parent / "workflow_scripts"
    users = {"edit.py", "export.py", "view.py"}
    found = closure(path for path in scripts.glob("*.py") if path.name not in users)
    edits = {PACKAGE_DIR / "editing" / f"{name}.py" for name in ("scene", "operations", "filling")}
    assert not edits & set(found)
