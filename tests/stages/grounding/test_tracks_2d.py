"""The method in 2D: tracks of all views, text on the test photographs, scores, a table row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.metrics import MetricsConfig
from gradiseg_core.config.tables import TablesConfig
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.files.masks import read_mask
from gradiseg_core.stages.grounding.backends import groundingdino
from gradiseg_core.stages.grounding.tracks_2d import ground_tracks
from gradiseg_core.stages.metrics.stage import evaluate_tracks
from gradiseg_core.stages.tables.stage import build
from gradiseg_core.stages.tracking.stage import Association, associate
from tests import tiny_grounding_dino, tiny_sam, trained_scene
from tests.stages.grounding.known import KnownBoxes, Rectangles, around, config
from tests.trained_scene import PROMPTS, TRACKED, Folders

TEST_VIEWS = ("view_000", "view_004")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return trained_scene.make(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def tracks(folders: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Maps of all views as stage `tracking` writes them, through a tracker that knows the truth."""
    given = tmp_path_factory.mktemp("given")
    for path in (folders.scene / "gt_ids").glob("*.png"):
        write_id_map(given / path.name, TRACKED[read_id_map(path)])
    out = tmp_path_factory.mktemp("tracks") / "tracking"
    options = TrackingConfig(backend="precomputed", precomputed={"folder": given, "keep_ids": True})
    associate(
        Association(
            folders.scene,
            folders.colmap,
            None,
            options,
            max_ids=256,
            seed=0,
            threads=1,
            split="all",
        ),
        out,
    )
    return out


def run(folders: Folders, tracks: Path, out: Path, options: GroundingConfig) -> dict:
    return ground_tracks(folders.scene, folders.colmap, tracks, out, options)


def test_tracking_sees_the_test_views_only_where_it_is_told_to(
    folders: Folders, tracks: Path, tmp_path: Path
) -> None:
    tracked = {path.stem for path in (tracks / "ids").glob("*.png")}
    assert tracked == {path.stem for path in (folders.scene / "gt_ids").glob("*.png")}
    options = TrackingConfig(
        backend="precomputed", precomputed={"folder": folders.scene / "gt_ids"}
    )
    associate(
        Association(folders.scene, folders.colmap, None, options, max_ids=256, seed=0, threads=1),
        tmp_path,
    )
    trained = {path.stem for path in (tmp_path / "ids").glob("*.png")}
    assert trained == tracked - set(TEST_VIEWS)


def test_predicted_masks_are_the_pixels_of_the_selected_ids(
    folders: Folders, tracks: Path, tmp_path: Path
) -> None:
    selection = run(
        folders, tracks, tmp_path, GroundingConfig(colour_words={"max_area_share": 0.4})
    )
    assert selection["masks"] == "tracked"
    for k, stem in enumerate(TEST_VIEWS):
        truth = read_id_map(folders.scene / "gt_ids" / f"{stem}.png")
        for prompt, gt_id in PROMPTS.items():
            assert selection["prompts"][prompt]["ids"] == [TRACKED[gt_id]]
            mask = read_mask(tmp_path / "masks" / str(k) / f"{prompt}.png")
            np.testing.assert_array_equal(mask, truth == gt_id)
    assert json.loads((tmp_path / "gt_match.json").read_text())["available"] is True
    assert len(list((tmp_path / "pictures").iterdir())) == len(PROMPTS)


