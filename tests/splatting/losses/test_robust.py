"""The robust identity loss against the generalised cross-entropy, by autograd in float64."""

from __future__ import annotations

import math

import pytest
import torch

from gradiseg_core.splatting.losses.identity import IdentityClassifier, identity_loss
from gradiseg_core.splatting.losses.robust import (
    agreement,
    reach_px,
    robust_identity_loss,
    wide_disagreement,
)


def make(num_classes: int = 12, height: int = 9, width: int = 14, dim: int = 16):
    generator = torch.Generator().manual_seed(0)
    classifier = IdentityClassifier(num_classes, dim, generator=generator)
    features = 3.0 * torch.randn(height, width, dim, generator=generator)
    labels = torch.randint(0, num_classes - 2, (height, width), generator=generator)
    return features, labels.to(torch.int32), classifier


def believe_in_class_1(features, classifier, logit: float) -> None:
    """Make the model sure of class 1 everywhere."""
    with torch.no_grad():
        classifier.weight.zero_()
        classifier.weight[1, 0] = 1.0
        features.zero_()
        features[..., 0] = logit


def generalised(features, labels, classifier, exponent: float):
    """Zhang and Sabuncu's loss, mean over pixels, over ln(C)."""
    chance = classifier(features).softmax(-1).gather(-1, labels.long()[..., None])
    return ((1.0 - chance**exponent) / exponent).mean() / math.log(classifier.num_classes)


@pytest.mark.parametrize("exponent", [0.3, 0.7, 1.0])
def test_gradients_are_those_of_the_generalised_cross_entropy(exponent: float) -> None:
    features, labels, classifier = make()
    classifier = classifier.double()
    tensors = [features.double().requires_grad_(), classifier.weight, classifier.bias]
    own = torch.autograd.grad(
        robust_identity_loss(tensors[0], labels, classifier, exponent, backend="torch"), tensors
    )
    true = torch.autograd.grad(generalised(tensors[0], labels, classifier, exponent), tensors)
    for got, expected in zip(own, true, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


def test_the_fused_head_agrees() -> None:
    features, labels, classifier = make(height=30, width=41)
    results = []
    for backend in ("cpu", "torch"):
        leaf = features.clone().requires_grad_()
        loss = robust_identity_loss(leaf, labels, classifier, 0.7, backend=backend)
        results.append((loss.detach(), *torch.autograd.grad(loss, [leaf, classifier.weight])))
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=2e-4, atol=1e-7)


def test_exponent_zero_is_cross_entropy() -> None:
    features, labels, classifier = make()
    torch.testing.assert_close(
        robust_identity_loss(features, labels, classifier, 0.0),
        identity_loss(features, labels, classifier),
    )


def test_a_pixel_that_the_model_rejects_hardly_counts() -> None:
    features, labels, classifier = make(num_classes=4, height=1, width=2)
    believe_in_class_1(features, classifier, 20.0)
    labels[0] = torch.tensor([1, 2])
    weights = agreement(features, labels, classifier, 0.7)
    assert weights[0, 0] == pytest.approx(1.0, abs=1e-4)
    assert 0.0 < weights[0, 1] < 1e-4


def test_a_label_without_a_class_is_refused() -> None:
    features, labels, classifier = make()
    labels[3, 4] = 12
    with pytest.raises(ValueError, match="ID 12 has no class"):
        robust_identity_loss(features, labels, classifier, 0.7)


def picture(rows: list[str]) -> torch.Tensor:
    return torch.tensor([[cell == "#" for cell in row] for row in rows])


def test_wide_disagreement_leaves_seams_out() -> None:
    disagreeing = picture(
        [
            "............",
            ".###....####",  # a block; and a seam that ends at the image's border
            ".###........",
            ".######.....",  # of its tail, what is near goes with the block
            "............",
            "##..........",
            "##..........",  # a corner: beyond the image it may go on
        ]
    )
    wide = picture(
        [
            "............",
            ".###........",
            ".###........",
            ".####.......",
            "............",
            "##..........",
            "##..........",
        ]
    )
    assert torch.equal(wide_disagreement(disagreeing, 1), wide)
    assert not wide_disagreement(disagreeing, 2).any()


def test_wide_disagreement_is_left_out() -> None:
    features, labels, classifier = make(num_classes=4, height=12, width=12)
    believe_in_class_1(features, classifier, 5.0)
    labels[:] = 1
    labels[2:8, 2:8] = 2  # an object with another name
    labels[10, :] = 0  # a seam
    leaf = features.clone().requires_grad_()
    (plain,) = torch.autograd.grad(robust_identity_loss(leaf, labels, classifier, 0.0), leaf)
    loss = robust_identity_loss(leaf, labels, classifier, 0.0, width_px=2)
    (gradient,) = torch.autograd.grad(loss, leaf)
    left_out = labels == 2
    assert not gradient[left_out].any()
    torch.testing.assert_close(gradient[~left_out], plain[~left_out])
    assert plain[left_out].any()
    assert gradient[10].any()


@pytest.mark.parametrize(("share", "pixels"), [(0.0, 0), (1e-6, 1), (0.01, 3), (0.0067, 2)])
def test_reach_in_pixels(share: float, pixels: int) -> None:
    assert reach_px((180, 240), share) == pixels
