"""The embedded scene's files: whole, small, and what the generator renders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.inputs import given_files
from gradiseg_core.config.scene import DEMO_FOLDER, DemoConfig, SceneConfig
from gradiseg_core.imaging import read_id_map, read_image
from gradiseg_core.scene import prepare
from gradiseg_core.scene.demo.dataset import make_renderer, render_view
from gradiseg_core.scene.demo.viewpoints import viewpoints


def test_the_embedded_scene_has_all_its_parts(tmp_path: Path) -> None:
    manifest = prepare(
        SceneConfig(source="demo"), tmp_path / "scene", name="my_demo", seed=0, threads=1
    )
    assert (manifest.name, manifest.source, manifest.size) == ("my_demo", "demo", (400, 300))
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_0.jpg"])
def test_the_generator_renders_them_again(name: str, tmp_path: Path) -> None:
    pytest.importorskip("mitsuba", reason="renders a view: pip install -e '.[studies]'")
    config = DemoConfig()
    cameras = [camera for camera, _ in viewpoints(config)]
    index = [camera.name for camera in cameras].index(name)
    renderer = make_renderer(config, threads=1)
    geometry = renderer.geometry(cameras[index])
    rendered = render_view(renderer, config, index, 0, geometry)
    ids = renderer.object_ids(geometry)

    shipped = read_image(DEMO_FOLDER / "images" / name)
    Image.fromarray(rendered).save(tmp_path / "again.jpg", quality=95, subsampling=0)
    again = read_image(tmp_path / "again.jpg")
    # Another version of Mitsuba or another machine may round a light path elsewhere.
    assert np.mean(np.abs(again.astype(int) - shipped.astype(int)).max(axis=2) <= 2) > 0.99
    exact = read_id_map(DEMO_FOLDER / "gt_ids" / f"{cameras[index].stem}.png")
    assert np.mean(ids == exact) > 0.999
