"""Parts of the DEVA backend that need no network: options, inputs, memory, installation."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.stages.tracking.backends.deva import Options
from gradiseg_core.stages.tracking.deva import driver as backend
from gradiseg_core.stages.tracking.deva import package
from gradiseg_core.stages.tracking.deva.detections import grid, uncovered


def test_deciding_at_the_photographs_size():
    scores = torch.rand((40, 12, 16), generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(
        scores[None], (29, 37), mode="bilinear", align_corners=False
    )[0]
    # In parts of 16 channels, as all at once.
    assert np.array_equal(backend.decide(scores, (29, 37)), large.argmax(0).numpy())


def test_photographs_become_inputs():
    photograph = np.zeros((30, 40, 3), np.uint8)
    photograph[..., 0] = 255
    image = backend.as_input(photograph, 15, torch.device("cpu"))
    assert image.shape == (3, 15, 20)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    assert torch.allclose(image[:, 7, 7], torch.tensor(expected))
    assert backend.input_shape((728, 986), 480) == (480, 650)


def test_memory_is_linear_in_objects_and_bounded_in_time():
    config = Options()
    size = {"height": 480, "width": 640}
    short, long, endless = (
        backend.memory_estimate(config, frames=n, **size) for n in (10, 45, 100_000)
    )
    assert short["bytes"] == 200 * short["bytes_per_object"]
    half = backend.memory_estimate(
        config.model_copy(update={"max_objects": 100}), frames=10, **size
    )
    assert 2 * half["bytes"] == short["bytes"]
    # Two frames in memory and a state of 30 x 40 places with 512 numbers, and six maps.
    assert short["bytes_per_object"] == 4 * (512 * 3 * 1200 + 6 * 480 * 640)
    assert short["bytes_per_object"] < long["bytes_per_object"] < endless["bytes_per_object"]
    assert endless["bytes_per_object"] == 4 * (512 * (11 * 1200 + 10_000) + 6 * 480 * 640)


def test_points_beside_what_is_tracked():
    covered = np.zeros((160, 160), bool)
    covered[:, :80] = True
    points = grid(10)
    free = uncovered(points, covered)
    # Cells are 16 px; the column beside the edge is softened by the averaging.
    assert free.reshape(10, 10).tolist() == [[False] * 6 + [True] * 4] * 10
    assert uncovered(points, np.zeros((160, 160), bool)).all()
    assert not uncovered(points, np.ones((160, 160), bool)).any()
    small = np.zeros((160, 160), bool)
    small[64:72, 64:72] = True  # a quarter of one cell
    assert not uncovered(np.array([[0.45, 0.45]]), small).any()


def test_missing_deva_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "deva", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "deva" else find(name)
    )
    with pytest.raises(BackendUnavailableError, match="not installed") as raised:
        package.load_package()
    assert package.COMMIT in str(raised.value)
    assert "non-commercial" in str(raised.value)


def without_deva(monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "deva"]:
        monkeypatch.delitem(sys.modules, name)


def test_another_package_of_that_name_is_not_run(monkeypatch, tmp_path):
    without_deva(monkeypatch)
    (tmp_path / "deva").mkdir()
    (tmp_path / "deva" / "__init__.py").write_text("raise SystemExit('this program has run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackendUnavailableError, match="another program") as raised:
        package.load_package()
    assert str(tmp_path) in str(raised.value)
    assert "pip uninstall deva" in str(raised.value)


def test_a_package_that_deva_lacks_is_named(monkeypatch, tmp_path):
    without_deva(monkeypatch)
    folder = tmp_path / "deva" / "inference"
    folder.mkdir(parents=True)
    for path in (tmp_path / "deva", folder):
        (path / "__init__.py").touch()
    (folder / "inference_core.py").write_text("import a_solver_that_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackendUnavailableError, match="a_solver_that_is_missing cannot"):
        package.load_package()


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="do not fit between votes"):
        Options(voting_frames=4, detection_every=3)


def test_defaults_are_those_of_gaussian_grouping():
    # Its script, and the defaults of the DEVA that it brings.
    assert package.core_config(Options(), frames=300, tokens=12) == {
        "key_dim": 64, "value_dim": 512, "pix_feat_dim": 512, "mem_every": 5,
        "enable_long_term": True, "enable_long_term_count_usage": False,
        "max_mid_term_frames": 10, "min_mid_term_frames": 5, "max_long_term_elements": 10000,
        "num_prototypes": 60,  # 128, but a frame has 12 places here
        "top_k": 12,  # 30, likewise
        "chunk_size": 4, "max_missed_detection_count": 5, "max_num_objects": 200,
    }  # fmt: skip
    config = Options()
    full = package.core_config(config, frames=300, tokens=1200)
    assert (full["num_prototypes"], full["top_k"]) == (128, 30)
    assert package.core_config(config, frames=391, tokens=1200)["enable_long_term_count_usage"]
    assert not package.core_config(config, frames=390, tokens=1200)["enable_long_term_count_usage"]
    assert (config.size, config.detection_every, config.voting_frames) == (480, 5, 3)
    assert (config.sam.model, config.sam.points_per_side) == ("vit_h", 64)
    assert config.sam.pred_iou_thresh == 0.7
