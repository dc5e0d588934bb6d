"""names.json: what objects are called, and where their pictures are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradiseg_core.errors import InputError
from gradiseg_core.files.names import NamedObject, Names, names_of_ids

PROMPTS = {"tableware": [1, 2, 4], "cup": [2], "mug": [2], "sky": [], "room": [0]}


def test_the_most_special_prompt_names_an_object() -> None:
    assert names_of_ids(PROMPTS) == {0: "room", 1: "tableware", 2: "cup", 4: "tableware"}


def test_every_object_is_there_and_the_background_is_none(tmp_path: Path) -> None:
    names = Names.of(PROMPTS, {1: "objects/1.png", 2: "objects/2.png", 3: None})
    assert names.objects == (
        NamedObject(1, "tableware", "objects/1.png"),
        NamedObject(2, "cup", "objects/2.png"),
        NamedObject(3, None, None),
        NamedObject(4, "tableware", None),
    )
    names.save(tmp_path / "grounding")
    assert Names.load(tmp_path / "grounding") == names
    content = json.loads((tmp_path / "grounding" / "names.json").read_text())
    assert content["prompts"]["tableware"] == [1, 2, 4]
    assert content["objects"][0] == {"id": 1, "name": "tableware", "thumbnail": "objects/1.png"}


def test_a_missing_or_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the grounding stage again"):
        Names.load(tmp_path)
    for content in ("{", "[]", '{"objects": [], "names": {}}', '{"objects": [{"is": 1}]}'):
        (tmp_path / "names.json").write_text(content)
        with pytest.raises(InputError, match=r"names\.json is not in the expected form"):
            Names.load(tmp_path)
