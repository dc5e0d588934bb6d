"""What `gradiseg view` takes from a configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gradiseg_core import serving
from gradiseg_core.config.view import ViewConfig
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.serving import serve, wishes_of
from gradiseg_core.stages.view.server import Session
from tests import trained_scene

CONFIG = """
scenes: {kitchen: {path: photos}}
grounding: {backend: BACKEND, colour_words: {min_score: 0.7}}
view: {max_gaussians: 5000}
downloads: {folder: weights}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    folder = tmp_path / "run" / "grounding"
    folder.mkdir(parents=True)
    (folder / "selection.json").write_text(json.dumps({"backend": "clicks", "prompts": {}}))
    return folder.parent


def test_without_a_configuration_the_run_says_which_backend(run: Path) -> None:
    wishes = wishes_of("kitchen", run, [])
    assert wishes.grounding.backend == "colour_words"  # clicks read no text
    assert wishes.view == ViewConfig()


@pytest.mark.parametrize("backend", ["colour_words", "clicks"])
def test_options_of_the_configuration_hold(backend: str, run: Path) -> None:
    Path("my.yaml").write_text(CONFIG.replace("BACKEND", backend))
    wishes = wishes_of("kitchen", run, [Path("my.yaml")])
    assert wishes.grounding.backend == "colour_words"
    assert wishes.grounding.options.min_score == 0.7  # type: ignore[attr-defined]
    assert wishes.view.max_gaussians == 5000
    assert wishes.downloads == Path("weights")


def test_a_scene_that_it_does_not_have_is_named(run: Path) -> None:
    Path("my.yaml").write_text(CONFIG.replace("BACKEND", "clicks"))
    with pytest.raises(ConfigError, match="no scene is called 'demo'; the configuration has kitch"):
        wishes_of("demo", run, [Path("my.yaml")])


def test_a_run_that_was_copied_without_its_scene_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = tmp_path / "results" / "balls"
    trained_scene.write_trained(scene / "baseline" / "seed0" / "train")
    (scene / "colmap" / "sparse").mkdir(parents=True)
    copied = tmp_path / "copied"
    shutil.copytree(scene / "baseline" / "seed0", copied)
    with pytest.raises(InputError, match=r"lacks the cameras .*\. Copy all of results/<scene>"):
        serve(copied, edits_file=tmp_path / "edits.yaml")
    (copied / "view.html").touch()
    with pytest.raises(InputError, match=r"Open .*copied/view.html in any browser.* To ask for"):
        serve(copied, edits_file=tmp_path / "edits.yaml")
    with pytest.raises(InputError, match=r"no trained scene .*; give one of .*baseline/seed0"):
        serve(scene / "baseline", edits_file=tmp_path / "edits.yaml")
    (scene / "logs").mkdir()
    (scene / "colmap").rename(tmp_path / "away")  # as Snakemake does before it makes it again
    with pytest.raises(InputError, match=r"results/balls/colmap is not there\. They are being"):
        serve(scene / "baseline" / "seed0", edits_file=tmp_path / "edits.yaml")
    (tmp_path / "away").rename(scene / "colmap")
    whole = tmp_path / "elsewhere"
    shutil.copytree(scene, whole)

    def served(session: Session, *_: object, **__: object) -> None:
        assert session.scene.run.scene == whole
        raise InterruptedError

    monkeypatch.setattr(serving, "Server", served)
    with pytest.raises(InterruptedError):
        serve(whole / "baseline" / "seed0", opens=False, edits_file=tmp_path / "edits.yaml")


@pytest.mark.parametrize(
    ("file", "said"),
    [("nowhere/x.yaml", "there is no folder .*nowhere to save"), (".", "cannot be written to")],
)
def test_a_file_that_edits_cannot_be_saved_to_is_refused_at_once(
    file: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        serve(tmp_path / "no_run", edits_file=tmp_path / file)
