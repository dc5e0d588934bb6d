"""A wrong file of a backend stops with its name, before any job, whether it is chosen or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradiseg_core.stages.masks.backends as package
from gradiseg_core.config import backends
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.masks import MasksConfig
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import BackendUnavailableError, ConfigError, GradisegError
from tests.workflow.toy_backend import TOY


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder of backends, of any stage, with a good one in it."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / ".#toy.py").write_text("an editor's own")
    monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    monkeypatch.setattr(backends, "folder_of", lambda stage: tmp_path)
    monkeypatch.setattr(backends, "names", backends.names.__wrapped__)
    monkeypatch.setattr(backends, "load", backends.load.__wrapped__)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(f"{package.__name__}."):
            del sys.modules[name]


def section() -> list[str]:
    return list(backends.section_of.__wrapped__(MasksConfig).model_fields)


def test_a_good_one_is_a_key(folder: Path) -> None:
    (folder / "bare.py").write_text(
        TOY.replace("class Options(", "Options = BackendOptions\nclass O(")
    )
    assert section() == ["backend", "toy"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "import numpy as np",
            "import nunpy as np",
            r"backend `toy` of stage `masks` \(\S+toy\.py:5\) cannot be imported: "
            "ModuleNotFoundError: No module named 'nunpy'",
        ),
        ("def run(", "def run", r"toy\.py:26\) cannot be imported: SyntaxError"),
        ('Requires("scene"', 'Requires("scenes"', r"no envs/scenes\.yaml; did you mean 'scene'"),
        ("levels: int", "weights: int", "BackendOptions has something called `weights` itself"),
    ],
)
@pytest.mark.filterwarnings("ignore:Field name")
def test_a_wrong_one_is_named(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "toy.py").write_text(TOY.replace(old, new))
    with pytest.raises(GradisegError, match=message):
        section()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (MasksConfig, "Toy"),
        (MasksConfig, "toy-2"),
        (MasksConfig, "class"),
        (MasksConfig, "backend"),
        (MasksConfig, "options"),
        (MasksConfig, "conflicts"),
        (TrackingConfig, "repair"),
        (TrackingConfig, "overflow"),
        (TrackingConfig, "repairing"),
        (GroundingConfig, "chosen"),
    ],
)
def test_a_name_that_cannot_be_a_key(folder: Path, model: type, name: str) -> None:
    (folder / "toy.py").rename(folder / f"{name}.py")
    with pytest.raises(ConfigError, match=rf"{name}\.py: .*; rename the file"):
        backends.section_of.__wrapped__(model)


@pytest.mark.parametrize("stage", backends.STAGES)
def test_those_that_ship_are_whole(stage: str) -> None:
    for name in backends.names(stage):
        backends.load.__wrapped__(stage, name)
    with pytest.raises(BackendUnavailableError):
        backends.load.__wrapped__(stage, "toy")
