"""What the stage writes into the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.config.view import ViewConfig
from gradiseg_core.editing.scene import load
from gradiseg_core.errors import InputError
from gradiseg_core.files.images import write_image
from gradiseg_core.stages.view import stage
from gradiseg_core.stages.view.budget import contributions, kept
from gradiseg_core.stages.view.orientation import held_up, middle
from gradiseg_core.stages.view.page import read_page
from gradiseg_core.stages.view.photos import longest_side
from gradiseg_core.stages.view.splats import decode
from gradiseg_core.stages.view.stage import write_view
from tests import trained_scene


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> trained_scene.Folders:
    made = trained_scene.make(tmp_path_factory.mktemp("results") / "balls")
    made.grounding.mkdir()
    prompts = {"red ball": {"ids": [3]}, "green ball": {"ids": [1]}}
    for index in (1, 3, 5):
        write_image(
            made.tracking / "objects" / f"{index}.png", np.full((128, 90, 3), 9 * index, np.uint8)
        )
    (made.grounding / "selection.json").write_text(json.dumps({"prompts": prompts}))
    return made


@pytest.fixture(scope="module")
def written(folders: trained_scene.Folders) -> Path:
    out = folders.train.parent / "view.html"
    write_view(folders.train.parent, folders.tracking, out, ViewConfig(), threads=1)
    return out


def test_objects_have_names_colours_pictures_and_photographs(written: Path) -> None:
    scene, packed = read_page(written)
    objects = {row["id"]: row for row in scene["objects"]}
    assert set(objects) == {1, 3, 5}
    assert objects[3]["name"] == "red ball"
    assert objects[5]["name"] is None
    splats = decode(packed, scene["splats"])
    for place, row in enumerate(scene["objects"], start=1):
        assert row["count"] == row["shown"] == (splats.objects == place).sum() == 150
        assert row["confidence"] > 0.99
        assert 0.4 < max(row["size"]) < 0.8  # balls of radius 0.3
        assert len(row["views"]) == 6  # all training views
        assert row["picture"].startswith("data:image/jpeg;base64,")
        assert row["colour"].startswith("#")
    assert (splats.objects == 0).sum() == 300
    assert scene["notes"] == []


def test_cameras_are_those_of_the_reconstruction(
    written: Path, folders: trained_scene.Folders
) -> None:
    scene, _ = read_page(written)
    cameras = load(folders.train.parent, device="cpu").cameras
    assert [row["name"] for row in scene["cameras"]] == list(cameras)
    assert [row["split"] for row in scene["cameras"]].count("test") == 2
    for row in scene["cameras"]:
        camera = cameras[row["name"]]
        assert row["rotation"] == pytest.approx(camera.cam_from_world[:3, :3], abs=1e-8)
        assert row["center"] == pytest.approx(camera.center_in_world, abs=1e-6)
        assert (row["fx"], row["cy"]) == pytest.approx((camera.K[0, 0], camera.K[1, 2]))


def test_up_is_the_normal_of_what_things_stand_on(written: Path) -> None:
    scene, _ = read_page(written)
    assert scene["up"] == pytest.approx([0, 0, 1], abs=0.02)
    assert np.linalg.norm(scene["pivot"]) < 0.5


def test_up_without_a_ground_is_that_of_the_cameras(folders: trained_scene.Folders) -> None:
    cameras = list(load(folders.train.parent, device="cpu").cameras.values())
    assert held_up(cameras) == pytest.approx([0, 0, 1], abs=0.01)


def test_parallel_cameras_look_at_the_points(folders: trained_scene.Folders) -> None:
    camera = next(iter(load(folders.train.parent, device="cpu").cameras.values()))
    assert middle(np.full((5, 3), 2.0), [camera, camera]) == pytest.approx([2, 2, 2])


def test_a_budget_keeps_what_contributes_most_and_says_so(
    folders: trained_scene.Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = load(folders.train.parent, device="cpu")
    cameras = list(scene.cameras.values())
    weight = contributions(scene.trained, cameras)
    index = kept(scene.trained, cameras, 400)
    assert len(index) == 400
    assert weight[index].min() >= np.delete(weight, index).max()
    monkeypatch.setattr(stage, "kept", lambda *_: index)
    config = ViewConfig.model_construct(max_gaussians=400)
    write_view(folders.train.parent, folders.tracking, tmp_path / "v.html", config, threads=1)
    contents, _ = read_page(tmp_path / "v.html")
    assert contents["notes"][0].startswith("400 of 750 Gaussians are shown")
    assert contents["splats"]["count"] == 400


def test_contributions_are_the_blending_weights(folders: trained_scene.Folders) -> None:
    """Their sum is the opacity of all pixels."""
    scene = load(folders.train.parent, device="cpu")
    cameras = list(scene.cameras.values())[:2]
    alphas = sum(scene.render(camera).alpha.sum() for camera in cameras)
    assert contributions(scene.trained, cameras).sum() == pytest.approx(alphas, rel=1e-4)


def test_what_cannot_be_drawn_is_left_out(folders: trained_scene.Folders) -> None:
    trained = load(folders.train.parent, device="cpu").trained
    trained.opacities[3] = -20.0
    trained.means[4, 1] = torch.nan
    assert set(range(750)) - set(kept(trained, [], 1000)) == {3, 4}


def test_a_run_without_cameras_is_named(folders: trained_scene.Folders, tmp_path: Path) -> None:
    lone = tmp_path / "run"
    shutil.copytree(folders.train, lone / "train")
    with pytest.raises(InputError, match="colmap"):
        write_view(lone, folders.tracking, tmp_path / "v.html", ViewConfig(), threads=1)


def test_without_tracking_objects_have_no_pictures(
    folders: trained_scene.Folders, tmp_path: Path
) -> None:
    out = tmp_path / "v.html"
    write_view(folders.train.parent, tmp_path / "nothing", out, ViewConfig(), threads=1)
    scene, _ = read_page(out)
    assert all(row["picture"] is None and row["views"] == {} for row in scene["objects"])


def test_many_photographs_are_small() -> None:
    assert longest_side([(1600, 1200)] * 20, 3_000_000) == 640
    assert longest_side([(1600, 1200)] * 200, 3_000_000) < 400
    assert longest_side([(320, 240)], 3_000_000) == 320
