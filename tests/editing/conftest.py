"""The balls of tests/trained_scene.py, with names for two of them."""

from __future__ import annotations

import json

import pytest

import gradiseg_core
from tests import trained_scene

RED, GREEN, BLUE = (int(index) for index in trained_scene.TRACKED[1:])


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> trained_scene.Folders:
    folders = trained_scene.make(tmp_path_factory.mktemp("results") / "balls")
    prompts = {"red ball": [RED], "green ball": [GREEN], "balls": [RED, GREEN], "cup": []}
    folders.grounding.mkdir()
    content = {"prompts": {name: {"ids": ids, "why": ""} for name, ids in prompts.items()}}
    (folders.grounding / "selection.json").write_text(json.dumps(content))
    views = {"objects": [{"id": RED, "views": ["a", "b"]}, {"id": BLUE, "views": ["a"]}]}
    (folders.tracking / "objects.json").write_text(json.dumps(views))
    return folders


@pytest.fixture(scope="session")
def scene(folders: trained_scene.Folders) -> gradiseg_core.Scene:
    return gradiseg_core.load(folders.train.parent, device="cpu")
