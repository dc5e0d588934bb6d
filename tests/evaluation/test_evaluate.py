"""The stage: scores of a scene whose right answer is known, from cached files alone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.errors import InputError
from gradiseg_core.evaluation import evaluate
from gradiseg_core.grounding import ground
from gradiseg_core.imaging import read_id_map, read_mask, write_id_map, write_mask
from gradiseg_core.rendering import render_views
from tests import trained_scene
from tests.trained_scene import PROMPTS, Folders


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    f = trained_scene.make(root)
    render_views(
        f.scene, f.colmap, f.train, f.render, RenderConfig(rasterizer="reference"), threads=1
    )
    options = GroundingConfig(backend="manual", masks="argmax")
    ground(f.scene, f.colmap, f.tracking, f.train, f.render, f.grounding, options)
    shutil.rmtree(f.train)  # metrics must not need the model
    return root


@pytest.fixture
def folders(original: Path, tmp_path: Path) -> Folders:
    root = tmp_path / "copy"
    shutil.copytree(original, root)
    run = root / "baseline" / "seed0"
    return Folders(
        root / "scene", root / "colmap", root / "tracking", run / "train", run / "render",
        run / "grounding", run / "metrics",
    )  # fmt: skip


def score(f: Folders, **options: object) -> dict:
    return evaluate(
        f.scene, f.colmap, f.train, f.render, f.grounding, f.metrics, MetricsConfig(**options)
    )


def test_a_perfect_training_scores_almost_one(folders: Folders) -> None:
    metrics = score(folders)
    summary = metrics["summary"]
    for key in ("miou", "mbiou", "object_miou", "object_mbiou"):
        assert summary[key] > 0.97, key
    assert summary["psnr"] > 50
    assert summary["ssim"] > 0.999
    assert metrics["masks"]["gg"]["miou"] == metrics["masks"]["strict"]["miou"]
    assert metrics["argmax_masks"]["strict"] == metrics["masks"]["strict"]
    assert metrics["coverage"]["masks_annotated"] == metrics["coverage"]["masks_scored"] == 6
    assert metrics["photometric"]["lpips_about"]["available"] or summary["lpips"] is None
    assert json.loads((folders.metrics / "metrics.json").read_text()) == metrics


def test_missing_prediction_in_both_modes(folders: Folders) -> None:
    full = score(folders)["masks"]
    (folders.grounding / "masks" / "0" / "red ball.png").unlink()
    (folders.grounding / "masks" / "1" / "red ball.png").unlink()
    metrics = score(folders, aggregation="gg")
    assert "red ball" not in metrics["masks"]["gg"]["prompts"]
    assert metrics["masks"]["strict"]["prompts"]["red ball"]["iou"] == 0.0
    others = [full["gg"]["prompts"][prompt]["iou"] for prompt in ("green ball", "blue ball")]
    assert metrics["summary"]["miou"] == pytest.approx(np.mean(others))
    assert metrics["masks"]["strict"]["miou"] == pytest.approx(sum(others) / 3)
    assert metrics["coverage"]["masks_missing"] == ["0/red ball", "1/red ball"]
    rows = list(csv.DictReader((folders.metrics / "per_view.csv").open()))
    missing = [row for row in rows if row["kind"] == "masks" and row["value"] == "missing"]
    assert len(missing) == 4  # two views, IoU and boundary IoU


def test_unregistered_view_counts_in_strict(folders: Folders) -> None:
    """A view that structure from motion lost has neither rendering nor masks."""
    about = json.loads((folders.render / "render.json").read_text())
    about["views"] = [view for view in about["views"] if view["name"] != "view_004.png"]
    (folders.render / "render.json").write_text(json.dumps(about))
    shutil.rmtree(folders.grounding / "masks" / "1")
    metrics = score(folders)
    assert metrics["masks"]["gg"]["miou"] > 0.97
    assert metrics["masks"]["strict"]["miou"] == pytest.approx(metrics["masks"]["gg"]["miou"] / 2)
    assert metrics["coverage"]["test_views_rendered"] == 1
    assert metrics["argmax_masks"]["strict"]["miou"] == metrics["masks"]["strict"]["miou"]


def test_prediction_is_resized_to_the_annotation(folders: Folders) -> None:
    for path in sorted(folders.scene.glob("test_mask/*/*.png")):
        mask = read_mask(path)
        write_mask(path, np.repeat(np.repeat(mask, 2, axis=0), 2, axis=1))
    metrics = score(folders)
    assert metrics["masks"]["strict"]["miou"] > 0.97


def test_a_small_shift_costs_the_fine_boundary_most(folders: Folders) -> None:
    for path in (folders.render / "ids").glob("*.png"):
        write_id_map(path, np.roll(read_id_map(path), 1, axis=1))
    # The default widths, 2 % and 0.5 % of the diagonal, are both 1 px on images this small.
    summary = score(folders, boundary_ratio=0.05, fine_boundary_ratio=0.01)["summary"]
    assert summary["object_fine_mbiou"] < summary["object_mbiou"] - 0.02
    assert summary["object_mbiou"] < summary["object_miou"]


def test_wrong_labels_cost_what_they_cover(folders: Folders) -> None:
    path = folders.render / "ids" / "view_000.png"
    ids = read_id_map(path)
    truth = read_id_map(folders.scene / "gt_ids" / "view_000.png")
    rows = np.arange(ids.shape[0])[:, None] < np.median(np.nonzero(truth == 1)[0])
    write_id_map(path, np.where((truth == 1) & rows, 0, ids))
    metrics = score(folders)
    entry = metrics["objects"]["objects"]["1"]
    first = next(view for view in entry["views"] if view["view"] == "view_000")
    kept = np.count_nonzero((truth == 1) & ~rows) / np.count_nonzero(truth == 1)
    assert first["iou"] == pytest.approx(kept, abs=0.03)
    assert metrics["objects"]["objects"]["2"]["iou"] > 0.97
    # The grounded masks are files of their own and did not change.
    assert metrics["masks"]["strict"]["miou"] > 0.97
    assert metrics["argmax_masks"]["strict"]["prompts"]["red ball"]["iou"] < 0.9


def test_object_without_a_tracked_id_scores_zero(folders: Folders) -> None:
    path = folders.grounding / "gt_match.json"
    match = json.loads(path.read_text())
    match["objects"]["2"] = {"id": None, "overlap": 0.0}
    path.write_text(json.dumps(match))
    metrics = score(folders)
    assert metrics["objects"]["objects"]["2"]["iou"] == 0.0
    assert 0.6 < metrics["summary"]["object_miou"] < 0.7


def test_scene_without_annotations(folders: Folders) -> None:
    shutil.rmtree(folders.scene / "test_mask")
    shutil.rmtree(folders.scene / "gt_ids")
    (folders.grounding / "gt_match.json").write_text('{"available": false, "why": "no truth"}')
    metrics = score(folders)
    assert metrics["summary"]["miou"] is None
    assert metrics["summary"]["object_miou"] is None
    assert metrics["objects"]["why"] == "no truth"
    assert metrics["summary"]["psnr"] > 50
    assert metrics["coverage"]["prompts_without_annotation"] == list(PROMPTS)


def test_prompt_with_a_dot(folders: Folders) -> None:
    """Gaussian Grouping cuts at the dot when it names, not when it looks for the file."""
    for folder in (folders.scene / "test_mask", folders.grounding / "masks"):
        for k in "01":
            (folder / k / "red ball.png").rename(folder / k / "st. red.png")
            (folder / k / "blue ball.png").rename(folder / k / "st. blue.png")
    metrics = score(folders)["masks"]
    assert sorted(metrics["gg"]["prompts"]) == ["green ball", "st"]
    assert metrics["gg"]["prompts"]["st"]["views"] == 4
    assert sorted(metrics["strict"]["prompts"]) == ["green ball", "st. blue", "st. red"]


def test_missing_stage_is_named(folders: Folders) -> None:
    (folders.grounding / "selection.json").unlink()
    with pytest.raises(InputError, match="grounding stage"):
        score(folders)
