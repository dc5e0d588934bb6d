"""The stage: scores of a scene whose right answer is known, from cached files alone."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.ignore import write_ignored
from gradiseg_core.files.images import read_image, write_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.masks import read_mask, write_mask
from gradiseg_core.stages.grounding.stage import ground
from gradiseg_core.stages.metrics import objects
from gradiseg_core.stages.metrics.photometric import psnr
from gradiseg_core.stages.metrics.stage import evaluate
from gradiseg_core.stages.rendering.stage import render_views
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
    # The photographs are renderings of these very Gaussians.
    assert summary["psnr"] is None
    assert "infinite" in metrics["not_available"]["psnr"]
    assert summary["ssim"] > 0.999
    assert metrics["partial"] == {}
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


def test_a_small_shift_costs_the_fine_boundary_most(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (folders.render / "ids").glob("*.png"):
        write_id_map(path, np.roll(read_id_map(path), 1, axis=1))
    # The default widths, 2 % and 0.5 % of the diagonal, are both 1 px on images this small.
    monkeypatch.setattr(objects, "FINE_BOUNDARY_RATIO", 0.01)
    summary = score(folders, boundary_ratio=0.05)["summary"]
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


def test_scene_without_annotations(folders: Folders, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    shutil.rmtree(folders.scene / "test_mask")
    shutil.rmtree(folders.scene / "gt_ids")
    (folders.grounding / "gt_match.json").write_text('{"available": false, "why": "no truth"}')
    metrics = score(folders)
    assert metrics["summary"]["miou"] is None
    said = [record.getMessage() for record in caplog.records if not hasattr(record, "not_shown")]
    scores, missing = [line.partition(": ")[2] for line in said if metrics["scene"] in line]
    assert scores == "SSIM 1.000"
    assert missing.startswith("not available: mIoU, mBIoU: ")
    assert "None" not in "".join(said)
    assert metrics["summary"]["object_miou"] is None
    assert metrics["objects"]["why"] == "no truth"
    assert metrics["not_available"]["object_miou"] == "no truth"
    assert "annotates" in metrics["not_available"]["miou"]
    assert metrics["summary"]["ssim"] > 0.999
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


def photograph(f: Folders, stem: str, picture: np.ndarray) -> None:
    write_image(f.colmap / "images" / f"{stem}.png", picture)


def test_a_black_photograph_has_no_score(folders: Folders) -> None:
    """A rendering of nothing equals it, and any dark one comes close: 50 dB mean nothing."""
    other = read_image(folders.render / "color" / "view_004.png").copy()
    other[0, 0] ^= 255
    photograph(folders, "view_004", other)
    alone = psnr(read_image(folders.render / "color" / "view_004.png") / 255.0, other / 255.0)
    black = np.zeros_like(other)
    black[0, 0] = 1  # what a float image in 0..1 leaves
    photograph(folders, "view_000", black)
    metrics = score(folders)
    assert metrics["summary"]["psnr"] == pytest.approx(alone, abs=1e-4)
    assert metrics["partial"]["psnr"].startswith("over 1 of 2 test views (not view_000:")
    assert "one colour" in metrics["partial"]["ssim"]
    photograph(folders, "view_004", np.full_like(other, 128))
    metrics = score(folders)
    assert metrics["summary"]["psnr"] is None
    assert "grey value 128" in metrics["not_available"]["psnr"]
    assert metrics["photometric"]["views"]["view_004"]["ssim"] is None
    rows = list(csv.DictReader((folders.metrics / "per_view.csv").open()))
    images = [row["value"] for row in rows if (row["kind"], row["metric"]) == ("image", "psnr")]
    assert len(images) == 2
    assert all(value.startswith("not available: ") for value in images)


def test_views_smaller_than_the_window_have_no_ssim(folders: Folders) -> None:
    for stem in ("view_000", "view_004"):
        path = folders.render / "color" / f"{stem}.png"
        small = read_image(path, (14, 10)).copy()
        write_image(path, small)
        small[0, 0] ^= 64
        photograph(folders, stem, small)
    metrics = score(folders)
    assert metrics["summary"]["psnr"] > 20
    assert metrics["summary"]["ssim"] is None
    assert "14 x 10 px, which is less than 11 px" in metrics["not_available"]["ssim"]


def test_pixels_that_are_no_numbers(folders: Folders) -> None:
    about = json.loads((folders.render / "render.json").read_text())
    for view in about["views"]:
        view["not_finite_px"] = 3
    (folders.render / "render.json").write_text(json.dumps(about))
    metrics = score(folders)
    assert metrics["summary"]["psnr"] is metrics["summary"]["ssim"] is None
    assert "3 pixels of the rendering are not finite" in metrics["not_available"]["ssim"]


def test_empty_annotations_are_no_success(folders: Folders) -> None:
    for path in [
        *folders.scene.glob("test_mask/*/*.png"),
        *folders.grounding.glob("masks/*/*.png"),
    ]:
        write_mask(path, np.zeros_like(read_mask(path)))
    metrics = score(folders)
    assert metrics["summary"]["miou"] is metrics["summary"]["mbiou"] is None
    assert "its annotations are empty" in metrics["not_available"]["miou"]
    assert metrics["masks"]["gg"]["miou"] is None
    assert "0 / 0" in metrics["masks"]["gg"]["why"]


def test_exact_ids_without_an_object(folders: Folders) -> None:
    for stem in ("view_000", "view_004"):
        path = folders.scene / "gt_ids" / f"{stem}.png"
        write_id_map(path, np.zeros_like(read_id_map(path)))
    metrics = score(folders)
    assert metrics["summary"]["object_miou"] is None
    assert "all are 0" in metrics["not_available"]["object_miou"]


def test_an_object_that_training_never_saw_is_left_out(folders: Folders) -> None:
    path = folders.grounding / "gt_match.json"
    match = json.loads(path.read_text())
    del match["objects"]["2"]
    path.write_text(json.dumps(match))
    metrics = score(folders)
    assert metrics["summary"]["object_miou"] > 0.97
    expected = "over 2 of 3 objects (not object 2: no training view shows it)"
    assert metrics["partial"]["object_miou"] == expected


def test_no_registered_test_view(folders: Folders) -> None:
    """Training views are rendered instead: scored apart, and never as if they were held out."""
    manifest = SceneManifest.load(folders.scene)
    about = json.loads((folders.render / "render.json").read_text())
    shown = [view.name for view in manifest.train_views[:2]]
    about["views"] = [{"name": name, "split": "train"} for name in shown]
    (folders.render / "render.json").write_text(json.dumps(about))
    for name in shown:
        photo = read_image(folders.colmap / "images" / name).copy()
        photo[0, 0] ^= 16
        write_image(folders.render / "color" / name, photo)
    shutil.rmtree(folders.grounding / "masks")
    metrics = score(folders)
    assert not any(metrics["summary"].values())
    assert set(metrics["not_available"]) == set(metrics["summary"])
    assert all(why.startswith("no test views: none") for why in metrics["not_available"].values())
    assert "view_004.png" in metrics["not_available"]["psnr"]
    assert metrics["masks"]["strict"]["miou"] is metrics["masks"]["gg"]["miou"] is None
    assert metrics["training_views"]["psnr"] > 40
    assert metrics["photometric"]["views"] == {}
    rows = list(csv.DictReader((folders.metrics / "per_view.csv").open()))
    assert {row["kind"] for row in rows if row["metric"] == "psnr"} == {"training image"}


def test_what_is_ignored_does_not_count(folders: Folders) -> None:
    """A hand before a view spoils its photograph and its labels, and costs nothing if ignored."""
    before = score(folders)
    stem = next(iter(before["photometric"]["views"]))
    view = next(v for v in SceneManifest.load(folders.scene).test_views if v.stem == stem)
    path = folders.colmap / "images" / view.name
    image = read_image(path).copy()
    rng = np.random.default_rng(0)
    noisy = np.clip(image + rng.normal(0, 9, image.shape), 0, 255).astype(np.uint8)
    write_image(path, noisy)
    clean = score(folders)
    hand = np.zeros(image.shape[:2], bool)
    hand[: image.shape[0] // 2, image.shape[1] // 3 :] = True
    write_image(path, np.where(hand[..., None], 0, noisy).astype(np.uint8))
    ids = folders.render / "ids" / f"{stem}.png"
    labels = read_id_map(ids)
    size = labels.shape[1], labels.shape[0]
    small = np.asarray(Image.fromarray(hand).resize(size, Image.Resampling.NEAREST))
    write_id_map(ids, np.where(small, 1, labels))
    spoilt = score(folders)
    assert spoilt["summary"]["psnr"] < clean["summary"]["psnr"] - 3
    assert spoilt["summary"]["object_miou"] < clean["summary"]["object_miou"] - 0.01
    write_ignored(folders.colmap, stem, hand)
    saved = score(folders)
    rendered = read_image(folders.render / "color" / f"{stem}.png")[~hand] / 255.0
    squares = (rendered - noisy[~hand] / 255.0) ** 2
    assert saved["summary"]["psnr"] == pytest.approx(-10 * np.log10(squares.mean()), abs=1e-4)
    for key, tolerance in (("ssim", 0.05), ("object_miou", 0.02)):
        assert saved["summary"][key] == pytest.approx(clean["summary"][key], abs=tolerance), key
    write_ignored(folders.colmap, stem, np.ones_like(hand))
    nothing = score(folders)["photometric"]["views"][stem]
    assert nothing["psnr"] is None
    assert nothing["not_available"]["psnr"] == "all of the view is ignored"
