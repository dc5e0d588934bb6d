"""The identity loss of blended probabilities against blending all classes, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from gradiseg_core.splatting.losses.blended import blended_loss, class_channels
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.losses.robust import wide_disagreement


def make(num_classes: int, ids: list[int], pixels: tuple[int, int] = (12, 17), count: int = 30):
    generator = torch.Generator().manual_seed(3)
    classifier = IdentityClassifier(num_classes, 16, generator=generator).double()
    identities = 4.0 * torch.randn(count, 16, generator=generator, dtype=torch.float64)
    # Blending weights with a sum below 1, as of a pixel that is not covered.
    weights = torch.rand(*pixels, count, generator=generator, dtype=torch.float64) ** 20
    weights = 0.9 * weights / weights.sum(-1, keepdim=True)
    present = torch.tensor(ids)
    labels = present[torch.randint(0, len(ids), pixels, generator=generator)].to(torch.int16)
    return identities.requires_grad_(), classifier, weights, present, labels


def plainly(identities, classifier, weights, labels, exponent: float = 0.0, width_px: int = 0):
    """The same from the probabilities of all classes."""
    probs = weights @ classifier(identities).softmax(-1)
    background = torch.zeros_like(probs)
    background[..., 0] = 1.0 - weights.sum(-1)
    probs = probs + background
    own = probs.gather(-1, labels.long()[..., None])[..., 0]
    factor = own.detach() ** exponent
    if width_px:
        factor = factor * ~wide_disagreement(probs.argmax(-1) != labels, width_px)
    return -(factor * own.log()).mean() / math.log(classifier.num_classes)


@pytest.mark.parametrize(
    ("num_classes", "ids"),
    [(5, [0, 1, 2, 3, 4]), (40, [1, 7, 39]), (60, [0, *range(5, 59)])],
    ids=["all", "without background", "many"],
)
@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_it_is_the_loss_of_all_classes(num_classes: int, ids: list[int], exponent: float) -> None:
    identities, classifier, weights, present, labels = make(num_classes, ids)
    leaves = [identities, classifier.weight, classifier.bias]
    blended = weights @ class_channels(identities, classifier, present)
    loss = blended_loss(blended, labels, present, num_classes, exponent=exponent)
    expected = plainly(identities, classifier, weights, labels, exponent)
    torch.testing.assert_close(loss, expected)
    own = torch.autograd.grad(loss, leaves)
    for got, true in zip(own, torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(got, true)


def test_wide_disagreement_is_left_out_also_where_the_mask_lacks_the_object() -> None:
    """The model is sure of classes 1 (left) and 2; the mask has 1 everywhere, so lacks 2."""
    probs = torch.zeros(20, 30, 1)
    probs[:, :15, 0] = 0.9
    probs[:, 15:, 0] = 0.1
    probs.requires_grad_()
    labels = torch.ones(20, 30, dtype=torch.int16)
    blended_loss(probs, labels, torch.tensor([1]), 3, width_px=2).backward()
    gradient = probs.grad[..., 0]
    assert bool((gradient[:, :15] < 0).all())
    assert not gradient[:, 15:].any()


def test_with_every_id_it_leaves_out_what_the_argmax_says() -> None:
    identities, classifier, weights, present, labels = make(5, [0, 1, 2, 3, 4], (40, 50), 6)
    labels = torch.full_like(labels, 2)
    loss = blended_loss(
        weights @ class_channels(identities, classifier, present),
        labels, present, 5, exponent=0.3, width_px=1,
    )  # fmt: skip
    torch.testing.assert_close(loss, plainly(identities, classifier, weights, labels, 0.3, 1))


def test_what_nobody_covers_is_background() -> None:
    nothing = torch.zeros(4, 5, 2)  # no Gaussian, so no F_0 - 1 either
    ids = torch.tensor([0, 3])
    background = blended_loss(nothing, torch.zeros(4, 5, dtype=torch.int16), ids, 4)
    assert float(background) == 0.0
    missing = blended_loss(nothing, torch.full((4, 5), 3), ids, 4)
    assert math.isfinite(float(missing))
    assert float(missing) > 5.0


@pytest.mark.gpu
def test_a_gpu_gives_the_same() -> None:
    identities, classifier, weights, present, labels = make(40, [0, 3, 7, 39])
    results = []
    for device in ("cpu", "cuda"):
        leaf = identities.detach().to(device).requires_grad_()
        model, ids = classifier.to(device), present.to(device)
        blended = weights.to(device) @ class_channels(leaf, model, ids)
        loss = blended_loss(blended, labels.to(device), ids, 40, exponent=0.5, width_px=1)
        gradients = torch.autograd.grad(loss, [leaf, *model.parameters()])
        results.append([value.cpu() for value in (loss, *gradients)])
    for own, other in zip(*results, strict=True):
        torch.testing.assert_close(own, other)
