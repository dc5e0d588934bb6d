"""Text to IDs: the rules with boxes that are known, and the whole stage with tiny models.

The tiny models have random weights: what they find means nothing, but everything between the
checkpoint folders and the files of the stage is what the published models go through.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.masks import read_mask
from gradiseg_core.stages.grounding import box_masks, dino
from gradiseg_core.stages.grounding.backends import groundingdino
from gradiseg_core.stages.grounding.dino import (
    TEXT_THRESHOLD,
    Detections,
    GroundingDino,
    normalised_prompt,
)
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.pictures import prompt_picture
from gradiseg_core.stages.grounding.selection import Choice, Evidence, select_ids, vote_ids
from gradiseg_core.stages.grounding.stage import ground
from tests import tiny_grounding_dino, tiny_sam, trained_scene
from tests.stages.grounding.known import RIGHT, SMALL, KnownBoxes, Rectangles, around, config
from tests.trained_scene import PROMPTS, Folders


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {
        "groundingdino_swint": tiny_grounding_dino.save(folder / "dino"),
        "sam_vit_b": tiny_sam.save(folder / "sam.pth"),
    }


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name vit_b stand for the tiny architecture."""
    import segment_anything

    registry = segment_anything.sam_model_registry
    monkeypatch.setitem(registry, "vit_b", lambda checkpoint=None: tiny_sam.build(seed=9))


def inputs_of(folders: Folders, config: GroundingConfig) -> Request:
    manifest = SceneManifest.load(folders.scene)
    return Request(
        manifest, folders.scene, folders.colmap, folders.tracking, folders.render,
        manifest.test_views, trained_scene.NUM_CLASSES, config.options,
    )  # fmt: skip


def boxes_of(folders: Folders, view: str) -> dict[str, list[float]]:
    ids = read_id_map(folders.render / "ids" / f"{view}.png")
    return {prompt: around(ids, number) for prompt, [number] in RIGHT.items()}


def test_ids_inside_the_text_mask_of_the_first_rendered_view(folders: Folders) -> None:
    first = boxes_of(folders, "view_000")
    known = KnownBoxes({prompt: [[(0.8, box)]] for prompt, box in first.items()})
    choices = groundingdino.ground_with(inputs_of(folders, config()), known, Rectangles())
    assert {prompt: choice.ids for prompt, choice in choices.items()} == RIGHT
    assert "1 box in view_000 to more than 70 %" in choices["red ball"].why
    for image, _, options in known.asked:
        np.testing.assert_array_equal(image, read_image(folders.render / "color" / "view_000.png"))
        assert (options.box_threshold, TEXT_THRESHOLD) == (0.3, 0.45)
    [record] = choices["red ball"].details["views"]
    assert record["overlaps"][0] == {
        "id": RIGHT["red ball"][0],
        "share": 1.0,
        "area_px": int(
            (read_id_map(folders.render / "ids" / "view_000.png") == RIGHT["red ball"][0]).sum()
        ),
    }
    assert record["boxes"][0]["score"] == 0.8


def test_the_union_of_all_boxes_or_the_best_alone(folders: Folders) -> None:
    first = boxes_of(folders, "view_000")
    both = [(0.9, first["red ball"]), (0.4, first["blue ball"])]
    wanted = sorted(RIGHT["red ball"] + RIGHT["blue ball"])
    for option, expected in (("all", wanted), ("top1", RIGHT["red ball"])):
        known = KnownBoxes({prompt: [both] for prompt in PROMPTS})
        inputs = inputs_of(folders, config(boxes=option))
        choice = groundingdino.ground_with(inputs, known, Rectangles())["red ball"]
        assert choice.ids == expected
        used = [box["used"] for box in choice.details["views"][0]["boxes"]]
        assert used == [True, option == "all"]


def test_no_box_is_an_empty_choice_with_its_reason(folders: Folders) -> None:
    known = KnownBoxes({prompt: [[]] for prompt in PROMPTS})
    choice = groundingdino.ground_with(inputs_of(folders, config()), known, Rectangles())[
        "red ball"
    ]
    assert choice.ids == []
    assert choice.why == ("Grounding DINO found no box above 0.3 in view_000 (best score 0.11)")


