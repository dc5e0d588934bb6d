"""The keys of the configuration that README and docs/ print exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import REPOSITORY

SCHEMA = json.loads((REPOSITORY / "schemas" / "config.schema.json").read_text())
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
GENERATED = "configuration.md"
#: Below these a name is the user's own, and below the latter so are the keys.
NAMED = ("scenes", "own_variants", "strategies", "terms", "prompts", "exports", "edits")
OPEN = ("strategies", "terms", "prompts")
#: Dotted words that are no keys: a function is named by its module, a file by its ending.
_FILE = re.compile(
    r"\.(py|md|json|jsonl|png|yaml|csv|ply|npz|npy|sh|pth|smk|lock|toml|tex|safetensors|html)$"
)

Keys = tuple[str, ...]


def _walk(node: dict[str, Any], prefix: Keys, inside: tuple[str, ...] = ()) -> Iterator[Keys]:
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name not in inside:
            yield from _walk(SCHEMA["$defs"][name], prefix, (*inside, name))
    for alternatives in ("anyOf", "allOf"):
        for alternative in node.get(alternatives, ()):
            yield from _walk(alternative, prefix, inside)
    for key, value in node.get("properties", {}).items():
        yield (*prefix, key)
        yield from _walk(value, (*prefix, key), inside)
    if isinstance(node.get("additionalProperties"), dict):
        yield from _walk(node["additionalProperties"], (*prefix, "*"), inside)
    for below in node.get("patternProperties", {}).values():  # names of which form is asked
        yield from _walk(below, (*prefix, "*"), inside)


@cache
def known() -> frozenset[Keys]:
    return frozenset(_walk(SCHEMA, ()))


def unknown_in(written: object, prefix: Keys = ()) -> list[str]:
    """Return the keys of a part of a configuration that there are not."""
    if not isinstance(written, dict):
        return []
    wrong = []
    for key, value in written.items():
        if prefix and prefix[-1] in OPEN:
            continue
        path = (*prefix, "*" if prefix and prefix[-1] in NAMED else str(key))
        if path in known() or path[-1] == "*":
            wrong += unknown_in(value, path)
        else:
            wrong.append(".".join(path))
    return wrong


def unknown_on(page: str) -> list[str]:
    """Return the keys that a page prints in YAML, or dotted within the text, and are not there."""
    wrong = []
    for block in re.findall(r"^\s*```yaml\n(.*?)^\s*```", page, re.MULTILINE | re.DOTALL):
        wrong += unknown_in(yaml.safe_load(block))
    sections = {path[0] for path in known()}
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL)):
        key = code.partition(":")[0]
        dotted = tuple(key.split("."))
        if dotted[0] not in sections or _FILE.search(key) or "/" in key:
            continue
        if len(dotted) > 1 and re.fullmatch(r"[a-z_0-9.]+", key):
            wrong += [] if dotted in known() else [key]
        elif len(dotted) == 1 and ": {" in code:
            wrong += unknown_in(yaml.safe_load(code))
    return wrong


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != GENERATED], ids=lambda p: p.name)
def test_keys_exist(page: Path) -> None:
    assert unknown_on(page.read_text()) == []


def test_keys_that_do_not_exist_are_found() -> None:
    page = (
        "`masks.graph.scale` `masks.graph.gone: 3` `masks: {backend: graph, graph: {lost: 1}}`\n"
        "`train/point_cloud.ply` `tracking: deva`\n"
        "```yaml\nscenes:\n  mine: {path: x, colmap: {never: 1}}\nno_section: 1\n```\n"
    )
    assert unknown_on(page) == [
        "scenes.*.colmap.never", "no_section", "masks.graph.gone", "masks.graph.lost",
    ]  # fmt: skip
