"""Labels from blended probabilities: against a dense computation, and where they differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.masks import read_mask
from gradiseg_core.files.renderings import Probabilities
from gradiseg_core.splatting.labels import most_probable
from gradiseg_core.splatting.losses.identity import IdentityClassifier, label_map
from gradiseg_core.stages.grounding.stage import ground
from gradiseg_core.stages.rendering.stage import render_views
from tests import trained_scene
from tests.trained_scene import PROMPTS, TRACKED, Folders


@pytest.mark.parametrize("num_classes", [2, 16, 37])
def test_groups_of_classes_give_what_all_at_once_give(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(num_classes)
    classifier = IdentityClassifier(num_classes, generator=generator)
    identities = 6.0 * torch.randn(50, 16, generator=generator)
    weights = torch.rand(5, 7, 50, generator=generator)
    weights *= 0.8 / weights.sum(-1, keepdim=True)  # alpha 0.8 everywhere

    def blend(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return weights @ values, weights.sum(-1)

    classes, probabilities = most_probable(identities, classifier, blend)
    dense = weights @ classifier(identities).softmax(-1).detach()
    dense[..., 0] += 0.2  # what is not covered is background
    wanted, order = dense.topk(min(4, num_classes), dim=-1)
    torch.testing.assert_close(probabilities, wanted)
    assert torch.equal(classes, order)


def test_no_third_label_appears_between_two() -> None:
    # Encodings of classes 1 and 3 at the ends of a line, class 2's region in its middle.
    classifier = IdentityClassifier(4, 1)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[0.0], [-9.0], [0.0], [9.0]]))
        classifier.bias.copy_(torch.tensor([-50.0, 0.0, 4.0, 0.0]))
    identities = torch.tensor([[-1.0], [1.0]])
    weights = torch.tensor([[1.0, 0.0], [0.6, 0.4], [0.4, 0.6], [0.0, 1.0]])[:, None]
    assert label_map(weights @ identities, classifier).flatten().tolist() == [1, 2, 2, 3]
    classes, _ = most_probable(
        identities, classifier, lambda values: (weights @ values, weights.sum(-1))
    )
    assert classes[:, 0, 0].tolist() == [1, 1, 3, 3]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folders = trained_scene.make(tmp_path_factory.mktemp("trained"))
    about = folders.train / "identities.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"labels": "probabilities"}))
    config = RenderConfig(rasterizer="reference")
    render_views(folders.scene, folders.colmap, folders.train, folders.render, config, threads=1)
    return folders


def test_a_trained_scene_knows_its_rule(folders: Folders, tmp_path: Path) -> None:
    assert json.loads((folders.render / "render.json").read_text())["labels"] == "probabilities"
    truth = TRACKED[read_id_map(folders.scene / "gt_ids" / "view_000.png")]
    # The outermost pixels, less than half covered, are background now.
    assert (read_id_map(folders.render / "ids" / "view_000.png") == truth).mean() > 0.95
    config = RenderConfig(rasterizer="reference", labels="encodings")
    render_views(folders.scene, folders.colmap, folders.train, tmp_path, config, threads=1)
    assert json.loads((tmp_path / "render.json").read_text())["labels"] == "encodings"
    assert not (tmp_path / "probabilities").exists()


def test_prompts_take_the_blended_probabilities(folders: Folders, tmp_path: Path) -> None:
    def run(**options: object) -> None:
        ground(
            folders.scene, folders.colmap, folders.tracking, folders.train, folders.render,
            tmp_path, GroundingConfig(backend="manual", pictures=False, **options),
        )  # fmt: skip

    run(masks="probability")
    kept = Probabilities.load(folders.render / "probabilities" / "view_000.npz")
    for prompt, gt_id in PROMPTS.items():
        mask = read_mask(tmp_path / "masks" / "0" / f"{prompt}.png")
        own = np.where(kept.classes == TRACKED[gt_id], kept.values, 0.0).max(axis=-1)
        assert np.array_equal(mask, own > 0.2)
        assert mask.any()
    with pytest.raises(InputError, match=r"probability_threshold: 0\.1 is too low"):
        run(masks="probability", probability_threshold=0.1)
    run()  # the label map's own pixels, as the threshold suits the softmax of blended encodings
    ids = read_id_map(folders.render / "ids" / "view_000.png")
    for prompt, gt_id in PROMPTS.items():
        mask = read_mask(tmp_path / "masks" / "0" / f"{prompt}.png")
        assert np.array_equal(mask, ids == TRACKED[gt_id])
    assert json.loads((tmp_path / "selection.json").read_text())["masks"] == "argmax"
    with pytest.raises(InputError, match="render stage"):
        Probabilities.load(tmp_path / "none.npz")