def test_no_id_inside_says_which_came_closest(folders: Folders) -> None:
    x0, y0, x1, y1 = boxes_of(folders, "view_000")["red ball"]
    half = [[(0.5, [x0, y0, (x0 + x1) // 2, y1])]]
    known = KnownBoxes(dict.fromkeys(PROMPTS, half))
    choice = groundingdino.ground_with(inputs_of(folders, config()), known, Rectangles())[
        "red ball"
    ]
    assert choice.ids == []
    assert f"the closest is {RIGHT['red ball'][0]} with" in choice.why


def test_photographs_instead_of_renderings(folders: Folders) -> None:
    known = KnownBoxes({prompt: [[]] for prompt in PROMPTS})
    groundingdino.ground_with(inputs_of(folders, config(image="photograph")), known, Rectangles())
    photograph = read_image(folders.colmap / "images" / "view_000.png")
    np.testing.assert_array_equal(known.asked[0][0], photograph)


def test_views_vote_and_those_without_a_box_abstain(folders: Folders) -> None:
    first, second = (boxes_of(folders, view) for view in ("view_000", "view_004"))
    found = {
        # Right twice; once right and once empty; once right and once wrong.
        "red ball": [[(0.9, first["red ball"])], [(0.9, second["red ball"])]],
        "green ball": [[(0.9, first["green ball"])], []],
        "blue ball": [[(0.9, first["blue ball"])], [(0.9, second["red ball"])]],
    }
    for views in (2, (0, 1), (1, 0, 1)):
        listed = found if views != (1, 0, 1) else {p: b[::-1] for p, b in found.items()}
        known = KnownBoxes(listed)
        choices = groundingdino.ground_with(
            inputs_of(folders, config(views=views)), known, Rectangles()
        )
        assert len(known.asked) == 6
        assert choices["red ball"].ids == RIGHT["red ball"]
        assert choices["green ball"].ids == RIGHT["green ball"]
        assert choices["blue ball"].ids == []
        assert "enough of 2 of 2 views" in choices["blue ball"].why
        assert "vote of 1 of 2 views" in choices["green ball"].why
    with pytest.raises(InputError, match=r"test views \[7\].*has \[0, 1\]"):
        groundingdino.searched_views(inputs_of(folders, config(views=(0, 7))))


def test_votes_by_hand() -> None:
    ballots = [([0, 1, 2], [1]), ([0, 1, 3], [1, 3]), ([0, 1, 2], [2])]
    assert vote_ids(ballots) == [1, 3]  # 1: two of three; 2: one of two; 3: one of one
    assert vote_ids(ballots, 0.4) == [1, 2, 3]
    assert vote_ids(ballots[:1]) == [1]
    assert vote_ids([]) == []


def test_prompts_as_the_model_was_trained_on_them() -> None:
    assert normalised_prompt("Green Apple") == "green apple."
    assert normalised_prompt(" old camera. ") == "old camera."
    for empty in ("", " . "):
        with pytest.raises(InputError, match="is empty"):
            normalised_prompt(empty)


def test_configuration_names_its_checkpoints(tmp_path: Path) -> None:
    assert GroundingConfig().weights() == {}
    names = GroundingConfig(backend="groundingdino").weights()
    assert list(names.items()) == [("groundingdino_swinb", None), ("sam_vit_h", None)]
    own = config(checkpoint=tmp_path / "dino").weights()
    assert own == {"groundingdino_swint": tmp_path / "dino", "sam_vit_b": None}
    with pytest.raises(ValueError, match="longer_side"):
        config(longer_side=60)
    for wrong in (0, [], [-1]):
        with pytest.raises(ValueError, match="views"):
            config(views=wrong)


def detect(
    model: GroundingDino, image: np.ndarray, prompt: str, box_threshold: float = 0.0
) -> Detections:
    options = config().options
    # Past the configuration's checks: the scores of random weights may round to 1.
    return model.detect(image, prompt, options.model_copy(update={"box_threshold": box_threshold}))


@pytest.fixture(scope="module")
def model(weights: dict[str, Path]) -> GroundingDino:
    return GroundingDino(weights["groundingdino_swint"], torch.device("cpu"))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def test_boxes_agree_with_transformers_own_reading(
    model: GroundingDino, weights: dict[str, Path], image: np.ndarray
) -> None:
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    folder = weights["groundingdino_swint"]
    processor = GroundingDinoProcessor.from_pretrained(folder)
    theirs = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    size = {"shortest_edge": 64, "longest_edge": 96}
    batch = processor(images=image, text="red ball.", return_tensors="pt", size=size)
    with torch.no_grad():
        outputs = theirs(**batch)
    everything = detect(model, image, "Red ball")
    threshold = float(np.median(everything.scores))
    [expected] = processor.post_process_grounded_object_detection(
        outputs,
        batch["input_ids"],
        threshold=threshold,
        text_threshold=TEXT_THRESHOLD,
        target_sizes=[(48, 64)],
    )
    found = detect(model, image, "Red ball", box_threshold=threshold)
    assert 0 < len(found.scores) < len(everything.scores)
    order = expected["scores"].argsort(descending=True, stable=True)
    np.testing.assert_allclose(found.scores, expected["scores"][order], atol=1e-6)
    np.testing.assert_allclose(found.boxes, expected["boxes"][order], atol=1e-3)
    # Their phrases keep the stop and the token that ends the text.
    phrases = [expected["text_labels"][index] for index in order]
    cleaned = [text.replace("[CLS]", "").replace("[SEP]", "").replace(".", "") for text in phrases]
    assert found.phrases == [text.strip() for text in cleaned]
    assert found.best_score == pytest.approx(float(everything.scores[0]))
    nothing = detect(model, image, "Red ball", box_threshold=1.0)
    assert nothing.boxes.shape == (0, 4)
    assert nothing.best_score == found.best_score


def test_half_precision_gives_nearly_the_same_boxes(
    model: GroundingDino, weights: dict[str, Path], image: np.ndarray
) -> None:
    half = GroundingDino(weights["groundingdino_swint"], torch.device("cpu"), half=True)
    assert next(half.model.parameters()).dtype == torch.float16
    whole, halved = (detect(m, image, "green toy chair") for m in (model, half))
    np.testing.assert_allclose(halved.scores, whole.scores, atol=0.02)


def test_a_prompt_longer_than_the_text_model_reads(model: GroundingDino, image: np.ndarray) -> None:
    assert model.max_tokens == 24
    with pytest.raises(InputError, match=r"33 tokens.*at most 24"):
        detect(model, image, "red " * 30)


def test_output_that_is_not_finite(weights: dict[str, Path], image: np.ndarray) -> None:
    broken = GroundingDino(weights["groundingdino_swint"], torch.device("cpu"))
    with torch.no_grad():
        broken.model.model.level_embed.fill_(float("nan"))
    with pytest.raises(InputError, match="not finite"):
        detect(broken, image, "red ball")


def test_folders_that_are_no_model(weights: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    cpu = torch.device("cpu")
    with pytest.raises(InputError, match="no folder"):
        GroundingDino(tmp_path / "none", cpu)
    folder = tmp_path / "model"
    shutil.copytree(weights["groundingdino_swint"], folder)
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"lacks model.safetensors .*pickle and is not read"):
        GroundingDino(folder, cpu)
    (folder / "model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="cannot be loaded"):
        GroundingDino(folder, cpu)
    part = {name: value for name, value in whole.items() if "input_proj_vision.0.0" not in name}
    assert len(part) < len(whole)
    save_file(part, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks 2 of the model's tensors"):
        GroundingDino(folder, cpu)
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(about | {"model_type": "detr"}))
    with pytest.raises(InputError, match="type 'detr'"):
        GroundingDino(folder, cpu)


def test_a_folder_of_the_form_of_the_published_ones(
    model: GroundingDino, weights: dict[str, Path], image: np.ndarray, tmp_path: Path
) -> None:
    """They were written by transformers 4.40: other files, keys of the time, tied weights twice."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(weights["groundingdino_swint"], folder)
    processor = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (folder / "processor_config.json").unlink()
    processor["processor_class"] = "GroundingDinoProcessor"
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    about = json.loads((folder / "config.json").read_text())
    about |= {"backbone": None, "backbone_kwargs": None, "use_timm_backbone": False}
    about |= {"use_pretrained_backbone": False, "transformers_version": "4.40.0.dev0"}
    (folder / "config.json").write_text(json.dumps(about))
    state = load_file(folder / "model.safetensors")
    # The last norm of today's Swin did not exist; nothing reads it.
    old = {name: value for name, value in state.items() if "swin.layernorm" not in name}
    assert len(old) == len(state) - 2
    for name in [name for name in old if name.startswith("bbox_embed.0.")]:
        old[name.replace("bbox_embed.0.", "bbox_embed.1.")] = old[name].clone()
        old["model.decoder." + name] = old[name].clone()
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    again = GroundingDino(folder, torch.device("cpu"))
    ours, theirs = (detect(each, image, "red ball") for each in (again, model))
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert ours.phrases == theirs.phrases


def test_without_transformers(weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(BackendUnavailableError, match=r"\.\[models\].*--sdm conda"):
        dino._load(weights["groundingdino_swint"], torch.float32)


@pytest.mark.usefixtures("tiny")
def test_box_masks_are_sam_s_single_masks(
    weights: dict[str, Path], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segment_anything import SamPredictor

    boxes = np.array([[2, 3, 40, 30], [-5, 10, 70, 47], [30, 5, 60, 20]], np.float32)
    predictor = SamPredictor(tiny_sam.build())
    predictor.set_image(image)
    expected = np.zeros(image.shape[:2], dtype=bool)
    for box in boxes:
        masks, _, _ = predictor.predict(box=box, multimask_output=False)
        assert masks.shape == (1, 48, 64)
        expected |= masks[0]
    assert 0 < expected.sum() < expected.size
    for batch in (32, 2):
        monkeypatch.setattr(box_masks, "BOXES_PER_BATCH", batch)
        sam = box_masks.BoxMasks("vit_b", weights["sam_vit_b"], torch.device("cpu"))
        sam.set_image(image)
        np.testing.assert_array_equal(sam.union(boxes), expected)
    assert not sam.union(np.zeros((0, 4), np.float32)).any()


@pytest.mark.usefixtures("tiny")
def test_the_whole_stage_with_tiny_models(
    folders: Folders, weights: dict[str, Path], tmp_path: Path
) -> None:
    options = GroundingConfig(
        backend="groundingdino",
        groundingdino={
            **SMALL,
            "text_overlap": 0.3,
            "box_threshold": 0.05,
            "views": 2,
        },
    )
    out = tmp_path / "grounding"
    arguments = (folders.scene, folders.colmap, folders.tracking, folders.train, folders.render)
    selection = ground(*arguments, out, options, weights)
    assert selection == json.loads((out / "selection.json").read_text())
    assert selection["backend"] == "groundingdino"
    for prompt, entry in selection["prompts"].items():
        assert entry["text"] == f"{prompt}."
        assert [record["view"] for record in entry["views"]] == ["view_000", "view_004"]
        ballots = []
        for record in entry["views"]:
            assert record["boxes_found"] > 0
            assert all(box["score"] > 0.05 for box in record["boxes"])
            ids = read_id_map(folders.render / "ids" / f"{record['view']}.png")
            ballots.append((np.unique(ids).tolist(), record["ids"]))
            for overlap in record["overlaps"]:
                assert (overlap["share"] > 0.3) == (overlap["id"] in record["ids"])
        assert entry["ids"] == vote_ids(ballots)
        assert read_image(out / "pictures" / f"{prompt}.png").shape[0] > 2 * 360
        for k in (0, 1):
            assert read_mask(out / "masks" / str(k) / f"{prompt}.png").shape == (48, 64)
    # The same models choose the same again.
    assert ground(*arguments, tmp_path / "again", options, weights) == selection


def test_checkpoints_must_be_handed_over(folders: Folders, tmp_path: Path) -> None:
    arguments = (folders.scene, folders.colmap, folders.tracking, folders.train, folders.render)
    with pytest.raises(InputError, match="groundingdino_swint, sam_vit_b"):
        ground(*arguments, tmp_path, config())


def test_id_zero_can_be_selected_and_is_drawn(tmp_path: Path) -> None:
    ids = np.zeros((30, 40), np.int32)
    ids[:, 20:] = 2
    mask = np.zeros((30, 40), dtype=bool)
    mask[:, :20] = True
    assert select_ids(ids, mask) == [0]
    grey = np.full((30, 40, 3), 90, np.uint8)
    boxes = np.array([[-10, -10, 20, 30], [5, 5, 60, 60]], np.float32)
    evidence = Evidence("v", grey, boxes, np.array([0.9, 0.4], np.float32), 1, mask)
    choices = [Choice(ids, "because", {}, (evidence,)) for ids in ([0], [])]
    chosen, none = (prompt_picture("left", choice, [("v", grey, ids)]) for choice in choices)
    assert chosen.shape == none.shape
    # The left half of the last panel differs, the other panels do not.
    different = np.nonzero((chosen != none).any(axis=(0, 2)))[0]
    assert different.min() > 2 * chosen.shape[1] // 3
    with pytest.raises(ValueError, match="at least one view"):
        prompt_picture("left", choices[0], [])


def test_colour_words_get_pictures_too(folders: Folders, tmp_path: Path) -> None:
    arguments = (folders.scene, folders.colmap, folders.tracking, folders.train, folders.render)
    ground(*arguments, tmp_path, GroundingConfig(colour_words={"max_area_share": 0.4}))
    assert len(list((tmp_path / "pictures").glob("*.png"))) == len(PROMPTS)
    ground(*arguments, tmp_path, GroundingConfig(pictures=False))
    assert not (tmp_path / "pictures").exists()
