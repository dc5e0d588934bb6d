"""Options of backends that no scene uses are named, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gradiseg_core.config.root import load
from tests.workflow.conftest import REPOSITORY, Workflow

IDS = {"backend": "precomputed", "precomputed": {"folder": "ids"}}


def unused(folder: Path, raw: dict[str, Any]) -> tuple[str, ...]:
    for name in ("photos", "ids"):
        (folder / name).mkdir(exist_ok=True)
    entries = {"a": {}, "b": {}} | raw.pop("scenes", {})
    scenes = {name: {"path": "photos"} | entry for name, entry in entries.items()}
    return load({"scenes": scenes, **raw}, folder).unused


def test_the_keys_and_the_chosen_backend_are_named(tmp_path: Path) -> None:
    raw = {
        "masks": {"backend": "graph", "sam": {"half": False}},
        "scenes": {"b": {"grounding": {"manual": {"overlap": "pooled", "fragment_share": 0.5}}}},
    }
    first, second = unused(tmp_path, raw)
    assert first == (
        "masks.sam.half has no effect: no scene uses backend `sam` of `masks`, but `graph`"
    )
    keys = "scenes.b.grounding.manual.overlap, scenes.b.grounding.manual.fragment_share have no"
    assert second.startswith(keys)
    assert second.endswith("but `colour_words`")


@pytest.mark.parametrize(
    "raw",
    [
        {"tracking": {"precomputed": {"folder": "ids"}}, "scenes": {"b": {"tracking": IDS}}},
        {"scenes": {"a": {"tracking": {"precomputed": {"folder": "ids"}}}, "b": {"tracking": IDS}}},
        {"tracking": {**IDS, "repair": "sfm", "sfm": {"fill": False}}},
        {"tracking": {"precomputed": {"folder": "ids"}}, "baseline_2d": True,
         "tracking_2d": {"backend": "precomputed"}},
        {"grounding": {"manual": {"overlap": "pooled"}}, "second_grounding": {"backend": "manual"}},
        {"masks": {"sam": {}}},
    ],
)  # fmt: skip
def test_what_any_scene_uses_is_silent(tmp_path: Path, raw: dict[str, Any]) -> None:
    assert unused(tmp_path, raw) == ()


def test_the_workflow_warns_once(workflow: Workflow) -> None:
    assert "warning:" not in workflow.snakemake("--dry-run", "alpha").stderr
    workflow.append("config.yaml", "masks: {sam: {half: false}}\n")
    done = workflow.snakemake("--dry-run", "alpha")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: masks.sam.half has no effect") == 1


@pytest.mark.parametrize(
    "file", [REPOSITORY / "config.yaml", *sorted((REPOSITORY / "config").glob("*.yaml"))]
)
def test_what_ships_is_silent(file: Path) -> None:
    raw = yaml.safe_load(file.read_text(encoding="utf-8")) | {"absent_scenes": "skip"}
    scene = {"there": {"source": "demo"}}
    assert load({**raw, "scenes": raw["scenes"] | scene}, REPOSITORY).unused == ()
