"""How many keys a user can choose, and what becomes of those that are gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gradiseg_core.config.backends import STAGES, names
from gradiseg_core.config.base import Section
from gradiseg_core.config.docs import _section
from gradiseg_core.config.root import load
from gradiseg_core.config.sections import RootConfig
from gradiseg_core.errors import ConfigError

#: More is more than a person reads; a new key takes the place of one that makes no difference.
#: Backends' own keys do not count: who chooses one reads its few, and anybody may add a backend.
MOST_KEYS = 123

DEMO = {"scenes": {"a": {"source": "demo"}}}


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """A model of the configuration and all below it; those that repeat another one are left out."""
    yield path, model
    for name, field in model.model_fields.items():
        below = _section(field)
        if below is not None and field.default is not None:
            yield from sections(below, f"{path}{name}.")


def removed() -> Iterator[tuple[str, str]]:
    """Every key, or ``key: value``, that is gone, and what is said of it."""
    for path, model in sections(RootConfig):
        assert issubclass(model, Section)
        yield from ((path + key, instead) for key, instead in model.removed.items())


def test_there_are_not_too_many_keys() -> None:
    leaves = [
        path + name
        for path, model in sections(RootConfig)
        for name, field in model.model_fields.items()
        if _section(field) is None or field.default is None
    ]
    of_backends = tuple(f"{stage}.{name}." for stage in STAGES for name in names(stage))
    common = [key for key in leaves if not key.startswith(of_backends)]
    assert 60 < len(common) <= MOST_KEYS
    assert len(common) < len(leaves)


@pytest.mark.parametrize(("key", "instead"), list(removed()))
def test_a_key_that_is_gone_says_what_to_write_instead(key: str, instead: str) -> None:
    path, _, value = key.partition(": ")
    raw: Any = value or 1
    for part in reversed(path.split(".")):
        raw = {part: raw}
    with pytest.raises(ConfigError) as caught:
        load({**DEMO, **raw})
    assert f"  {path}: {instead}" in str(caught.value)


@pytest.mark.parametrize("instead", sorted({instead for _, instead in removed()}))
def test_what_to_write_instead_is_there(instead: str) -> None:
    for name, file in re.findall(r"the constant (\w+) in (\S+)\.py", instead):
        assert hasattr(import_module(file.replace("/", ".")), name)
    for key in re.findall(r"is called `([\w.]+)` now", instead):
        model: Any = RootConfig
        *parts, last = key.split(".")
        for part in parts:
            model = _section(model.model_fields[part])
        assert last in model.model_fields
    for file in re.findall(r"(?:studies|resources)/[\w/.]+", instead):
        assert (Path(__file__).resolve().parents[2] / file.rstrip(".")).exists()


def test_a_scene_and_a_second_tracker_are_told_as_well() -> None:
    for raw, key in (
        ({"scenes": {"a": {"source": "demo", "masks": {"folder": "x"}}}}, "scenes.a.masks.folder"),
        ({**DEMO, "second_grounding": {"selection": "x"}}, "second_grounding.selection"),
        ({**DEMO, "tracking_2d": {"backend": "deva+sfm"}}, "tracking_2d.backend"),
        ({"scenes": {"a": {"source": "demo", "demo": {"seed": 3}}}}, "scenes.a.demo"),
    ):
        with pytest.raises(ConfigError, match=rf"{key}: (is called|write|is no longer a key)"):
            load(raw)
