"""All mistakes of a configuration are in one message, those of later checks included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.config.root import load
from gradiseg_core.errors import ConfigError


def keys(raw: Any, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(raw, folder)
    return [line.strip().partition(": ")[0] for line in str(error.value).splitlines()[1:]]


def test_what_only_later_checks_find_is_named_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    raw = {
        "scenes": {
            "a": {"path": "nowhere", "qualty": "draft"},
            "tables": {"path": "photos"},
            "c": {"path": "photos", "train": {"iterations": "many"}},
        },
        "trian": {},
        "variants": ["gradisg"],
        "seeds": [0, 0],
        "tracking": {"geometry": {"granularity": "part"}},
        "edits": {"x": [{"insert": {"scene": "no.ply"}}]},
        "exports": {"y": {"format": "spzz"}},
    }
    found = keys(raw, tmp_path)
    assert set(found) == {
        *("scenes.tables", "scenes.a.qualty", "scenes.c.train.iterations", "trian"),
        *("tracking.geometry.granularity", "exports.y.format", "variants[0]", "seeds"),
        *("edits.x", "scenes.a.path"),
    }
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # Nothing is said of what is wrong only because a mistake was taken out.
        ({"scenes": {"a": {"path": 5}}}, ["scenes.a.path"]),
        ({"scenes": {"a b": {"source": "demo"}}}, ["scenes.a b"]),
        ({"scenes": ["a"], "train": 5}, ["scenes", "train"]),
        ({"scenes": {"a": {"source": "demo"}}, "exports": {"y": {}}}, ["exports.y.format"]),
        ({}, ["scenes"]),
        (
            {"scenes": {"a": {"source": "demo"}}, "own_variants": {"igd": {}}, "seeds": [1, 1]},
            ["own_variants.igd", "seeds"],
        ),
    ],
)
def test_consequences_are_not_named(raw: Any, expected: list[str], tmp_path: Path) -> None:
    assert keys(raw, tmp_path) == expected