def test_text_is_searched_in_the_photograph_of_the_first_test_view(
    folders: Folders, tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = read_id_map(tracks / "ids" / "view_000.png")
    wanted = {prompt: around(ids, int(TRACKED[gt_id])) for prompt, gt_id in PROMPTS.items()}
    known = KnownBoxes({prompt: [[(0.8, box)]] for prompt, box in wanted.items()})
    monkeypatch.setattr(groundingdino, "load_models", lambda *_: (known, Rectangles()))
    selection = run(folders, tracks, tmp_path, config())
    photograph = read_image(folders.colmap / "images" / "view_000.png")
    assert len(known.asked) == len(PROMPTS)
    for image, _, _ in known.asked:
        np.testing.assert_array_equal(image, photograph)
    for prompt, gt_id in PROMPTS.items():
        assert TRACKED[gt_id] in selection["prompts"][prompt]["ids"]
        assert selection["prompts"][prompt]["image"] == "photograph"


def test_with_the_tiny_models(
    folders: Folders, tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import segment_anything

    registry = segment_anything.sam_model_registry
    monkeypatch.setitem(registry, "vit_b", lambda checkpoint=None: tiny_sam.build(seed=9))
    weights = {
        "groundingdino_swint": tiny_grounding_dino.save(tmp_path / "dino"),
        "sam_vit_b": tiny_sam.save(tmp_path / "sam.pth"),
    }
    out = tmp_path / "out"
    selection = ground_tracks(
        folders.scene, folders.colmap, tracks, out, config(box_threshold=0.05), weights
    )
    [record] = selection["prompts"]["red ball"]["views"]
    assert record["view"] == "view_000"
    assert record["boxes_found"] > 0
    metrics = evaluate_tracks(
        folders.scene, folders.colmap, tracks, out, tmp_path / "metrics", MetricsConfig()
    )
    assert metrics["grounding"] == "groundingdino"


def test_a_choice_by_hand_for_the_trained_scene_is_not_used(
    folders: Folders, tracks: Path, tmp_path: Path
) -> None:
    chosen = tmp_path / "chosen.json"
    chosen.write_text('{"red ball": [7]}')
    options = GroundingConfig(backend="manual", manual={"selection": chosen})
    selection = run(folders, tracks, tmp_path / "out", options)
    assert selection["prompts"]["red ball"]["ids"] == [TRACKED[1]]


def test_scores_and_the_row_of_the_table(folders: Folders, tracks: Path, tmp_path: Path) -> None:
    run(
        folders,
        tracks,
        tmp_path / "grounding",
        GroundingConfig(colour_words={"max_area_share": 0.4}),
    )

    def score(tracks: Path) -> dict:
        arguments = (folders.scene, folders.colmap, tracks, tmp_path / "grounding")
        return evaluate_tracks(*arguments, tmp_path / "metrics", MetricsConfig())

    metrics = score(tracks)
    assert metrics["variant"] == "precomputed_2d"
    for key in ("miou", "mbiou", "object_miou", "object_mbiou"):
        assert metrics["summary"][key] == 1.0
    for key in ("psnr", "ssim", "lpips"):
        assert metrics["summary"][key] is None
    assert metrics["coverage"]["masks_scored"] == 6
    assert json.loads((tmp_path / "metrics" / "metrics.json").read_text()) == metrics
    [table] = build([tmp_path / "metrics" / "metrics.json"], tmp_path / "t", TablesConfig())
    assert [row.label for row in table.rows] == ["precomputed IDs (2D tracks, no Gaussians)"]
    assert "a method in 2D renders no images" in table.caption
    # A view that was not tracked is a missing prediction.
    part = tmp_path / "part"
    shutil.copytree(tracks, part)
    (part / "ids" / "view_004.png").unlink()
    shutil.rmtree(tmp_path / "grounding" / "masks" / "1")
    metrics = score(part)
    assert metrics["masks"]["strict"]["miou"] == 0.5
    assert metrics["masks"]["gg"]["miou"] == 1.0


def test_black_maps_of_the_test_views_are_refused(
    folders: Folders, tracks: Path, tmp_path: Path
) -> None:
    black = tmp_path / "tracking"
    shutil.copytree(tracks, black)
    for stem in TEST_VIEWS:
        path = black / "ids" / f"{stem}.png"
        write_id_map(path, np.zeros_like(read_id_map(path)))
    with pytest.raises(InputError, match=r"no IDs in any test view.*tracking_2d\.backend"):
        run(folders, black, tmp_path / "out", GroundingConfig())
    for stem in TEST_VIEWS:
        (black / "ids" / f"{stem}.png").unlink()
    with pytest.raises(InputError, match="no IDs in any test view"):
        run(folders, black, tmp_path / "out", GroundingConfig())


def test_no_registered_test_view(folders: Folders, tracks: Path, tmp_path: Path) -> None:
    colmap, tracking = tmp_path / "colmap", tmp_path / "tracking"
    shutil.copytree(folders.colmap, colmap)
    shutil.copytree(tracks, tracking)
    for stem in TEST_VIEWS:
        (colmap / "images" / f"{stem}.png").unlink()
        (tracking / "ids" / f"{stem}.png").unlink()
    out = tmp_path / "out"
    selection = ground_tracks(folders.scene, colmap, tracking, out, GroundingConfig())
    assert all(entry["ids"] == [] for entry in selection["prompts"].values())
    metrics = evaluate_tracks(
        folders.scene, colmap, tracking, out, tmp_path / "metrics", MetricsConfig()
    )
    assert metrics["summary"]["miou"] is None
    assert metrics["not_available"]["miou"].startswith("no test views")


def test_configuration_of_its_tracker(tmp_path: Path) -> None:
    from gradiseg_core.config.root import load

    scene = {"source": "lerf_mask", "path": "lerf"}
    for part in ("images", "images_train", "object_mask"):
        (tmp_path / "lerf" / part).mkdir(parents=True)
    raw = {
        "scenes": {"a": scene | {"tracking": {"sfm": {"min_views": 3}}}},
        "tracking": {"backend": "precomputed"},
    }
    settings = load(raw, tmp_path)  # the tracker of a method that does not run is not checked
    with pytest.raises(
        ConfigError, match=r"a\.tracking_2d\.precomputed\.folder: .*\s*object_mask/ is black"
    ):
        load(raw | {"baseline_2d": True}, tmp_path)
    settings = load(raw | {"baseline_2d": True, "tracking_2d": {"backend": "sfm"}}, tmp_path)
    assert settings.resolve("a", "tracking")["backend"] == "precomputed"
    above = settings.resolve("a", "tracking_2d")
    assert above["backend"] == "sfm"
    assert above["options"]["min_views"] == 3
