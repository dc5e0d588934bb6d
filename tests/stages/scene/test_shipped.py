"""The embedded scene's files: whole and small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gradiseg_core.config.inputs import given_files
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.stages.scene.stage import prepare


def test_the_embedded_scene_has_all_its_parts(tmp_path: Path) -> None:
    manifest = prepare(SceneConfig(source="demo"), tmp_path / "scene", name="my_demo")
    assert (manifest.name, manifest.source, manifest.sizes) == ("my_demo", "demo", {(400, 300): 36})
    assert (len(manifest.train_views), len(manifest.test_views)) == (32, 4)
    assert manifest.prompts[:2] == ["white teapot", "orange book"]
    has = manifest.has
    assert has.test_mask
    assert has.gt_ids
    assert has.ground_truth
    assert not has.sparse
    for view in manifest.views:
        ids = read_id_map(tmp_path / "scene" / "gt_ids" / f"{view.stem}.png")
        assert set(np.unique(ids)) <= set(range(11))


def test_its_files_are_few_and_inputs_of_its_scene() -> None:
    files = given_files(SceneConfig(source="demo"))
    assert {path.parent.name for path in files} >= {"images", "images_train", "gt_ids", "demo"}
    assert DEMO_FOLDER / "ground_truth.json" in files
    size = sum(path.stat().st_size for path in DEMO_FOLDER.rglob("*") if not path.is_symlink())
    assert size <= 4e6
