"""A capture by three cameras (whole, upright and off the middle, smaller) in every later stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.edits import operations
from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.config.train import Densification, Losses, TrainConfig
from gradiseg_core.config.view import ViewConfig
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.files.trained import load_trained
from gradiseg_core.stages.edits.stage import edit_run
from gradiseg_core.stages.exports.stage import export_run
from gradiseg_core.stages.grounding.stage import ground
from gradiseg_core.stages.metrics.stage import evaluate
from gradiseg_core.stages.rendering.stage import render_views
from gradiseg_core.stages.report.comparing import compare
from gradiseg_core.stages.report.qualitative import plot_qualitative
from gradiseg_core.stages.tracking.stage import Association, associate
from gradiseg_core.stages.training.stage import Training, train
from gradiseg_core.stages.view.page import read_page
from gradiseg_core.stages.view.stage import write_view
from tests import trained_scene
from tests.trained_scene import Folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A finished training, rendered and grounded; its test views are whole and upright."""
    f = trained_scene.make(
        tmp_path_factory.mktemp("mixed") / "balls", width=96, height=72, mixed=True
    )
    render_views(
        f.scene, f.colmap, f.train, f.render, RenderConfig(rasterizer="reference"), threads=1
    )
    options = GroundingConfig(backend="manual", masks="argmax")
    ground(f.scene, f.colmap, f.tracking, f.train, f.render, f.grounding, options)
    return f


def test_the_scene_is_mixed(folders: Folders) -> None:
    cameras = load_cameras(folders.colmap)
    sizes = {(camera.width, camera.height) for camera in cameras.values()}
    assert sizes == {(96, 72), (67, 72), (72, 54)}


def test_scores_are_those_of_one_camera(folders: Folders) -> None:
    f = folders
    metrics = evaluate(
        f.scene, f.colmap, f.train, f.render, f.grounding, f.metrics, MetricsConfig(lpips=False)
    )
    for key in ("miou", "mbiou", "object_miou", "object_mbiou"):
        assert metrics["summary"][key] > 0.97, key
    assert metrics["summary"]["ssim"] > 0.999
    shapes = {path.stem: read_image(path).shape[:2] for path in (f.render / "color").glob("*.png")}
    assert shapes == {"view_000": (72, 96), "view_004": (72, 67)}


def test_training_and_its_views(folders: Folders, tmp_path: Path) -> None:
    config = TrainConfig(
        iterations=40, num_classes=8, losses=Losses(samples=100), longest_side=72,
        log_every=10, evaluations=2, densification=Densification(max_gaussians=900),
    )  # fmt: skip
    job = Training(
        folders.scene, folders.colmap, folders.tracking, config, "gradiseg", 0, 1, tmp_path / "work"
    )
    train(job, tmp_path / "out")
    log = [
        json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    ]
    assert log[-1]["loss"] < log[0]["loss"]
    assert load_trained(tmp_path / "out").metadata["longest_side"] == 72
    render_views(
        folders.scene, folders.colmap, tmp_path / "out", tmp_path / "render",
        RenderConfig(train_views=True), threads=1,
    )  # fmt: skip
    facts = json.loads((tmp_path / "render" / "render.json").read_text())["views"]
    sizes = {(view["width"], view["height"]) for view in facts}
    assert sizes == {(72, 54), (67, 72), (72, 54)}  # each view at most 72 px


def test_tracking_shows_every_view_whole(folders: Folders, tmp_path: Path) -> None:
    config = TrackingConfig(backend="precomputed", precomputed={"folder": folders.tracking / "ids"})
    summary = associate(
        Association(folders.scene, folders.colmap, None, config, max_ids=64, seed=0, threads=1),
        tmp_path,
    )
    assert summary["num_ids"] == 3
    for name, camera in load_cameras(folders.colmap).items():
        path = tmp_path / "ids" / f"{name[:-4]}.png"
        if path.is_file():
            assert read_id_map(path).shape == (camera.height, camera.width)
    assert Image.open(tmp_path / "contact_sheet.png").size[0] > 3 * 240


def test_pictures_of_reports(folders: Folders, tmp_path: Path) -> None:
    plot_qualitative(folders.scene, folders.colmap, [folders.render], tmp_path / "q.png")
    assert (tmp_path / "q.png").is_file()
    _, _, pictures = compare(folders.scene, folders.colmap, [folders.render])
    assert len(pictures) == 2


def test_the_page_knows_every_camera(folders: Folders) -> None:
    out = folders.train.parent / "view.html"
    write_view(folders.train.parent, folders.tracking, out, ViewConfig(), threads=1)
    scene, _ = read_page(out)
    cameras = load_cameras(folders.colmap)
    for photo in scene["cameras"]:
        camera = cameras[photo["name"]]
        assert (photo["width"], photo["height"]) == (camera.width, camera.height)
        assert photo["cx"] == pytest.approx(camera.K[0, 2])


def test_an_edit_with_a_fill_and_its_pictures(folders: Folders, tmp_path: Path) -> None:
    edit_run(
        run_dir=folders.train.parent, out_dir=tmp_path / "edit", threads=1, device="cpu",
        edit=operations([{"remove": "red ball", "fill": True}]),
    )  # fmt: skip
    sizes = {
        path.name: Image.open(path).size for path in (tmp_path / "edit" / "views").glob("*.png")
    }
    assert len(set(sizes.values())) == 2


def test_exported_cameras_have_their_own_sizes(folders: Folders, tmp_path: Path) -> None:
    export_run(
        folder=folders.train.parent, out_dir=tmp_path / "ns", name="ns",
        config=ExportConfig(format="nerfstudio"),
    )  # fmt: skip
    transforms = json.loads(next((tmp_path / "ns").rglob("transforms.json")).read_text())
    cameras = load_cameras(folders.colmap)
    for frame in transforms["frames"]:
        camera = cameras[Path(frame["file_path"]).name]
        assert (frame["w"], frame["h"]) == (camera.width, camera.height)
        assert np.allclose(
            [frame["fl_x"], frame["cx"], frame["cy"]],
            [camera.K[0, 0], camera.K[0, 2], camera.K[1, 2]],
        )
