"""Paths and file names as users have them: with Snakemake's own marks, home folders, slashes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradiseg_core.config.root import load
from gradiseg_core.errors import ConfigError
from tests.workflow.conftest import Workflow

STRANGE = (
    "IMG{0}.jpg",
    "{scene}.jpg",
    "{.jpg",
    "a {b} <results> c.jpg",
    "<word>.jpg",
    "100 %s.jpg",
    "für'\"$HOME`é`.jpg",
    "two\nlines.jpg",
    os.fsdecode(b"latin-\xe9.jpg"),
    " led by a space.jpg",
    "[x]*?\\n.jpg",
)


def fill(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(STRANGE):
        (folder / name).write_bytes(bytes([number]))


def test_any_name_of_a_photograph_works_and_its_change_reruns(workflow: Workflow) -> None:
    folder = "out side/{x,.*} <b>"
    fill(workflow.folder / folder)
    workflow.edit("config.yaml", "path: photos", f"path: '{folder}'")
    target = "results/alpha/scene"
    done = workflow.snakemake("--touch", "--cores", "1", "--forceall", target)
    assert done.returncode == 0, done.stderr
    assert workflow.planned(target) == {}
    (workflow.folder / folder / "IMG{0}.jpg").write_bytes(b"another")
    assert workflow.planned(target) == {"scene": 1}


@pytest.mark.parametrize("results", ["./out//x/", "ö u t %s", "."])
def test_results_anywhere_without_a_warning(workflow: Workflow, results: str) -> None:
    workflow.append("config.yaml", f"results: '{results}'\ndownloads: {{folder: '{results}'}}\n")
    done = workflow.snakemake("--dry-run", "alpha")
    assert done.returncode == 0, done.stderr
    assert "File path" not in done.stderr + done.stdout
    assert "file path" not in done.stderr + done.stdout


def test_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("photos", "ids"):
        (tmp_path / name).mkdir()
    (tmp_path / "vgg.pth").touch()
    settings = load(
        {
            "scenes": {"kitchen": {"path": "~/photos/"}},
            "results": "~/out",
            "downloads": {"folder": "~/fetched", "lock": "~/lock.json"},
            "masks": {"backend": "precomputed", "precomputed": {"folder": "~/ids"}},
            "metrics": {"lpips_weights": "~/vgg.pth"},
        }
    )
    scene = settings.scenes["kitchen"]
    assert scene["scene"].path == tmp_path / "photos"
    assert scene["masks"].options.folder == tmp_path / "ids"
    assert scene["metrics"].weights() == {"lpips_vgg": tmp_path / "vgg.pth"}
    assert settings.root.results == str(tmp_path / "out")
    assert settings.root.downloads.folder == str(tmp_path / "fetched")
    assert settings.root.downloads.lock == str(tmp_path / "lock.json")


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("results", "out{x}", "braces"),
        ("results", "<word>/out", "braces"),
        ("results", "", "empty"),
        ("results", "a\0b", "null character"),
        ("results", " out", "spaces"),
        ("results", "$HOME/out", "variables such as $HOME are not replaced"),
        ("results", "~nobody-of-this-name/out", "~nobody-of-this-name"),
        ("path", "", "empty"),
        ("path", "${HOME}/photos", "variables such as ${HOME} are not replaced"),
        ("checkpoint", "{x}.pth", "braces"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(key: str, value: str, what: str) -> None:
    raw: dict = {"scenes": {"kitchen": {"path": "photos"}}}
    if key == "path":
        raw["scenes"]["kitchen"]["path"] = value
    elif key == "checkpoint":
        raw["masks"] = {"backend": "sam", "sam": {"checkpoint": value}}
    else:
        raw[key] = value
    with pytest.raises(ConfigError) as error:
        load(raw)
    assert f"{key}: " in str(error.value)
    assert what in str(error.value)
