"""The stage: `manual` and `colour_words` on a scene whose answer is known, and edited choices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.config import backends
from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.masks import read_mask, write_mask
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.stages.grounding.stage import (
    ground,
    load_classifier,
    predict_mask,
)
from gradiseg_core.stages.rendering.stage import render_views
from tests.stages.grounding.known import RIGHT
from tests.trained_scene import PROMPTS, TRACKED, Folders


def run(folders: Folders, out: Path, scene: Path | None = None, **options: object) -> dict:
    return ground(
        scene or folders.scene, folders.colmap, folders.tracking, folders.train, folders.render,
        out, stage_config(**options),
    )  # fmt: skip


def stage_config(**options: object) -> GroundingConfig:
    """Return a configuration; what is no key of the stage is an option of the backend."""
    backend = options.get("backend", "colour_words")
    common = {key: options.pop(key) for key in list(options) if key in GroundingConfig.model_fields}
    return GroundingConfig(**common, **{backend: options})


def ids_of(selection: dict) -> dict[str, list[int]]:
    return {prompt: entry["ids"] for prompt, entry in selection["prompts"].items()}


def test_colour_words_find_the_balls(folders: Folders, tmp_path: Path) -> None:
    # The balls are large in this small picture: more than the default prior of objects.
    assert ids_of(run(folders, tmp_path, max_area_share=0.4)) == RIGHT


def test_manual_takes_the_best_overlap_of_the_training_views(
    folders: Folders, tmp_path: Path
) -> None:
    for overlap in ("pooled", "best_view"):
        selection = run(folders, tmp_path, backend="manual", overlap=overlap)
        assert ids_of(selection) == RIGHT
        assert not any(entry["from_test_view"] for entry in selection["prompts"].values())


def test_masks_of_every_view_and_prompt(folders: Folders, tmp_path: Path) -> None:
    run(folders, tmp_path, backend="manual", masks="argmax")
    for k, stem in enumerate(("view_000", "view_004")):
        ids = read_id_map(folders.render / "ids" / f"{stem}.png")
        assert len(list((tmp_path / "masks" / str(k)).iterdir())) == 3
        for prompt, [number] in RIGHT.items():
            mask = read_mask(tmp_path / "masks" / str(k) / f"{prompt}.png")
            np.testing.assert_array_equal(mask, ids == number)


def test_edited_selection_is_used_again(folders: Folders, tmp_path: Path) -> None:
    run(folders, tmp_path / "first", backend="manual")
    content = json.loads((tmp_path / "first" / "selection.json").read_text())
    content["prompts"]["red ball"]["ids"] = RIGHT["blue ball"]
    del content["prompts"]["green ball"]
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(content))
    second = run(folders, tmp_path / "second", backend="manual", selection=edited)
    assert ids_of(second) == RIGHT | {"red ball": RIGHT["blue ball"]}
    assert "edited.json" in second["prompts"]["red ball"]["why"]
    masks = tmp_path / "second" / "masks" / "0"
    np.testing.assert_array_equal(
        read_mask(masks / "red ball.png"), read_mask(masks / "blue ball.png")
    )
    # The short form, an empty choice, and a file that does not exist yet.
    edited.write_text('{"red ball": []}')
    third = run(folders, tmp_path / "third", backend="manual", selection=edited)
    assert ids_of(third) == RIGHT | {"red ball": []}
    assert not read_mask(tmp_path / "third" / "masks" / "0" / "red ball.png").any()
    missing = run(folders, tmp_path / "4", backend="manual", selection=tmp_path / "none.json")
    assert ids_of(missing) == RIGHT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "object of prompts"),
        ('{"read ball": [1]}', "read ball"),
        ('{"red ball": [8]}', "0 to 7"),
        ('{"red ball": "3"}', "list of integers"),
        ('{"red ball": [true]}', "list of integers"),
    ],
)
def test_bad_selection_files(folders: Folders, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "selection.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        run(folders, tmp_path / "out", backend="manual", selection=path)


def without_training_truth(folders: Folders, target: Path) -> Path:
    shutil.copytree(folders.scene, target)
    for path in (target / "gt_ids").glob("*.png"):
        path.unlink()
    return target


def test_manual_without_annotated_training_views_says_that_it_saw_a_test_view(
    folders: Folders, tmp_path: Path
) -> None:
    scene = without_training_truth(folders, tmp_path / "scene")
    selection = run(folders, tmp_path / "out", scene, backend="manual")
    assert ids_of(selection) == RIGHT
    for entry in selection["prompts"].values():
        assert entry["from_test_view"]
        assert entry["view"] == "view_000"
    match = json.loads((tmp_path / "out" / "gt_match.json").read_text())
    assert match["available"] is False


def test_manual_without_any_annotation_selects_nothing(folders: Folders, tmp_path: Path) -> None:
    scene = without_training_truth(folders, tmp_path / "scene")
    shutil.rmtree(scene / "test_mask")
    selection = run(folders, tmp_path / "out", scene, backend="manual")
    assert ids_of(selection) == {prompt: [] for prompt in PROMPTS}
    assert "an annotation" in selection["prompts"]["red ball"]["why"]
    assert not read_mask(tmp_path / "out" / "masks" / "1" / "red ball.png").any()


def test_manual_passes_over_empty_annotations(folders: Folders, tmp_path: Path) -> None:
    scene = without_training_truth(folders, tmp_path / "scene")
    path = scene / "test_mask" / "0" / "red ball.png"
    write_mask(path, np.zeros_like(read_mask(path)))
    selection = run(folders, tmp_path / "out", scene, backend="manual")
    assert ids_of(selection) == RIGHT
    assert selection["prompts"]["red ball"]["view"] == "view_004"


def test_training_views_stand_in_for_test_views(folders: Folders, tmp_path: Path) -> None:
    """Prompts find their IDs; masks lie apart, where no score looks."""
    scene, render = tmp_path / "scene", tmp_path / "render"
    shutil.copytree(folders.scene, scene)
    manifest = json.loads((scene / "scene.json").read_text())
    for view in manifest["views"]:
        view |= {"split": "train", "test_index": None}
    (scene / "scene.json").write_text(json.dumps(manifest))
    config = RenderConfig(rasterizer="reference")
    render_views(scene, folders.colmap, folders.train, render, config, threads=1)
    out = tmp_path / "out"
    for options in (
        GroundingConfig(backend="manual"),
        GroundingConfig(backend="colour_words", colour_words={"max_area_share": 0.4}),
    ):
        selection = ground(
            scene, folders.colmap, folders.tracking, folders.train, render, out, options
        )
        assert ids_of(selection) == RIGHT
    assert not (out / "masks").exists()
    stems = [path.name for path in sorted((out / "training_view_masks").iterdir())]
    assert stems == ["view_000", "view_002", "view_005", "view_007"]
    assert read_mask(out / "training_view_masks" / "view_002" / "red ball.png").any()


def test_exact_objects_are_matched_with_tracked_ids(folders: Folders, tmp_path: Path) -> None:
    run(folders, tmp_path)
    match = json.loads((tmp_path / "gt_match.json").read_text())
    assert match["objects"] == {
        str(gt): {"id": int(TRACKED[gt]), "overlap": 1.0} for gt in (1, 2, 3)
    }


def test_masks_of_an_earlier_run_are_removed(folders: Folders, tmp_path: Path) -> None:
    stale = tmp_path / "masks" / "0" / "old prompt.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    run(folders, tmp_path)
    assert not stale.exists()


def test_mask_rules_by_hand() -> None:
    classifier = IdentityClassifier(3, 8)
    with torch.no_grad():
        classifier.weight.copy_(torch.eye(8)[:3])
        classifier.bias.zero_()
    # Logits (0, 0, 0) give 1/3 each; (ln 8, 0, 0) gives 0.8, 0.1, 0.1.
    features = np.zeros((1, 2, 8), np.float32)
    features[0, 1, 0] = np.log(8.0)
    ids = np.array([[0, 0]])

    def predict(selected: list[int], rule: str, threshold: float = 0.2) -> list[bool]:
        mask = predict_mask(ids, features, classifier, selected, rule=rule, threshold=threshold)
        return mask[0].tolist()

    assert predict([0], "probability") == [True, True]
    assert predict([1], "probability") == [True, False]
    assert predict([1, 2], "probability") == [True, False]  # any of them, not their sum
    assert predict([1], "probability", 0.4) == [False, False]
    assert predict([0], "argmax") == [True, True]
    assert predict([1], "argmax") == [False, False]
    assert predict([], "probability") == [False, False]


def test_unknown_backend() -> None:
    with pytest.raises(BackendUnavailableError, match="clicks, colour_words, groundingdino, m"):
        backends.load("grounding", "text")


def test_missing_inputs(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train stage"):
        load_classifier(tmp_path)
    with pytest.raises(InputError, match="render stage"):
        ground(
            folders.scene, folders.colmap, folders.tracking, folders.train, tmp_path,
            tmp_path / "out", GroundingConfig(),
        )  # fmt: skip
