"""Rendering of a trained scene whose right answer is known, and the pictures' own rules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.cameras import Frame
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.files.palette import id_colors
from gradiseg_core.files.pictures import (
    Moments,
    depth_picture,
    matched_palette,
    overlay_ids,
    panel_row,
)
from gradiseg_core.files.renderings import load_features
from gradiseg_core.files.trained import load_trained
from gradiseg_core.splatting.rasterization.registry import get_rasterizer
from gradiseg_core.stages.rendering.stage import render_view, render_views
from tests import trained_scene
from tests.trained_scene import TRACKED, Folders

REFERENCE = RenderConfig(rasterizer="reference")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folders = trained_scene.make(tmp_path_factory.mktemp("trained"))
    render_views(folders.scene, folders.colmap, folders.train, folders.render, REFERENCE, threads=1)
    return folders


def test_every_test_view_has_every_file(folders: Folders) -> None:
    about = json.loads((folders.render / "render.json").read_text())
    stems = [view["name"][:-4] for view in about["views"]]
    assert stems == ["view_000", "view_004"]
    assert about["variant"] == "baseline"
    assert about["not_registered"] == []
    kinds = {
        "color": ".png", "ids": ".png", "identity_pca": ".png", "side_by_side": ".png",
        "features": ".npz",
    }  # fmt: skip
    for kind, suffix in kinds.items():
        assert sorted(path.name for path in (folders.render / kind).iterdir()) == [
            stem + suffix for stem in stems
        ]
    assert len(list((folders.render / "depth").iterdir())) == 4


def test_colour_and_ids_are_the_scenes(folders: Folders) -> None:
    for stem in ("view_000", "view_004"):
        photo = read_image(folders.scene / "images" / f"{stem}.png").astype(int)
        color = read_image(folders.render / "color" / f"{stem}.png").astype(int)
        assert np.abs(photo - color).max() <= 1
        truth = TRACKED[read_id_map(folders.scene / "gt_ids" / f"{stem}.png")]
        ids = read_id_map(folders.render / "ids" / f"{stem}.png")
        assert (ids == truth).mean() > 0.995


def test_features_give_the_ids_back(folders: Folders) -> None:
    features = load_features(folders.render, "view_000")
    ids = read_id_map(folders.render / "ids" / "view_000.png")
    assert features.shape == (48, 64, 16)
    # The classifier is 12 x identity, so the largest encoding is the ID wherever anything is.
    hit = features.sum(axis=-1) > 0.2
    assert (features.argmax(axis=-1) == ids)[hit].mean() > 0.99
    with pytest.raises(InputError, match="render stage"):
        load_features(folders.render, "view_001")


def test_depth_is_metric(folders: Folders) -> None:
    depth = np.load(folders.render / "depth" / "view_000.npy")
    assert depth.dtype == np.float32
    # The camera stands 2.4 from the axis and 1.3 above the table; the nearest ball reaches 0.75.
    seen = depth[depth > 0]
    assert 1.5 < seen.min() < 2.2
    assert seen.max() < 4.2


def test_another_training_frame_changes_nothing_for_the_user(
    folders: Folders, tmp_path: Path
) -> None:
    colmap, train = tmp_path / "colmap", tmp_path / "train"
    shutil.copytree(folders.colmap, colmap)
    shutil.copytree(folders.train, train)
    for folder in (colmap, train):
        Frame(0.5).save(folder)
    out = tmp_path / "render"
    render_views(folders.scene, colmap, train, out, REFERENCE, threads=1)
    for name in ("color/view_000.png", "ids/view_000.png"):
        same = read_image if name.startswith("color") else read_id_map
        np.testing.assert_array_equal(same(out / name), same(folders.render / name))
    depth = np.load(out / "depth" / "view_000.npy")
    np.testing.assert_allclose(depth, np.load(folders.render / "depth" / "view_000.npy"), rtol=1e-5)


def test_training_views_on_request(folders: Folders, tmp_path: Path) -> None:
    about = render_views(
        folders.scene, folders.colmap, folders.train, tmp_path,
        RenderConfig(rasterizer="reference", train_views=True), threads=1,
    )  # fmt: skip
    assert len(about["views"]) == 8


@pytest.mark.parametrize(("size", "width", "height"), [("trained", 32, 24), ("photograph", 64, 48)])
def test_rendering_follows_the_size_asked_for(
    folders: Folders, tmp_path: Path, size: str, width: int, height: int
) -> None:
    train = tmp_path / "train"
    shutil.copytree(folders.train, train)
    metadata = json.loads((train / "identities.json").read_text())
    metadata["downsample"] = 2.0
    (train / "identities.json").write_text(json.dumps(metadata))
    config = REFERENCE.model_copy(update={"size": size})
    out = tmp_path / "render"
    about = render_views(folders.scene, folders.colmap, train, out, config, threads=1)
    assert {(view["width"], view["height"]) for view in about["views"]} == {(width, height)}
    ids = read_id_map(out / "ids" / "view_000.png")
    assert ids.shape == (height, width)
    if size == "photograph":
        assert np.array_equal(ids, read_id_map(folders.render / "ids" / "view_000.png"))


def test_unregistered_test_views(folders: Folders, tmp_path: Path) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(folders.scene, scene)
    text = (scene / "scene.json").read_text()
    (scene / "scene.json").write_text(text.replace("view_004.png", "view_004x.png"))
    about = render_views(
        scene, folders.colmap, folders.train, tmp_path / "render", REFERENCE, threads=1
    )
    assert [view["name"] for view in about["views"]] == ["view_000.png"]
    assert about["not_registered"] == ["view_004x.png"]
    for name in ("000", "001", "002", "003", "005", "006", "007"):
        text = text.replace(f"view_{name}.png", f"view_{name}x.png")
    (scene / "scene.json").write_text(text.replace("view_004.png", "view_004x.png"))
    with pytest.raises(InputError, match="none of its 8 views has a camera"):
        render_views(scene, folders.colmap, folders.train, tmp_path / "none", REFERENCE, threads=1)


@pytest.mark.parametrize("why", ["none registered", "none there"])
def test_training_views_stand_in_for_test_views(folders: Folders, tmp_path: Path, why: str) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(folders.scene, scene)
    manifest = json.loads((scene / "scene.json").read_text())
    for view in manifest["views"]:
        if view["split"] == "test" and why == "none there":
            view |= {"split": "train", "test_index": None}
        elif view["split"] == "test":
            view["name"] = view["name"].replace(".png", "x.png")
    (scene / "scene.json").write_text(json.dumps(manifest))
    about = render_views(scene, folders.colmap, folders.train, tmp_path, REFERENCE, threads=1)
    # Four of 1, 2, 3, 5, 6, 7, or of all eight, evenly spread.
    numbers = [1, 3, 5, 7] if why == "none registered" else [0, 2, 5, 7]
    assert [view["name"] for view in about["views"]] == [f"view_00{n}.png" for n in numbers]
    assert {view["split"] for view in about["views"]} == {"train"}
    assert len(list((tmp_path / "side_by_side").iterdir())) == 4


def test_pixels_that_are_no_numbers_are_counted(folders: Folders, tmp_path: Path) -> None:
    train = tmp_path / "train"
    shutil.copytree(folders.train, train)
    scene = load_trained(train)
    camera = load_cameras(folders.colmap)["view_000.png"]
    assert render_view(scene, camera, get_rasterizer("reference")).not_finite_px == 0
    scene.sh0[torch.arange(0, len(scene.sh0), 3)] = float("nan")
    rendered = render_view(scene, camera, get_rasterizer("reference"))
    assert rendered.not_finite_px > 0
    assert np.isfinite(rendered.color).all()


def test_pca_gathers_views_as_if_they_were_one() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(20, 30, 16)) @ generator.normal(size=(16, 16))
    together, apart = Moments(16), Moments(16)
    together.add(features)
    apart.add(features[:7])
    apart.add(features[7:])
    np.testing.assert_allclose(together.pca().components, apart.pca().components, atol=1e-9)
    rows = features.reshape(-1, 16)
    _, _, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    overlap = np.abs(np.sum(together.pca().components * axes[:3].T, axis=0))
    np.testing.assert_allclose(overlap, 1.0, atol=1e-9)
    assert together.pca().colors(features).shape == (20, 30, 3)


def test_pca_of_constant_features_is_grey() -> None:
    moments = Moments(16)
    moments.add(np.ones((4, 5, 16)))
    np.testing.assert_array_equal(moments.pca().colors(np.ones((4, 5, 16))), 128)
    with pytest.raises(ValueError, match="at least one"):
        Moments(16).pca()


def test_depth_picture_is_brighter_near_and_black_where_nothing_is() -> None:
    depth = np.array([[1.0, 2.0, 4.0, 0.0]], np.float32)
    picture = depth_picture(depth, depth > 0, 1.0, 4.0).sum(axis=-1)[0]
    assert picture[0] > picture[1] > picture[2] > picture[3] == 0


def test_overlay_leaves_background_grey() -> None:
    photo = np.full((2, 2, 3), (200, 100, 0), np.uint8)
    result = overlay_ids(photo, np.array([[0, 1], [0, 1]]), 1.0)
    assert len(set(result[0, 0].tolist())) == 1
    np.testing.assert_array_equal(result[0, 1], id_colors(2)[1])


def test_true_objects_take_the_colour_of_the_id_that_covers_them() -> None:
    truth = np.array([[1, 1, 2, 2, 3, 3]])
    predicted = np.array([[5, 5, 4, 4, 4, 0]])
    palette = matched_palette(predicted, truth)
    np.testing.assert_array_equal(palette[1], id_colors(6)[5])
    np.testing.assert_array_equal(palette[2], id_colors(6)[4])
    np.testing.assert_array_equal(palette[3], 200)  # its ID belongs to object 2


def test_panels() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    row = panel_row([("one", picture), ("two", picture)])
    assert row.shape[1] == 2 * 68 + 8
    assert (row == 0).all(axis=-1).sum() >= 2 * 40 * 60
    with pytest.raises(ValueError, match="one size"):
        panel_row([("one", picture), ("two", picture[1:])])
