"""The user's files are never where a rule writes, since Snakemake deletes outputs before a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.config.root import load
from gradiseg_core.errors import ConfigError


def folders(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "a.png").write_bytes(b"")


def refusal(raw: Any, folder: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load({"results": "out", "variants": ["baseline"], **raw}, folder)
    return str(error.value)


@pytest.mark.parametrize(
    ("path", "results"),
    [
        ("out/kitchen/scene/images", "out"),
        ("out/kitchen/scene", "out"),
        ("out/kitchen/baseline/photos", "out"),
        ("out/tables/photos", "out"),
        # the workflow's own model would be taken for one that came with the photographs
        ("photos/kitchen", "photos"),
        ("photos/kitchen/images_2", "photos"),
        ("link", "out"),
    ],
)
def test_photographs_in_a_folder_that_is_written(tmp_path: Path, path: str, results: str) -> None:
    folders(tmp_path, "out/kitchen/scene/images")
    (tmp_path / "link").symlink_to("out/kitchen/scene")
    folders(tmp_path, path)
    message = refusal({"scenes": {"kitchen": {"path": path}}, "results": results}, tmp_path)
    assert f"scenes.kitchen.path: {path} overlaps with {results}/" in message
    assert "copy them" in message


@pytest.mark.parametrize("folder", ["out/kitchen/masks", "out/kitchen/masks/mine", "out"])
def test_segments_in_a_folder_that_is_written(tmp_path: Path, folder: str) -> None:
    folders(tmp_path, "photos", folder)
    masks = {"backend": "precomputed", "precomputed": {"folder": folder}}
    message = refusal({"scenes": {"kitchen": {"path": "photos"}}, "masks": masks}, tmp_path)
    assert f"masks.precomputed.folder: {folder} overlaps with out/" in message


def test_a_selection_in_a_folder_that_is_written(tmp_path: Path) -> None:
    folders(tmp_path, "photos")
    selection = "out/kitchen/baseline/seed0/grounding/selection.json"
    grounding = {"backend": "manual", "manual": {"selection": selection}}
    message = refusal({"scenes": {"kitchen": {"path": "photos"}}, "grounding": grounding}, tmp_path)
    assert f"{selection} overlaps with out/kitchen/baseline" in message


@pytest.mark.parametrize(
    ("path", "results"),
    [
        ("photos", "photos/results"),
        ("photos/kitchen", "photos/kitchen/results"),
        ("photos/kitchen/images", "photos/kitchen/images/results"),
        ("out/studies/kitchen", "out"),
        ("out/bathroom/scene", "out"),
        ("out/kitchen/scenery", "out"),
    ],
)
def test_what_is_not_written_may_lie_beside_it(tmp_path: Path, path: str, results: str) -> None:
    folders(tmp_path, path, f"{results}/kitchen/scene")
    load({"scenes": {"kitchen": {"path": path}}, "results": results}, tmp_path)


def test_results_are_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    demo = {"scenes": {"demo": {"source": "demo"}}}
    assert "results: " in refusal({**demo, "results": "file"}, tmp_path)
    assert "lies below a file" in refusal({**demo, "results": "file/deeper"}, tmp_path)
    assert "root of the file system" in refusal({**demo, "results": "/"}, tmp_path)


@pytest.mark.parametrize("name", ["colmap", "scene", "figures", "logs", "tracks_2d"])
def test_a_variant_does_not_share_the_folder_of_a_stage(tmp_path: Path, name: str) -> None:
    demo = {"scenes": {"demo": {"source": "demo"}}, "own_variants": {name: {}}}
    assert f"own_variants.{name}: " in refusal({**demo, "variants": [name]}, tmp_path)
