"""What `gradiseg view` takes from a configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradiseg_core.config.view import ViewConfig
from gradiseg_core.errors import ConfigError
from gradiseg_core.serving import wishes_of

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
