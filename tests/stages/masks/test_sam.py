"""The backend `sam`, run with a tiny random SAM from a checkpoint file."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import segment_anything
import torch
from PIL import Image

from gradiseg_core.config.masks import MasksConfig
from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.models.sam_options import BOX_NMS_THRESH, STABILITY_SCORE_OFFSET
from gradiseg_core.stages.masks.backends import sam
from gradiseg_core.stages.masks.backends.sam import _GENERATOR_FIELDS, Options, SamSegmenter
from gradiseg_core.stages.masks.backends.sam import run as make
from gradiseg_core.stages.masks.interface import Request
from gradiseg_core.stages.masks.stage import generate
from tests import tiny_sam
from tests.stages.masks.drawings import drawing
from tests.stages.sfm.scenes import write_manifest

NAMES = ["a.png", "b.jpg", "c.png", "test.png"]
TRAIN = NAMES[:3]
SAM = {
    "model": "vit_b",
    "points_per_side": 5,
    "points_per_batch": 16,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.5,
    "overlap": "smallest",
    "device": "cpu",
}


@pytest.fixture
def tiny(monkeypatch):
    """The name `vit_b` builds the tiny network; the list counts how often.

    Its random weights are neither confident nor stable, and their masks fill the picture.
    """
    built = []

    def build():
        built.append("model")
        return tiny_sam.build(seed=9)

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", build)
    monkeypatch.setattr(sam, "STABILITY_SCORE_OFFSET", 1e-3)
    monkeypatch.setattr(sam, "BOX_NMS_THRESH", 0.98)
    return built


@pytest.fixture
def scene(tmp_path):
    """Folders as the stages before this one leave them."""
    scene_dir, images = tmp_path / "scene", tmp_path / "colmap" / "images"
    images.mkdir(parents=True)
    picture, _ = drawing(90, 120)
    for index, name in enumerate(NAMES):
        Image.fromarray(np.roll(picture, 17 * index, axis=1)).save(images / name)
    shutil.copytree(images, scene_dir / "images")
    write_manifest(scene_dir, NAMES, test=("test.png",))
    return scene_dir, tmp_path / "colmap"


@pytest.fixture
def weights(tmp_path):
    return {"sam_vit_b": tiny_sam.save(tmp_path / "tiny.pth", seed=0)}


@pytest.fixture
def counted(monkeypatch):
    """Names of the views that SAM was run on."""
    made = []
    original = SamSegmenter._generate

    def counting(self, image, name):
        made.append(name)
        return original(self, image, name)

    monkeypatch.setattr(SamSegmenter, "_generate", counting)
    return made


def config(**sam) -> MasksConfig:
    return MasksConfig.model_validate({"backend": "sam", "sam": {**SAM, **sam}})


def test_the_stage_gives_what_sam_gives(scene, weights, tiny, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        result = generate(*scene, tmp_path / "out", config(), threads=4, weights=weights)
    assert tiny == ["model"]  # loaded once, in this process, whatever the threads
    assert result["backend"] == "sam"
    assert list(result["views"]) == ["a", "b", "c"]
    assert "sam: a.png: " in caplog.text

    model = tiny_sam.build(seed=0)
    options = {key: value for key, value in SAM.items() if key in _GENERATOR_FIELDS}
    options |= {"stability_score_offset": 1e-3, "box_nms_thresh": 0.98}  # as `tiny` sets them
    generator = segment_anything.SamAutomaticMaskGenerator(model, **options)
    for name in TRAIN:
        stem = name[0]
        masks = generator.generate(read_image(scene[1] / "images" / name))
        assert len(masks) >= 2
        cover = np.array([np.where(m["segmentation"], m["area"], np.inf) for m in masks])
        owner = np.where(np.isinf(cover).all(axis=0), 0, cover.argmin(axis=0) + 1)
        shown, expected = np.unique(owner, return_inverse=True)
        expected = expected.reshape(owner.shape) + (shown[0] != 0)
        ids = read_id_map(tmp_path / "out" / f"{stem}.png")
        np.testing.assert_array_equal(ids, expected)
        assert result["views"][stem] == ids.max() >= 2
        with Image.open(tmp_path / "out" / f"{stem}.png") as file:
            assert file.mode == "I;16"


def test_large_photographs_are_reduced(scene, weights, tiny, tmp_path):
    seen = []

    def noting(self, image, name):
        seen.append(image.shape)
        half = np.zeros(image.shape[:2], bool, order="F")
        half[:, : image.shape[1] // 2] = True
        rle = {"size": list(half.shape), "counts": [0, int(half.sum()), int((~half).sum())]}
        return [{"segmentation": rle, "area": int(half.sum()), "predicted_iou": 0.9}]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SamSegmenter, "_generate", noting)
        generate(*scene, tmp_path / "out", config(longest_side=64), threads=1, weights=weights)
        ids = read_id_map(tmp_path / "out" / "a.png")
        assert set(seen) == {(48, 64, 3)}
        expected = np.zeros((90, 120), int)
        expected[:, :60] = 1
        np.testing.assert_array_equal(ids, expected)
        # In px at 640 px: the half is 1536 px at 64 px, so 153600 there.
        many = config(longest_side=64, min_area=153_601)
        result = generate(*scene, tmp_path / "none", many, threads=1, weights=weights)
        assert set(result["views"].values()) == {0}
        some = config(longest_side=64, min_area=153_599)
        result = generate(*scene, tmp_path / "some", some, threads=1, weights=weights)
        assert set(result["views"].values()) == {1}


def test_crops_and_the_progress(scene, weights, tiny, monkeypatch):
    """The total is the number of batches that run."""
    steps, totals = [], []

    class Counter:
        def __init__(self, _title, total, _unit):
            totals.append(total)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def advance(self):
            steps.append(1)

    monkeypatch.setattr("gradiseg_core.progress.Progress", Counter)
    task = Request(
        *scene,
        TRAIN,
        config(points_per_batch=3).options,
        weights,
    )
    segmenter = make(task)
    ids = segmenter.segments("a.png")
    assert ids.shape == (90, 120)
    assert totals == [9]  # 25 points
    assert len(steps) == totals[0]
    segmenter.segments("b.jpg")  # the hook of the first view is gone
    assert len(steps) == sum(totals)


def test_a_killed_run_goes_on_where_it_stopped(scene, weights, tiny, counted, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"

    def run(**sam):
        shutil.rmtree(out, ignore_errors=True)  # as Snakemake does before a job
        counted.clear()
        generate(*scene, out, config(**sam), threads=2, work_dir=work, weights=weights)
        return list(counted)

    assert run() == TRAIN
    (work / "b.png").unlink()
    assert run() == ["b.jpg"]
    tiny.clear()
    assert run() == []
    assert tiny == []  # nothing to do: the model is not even loaded
    # Speed and place change nothing in the segments; parameters do.
    assert run(points_per_batch=5, device="auto" if not torch.cuda.is_available() else "cpu") == []
    copy = shutil.copy(weights["sam_vit_b"], tmp_path / "copy.pth")
    assert run(checkpoint=copy) == []
    assert run(pred_iou_thresh=0.01) == TRAIN
    tiny_sam.save(weights["sam_vit_b"], seed=1)
    assert run(pred_iou_thresh=0.01) == TRAIN  # another checkpoint under the same name


def test_the_checkpoint_is_read_once_for_all_fingerprints(scene, weights, tiny, monkeypatch):
    opened = []
    original = Path.open

    def noting(self, *args, **kwargs):
        opened.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", noting)
    segmenter = make(Request(*scene, TRAIN, config().options, weights))
    assert len({segmenter.fingerprint(name) for name in TRAIN}) == 3
    assert opened.count(weights["sam_vit_b"]) == 1


def test_a_view_without_masks(scene, weights, tiny, tmp_path, caplog):
    strict = config(pred_iou_thresh=1.0)
    result = generate(*scene, tmp_path / "out", strict, threads=1, weights=weights)
    assert result["views"] == {"a": 0, "b": 0, "c": 0}
    assert not read_id_map(tmp_path / "out" / "a.png").any()
    assert "no mask in a.png; lower `masks.sam.pred_iou_thresh`" in caplog.text


def test_no_memory_names_what_to_turn(scene, weights, tiny, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    monkeypatch.setattr(segment_anything.SamAutomaticMaskGenerator, "generate", full)
    with pytest.raises(BackendUnavailableError) as caught:
        generate(*scene, tmp_path / "out", config(), threads=1, weights=weights)
    for part in (
        "vit_b",
        "a.png",
        "9.00 GiB",
        "points_per_batch",
        "longest_side",
        "masks.sam.model",
    ):
        assert part in str(caught.value)


def test_what_is_missing_is_said_before_anything_runs(scene, weights, tiny, tmp_path, monkeypatch):
    def refused(error, match, given=weights, **sam):
        with pytest.raises(error, match=match):
            generate(*scene, tmp_path / "out", config(**sam), threads=1, weights=given)
        assert not (tmp_path / "out").exists()

    refused(InputError, r"masks\.sam: no checkpoint sam_vit_b; .*`masks\.sam\.checkpoint`", {})
    refused(InputError, r"no checkpoint sam_vit_b at .*no\.pth", {}, checkpoint=tmp_path / "no.pth")
    if not torch.cuda.is_available():
        refused(BackendUnavailableError, r"masks\.sam\.device: cuda", device="cuda")
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    refused(BackendUnavailableError, r"pip install -e '\.\[models\]'")


def test_the_users_own_checkpoint(scene, weights, tiny, tmp_path):
    own = config(checkpoint=weights["sam_vit_b"])
    assert own.weights() == {"sam_vit_b": weights["sam_vit_b"]}
    assert config().weights() == {"sam_vit_b": None}
    assert MasksConfig().weights() == {}
    assert MasksConfig(backend="sam").weights() == {"sam_vit_h": None}
    generate(*scene, tmp_path / "out", own, threads=1)
    assert (tmp_path / "out" / "masks.json").is_file()


def test_a_broken_checkpoint_leaves_no_view(scene, weights, tiny, tmp_path):
    weights["sam_vit_b"].write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"masks\.sam\.checkpoint: .*tiny\.pth cannot be read"):
        generate(*scene, tmp_path / "out", config(), threads=1, weights=weights)
    assert not list((tmp_path / "out").iterdir())


def test_the_generator_is_that_of_gaussian_grouping():
    """What it chooses beyond segment-anything's defaults are the points and the predicted IoU."""
    import inspect

    parameters = inspect.signature(segment_anything.SamAutomaticMaskGenerator).parameters
    chosen = {"points_per_side": 64, "pred_iou_thresh": 0.7}  # Gaussian Grouping's
    defaults = Options()
    for name in _GENERATOR_FIELDS:
        assert getattr(defaults, name) == chosen.get(name, parameters[name].default)
    assert parameters["stability_score_offset"].default == STABILITY_SCORE_OFFSET
    assert parameters["box_nms_thresh"].default == BOX_NMS_THRESH
    assert parameters["crop_n_layers"].default == 0
    assert parameters["min_mask_region_area"].default == 0


def test_other_backends_need_none_of_it():
    """As in envs/masks.yaml, which has neither torch nor SAM."""
    code = (
        "import sys\n"
        "sys.modules.update(torch=None, torchvision=None, segment_anything=None, tqdm=None)\n"
        "import numpy as np\n"
        "from gradiseg_core.config.masks import MasksConfig\n"
        "from gradiseg_core.stages.masks.backends import graph\n"
        "print(graph.segment(np.zeros((70, 80, 3), np.uint8), MasksConfig().options).max())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1"
