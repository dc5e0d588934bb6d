"""The identity head against PyTorch in float64 and cases done by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from gradiseg_core.compute.cpu_runtime import get_threads, set_threads
from gradiseg_core.splatting.losses.identity import (
    IdentityClassifier,
    identity_loss,
    label_map,
    probabilities,
)


def _problem(shape, dim, classes, *, seed=0, spread=2.0):
    """Return encodings, labels and a classifier whose softmax is neither flat nor saturated."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(*shape, dim, generator=generator) * spread
    labels = torch.randint(0, classes, shape, generator=generator)
    return features, labels, IdentityClassifier(classes, dim, generator=generator)


def _relative(value, expected):
    return ((value - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("shape", "dim", "classes"),
    [
        ((24, 32), 16, 256),
        ((7, 9), 16, 9),
        ((13, 11), 8, 5),
        ((13, 11), 32, 100),
        ((1, 1), 16, 2),
        ((8, 8), 16, 8),
        ((5, 13), 16, 33),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_fused_loss_and_gradients_equal_float64(shape, dim, classes, weighted):
    features, labels, head = _problem(shape, dim, classes)
    weights = torch.rand(shape) if weighted else None
    exact_head = copy.deepcopy(head).double()
    fused, exact = features.clone().requires_grad_(), features.double().requires_grad_()
    loss = identity_loss(fused, labels, head, pixel_weights=weights)
    loss.backward()
    expected = identity_loss(
        exact,
        labels,
        exact_head,
        pixel_weights=weights if weights is None else weights.double(),
        backend="torch",
    )
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert _relative(fused.grad, exact.grad) < 1e-5
    assert _relative(head.weight.grad, exact_head.weight.grad) < 1e-5
    assert _relative(head.bias.grad, exact_head.bias.grad) < 1e-5


def test_plain_loss_passes_gradcheck():
    features, labels, head = _problem((3, 4), 5, 7)

    def loss(features, weight, bias):
        head.weight, head.bias = weight, bias
        return identity_loss(features, labels, head, backend="torch")

    leaves = [t.detach().double().requires_grad_() for t in (features, head.weight, head.bias)]
    del head.weight, head.bias
    assert torch.autograd.gradcheck(loss, leaves)


def test_a_head_that_knows_nothing_scores_one():
    features, labels, head = _problem((6, 7), 16, 30)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    assert identity_loss(features, labels, head).item() == pytest.approx(1.0, abs=1e-6)


def test_two_classes_by_hand():
    head = IdentityClassifier(2, 8)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[1, 0] = 2.0
        head.bias.copy_(torch.tensor([0.0, 1.0]))
    features = torch.zeros(1, 2, 8)
    features[0, 0, 0] = 0.5  # logits 0 and 2
    labels = torch.tensor([[1, 0]])  # the second pixel's logits: 0 and 1
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2 / math.log(2)
    assert identity_loss(features, labels, head).item() == pytest.approx(expected, rel=1e-5)
    half = torch.tensor([[3.0, 0.0]])
    only_first = math.log(1 + math.exp(-2)) / math.log(2)
    weighted = identity_loss(features, labels, head, pixel_weights=half)
    assert weighted.item() == pytest.approx(only_first, rel=1e-5)


def test_large_logits_neither_overflow_nor_vanish():
    features, labels, head = _problem((6, 7), 16, 20, spread=2000.0)
    exact_head = copy.deepcopy(head).double()
    loss = identity_loss(features, labels, head)
    expected = identity_loss(features.double(), labels, exact_head, backend="torch")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_all_weights_zero_is_no_loss(backend):
    features, labels, head = _problem((4, 5), 16, 6)
    features.requires_grad_()
    loss = identity_loss(features, labels, head, pixel_weights=torch.zeros(4, 5), backend=backend)
    loss.backward()
    assert loss.item() == 0.0
    assert features.grad.abs().max() == 0.0


@pytest.mark.parametrize("backend", ["cpu", "torch"])
@pytest.mark.parametrize("bad", [9, 300, -1])
def test_a_label_without_class_is_refused_by_its_id(backend, bad):
    features, labels, head = _problem((4, 5), 16, 9)
    labels[2, 3] = bad
    with pytest.raises(ValueError, match=f"ID {bad} has no class"):
        identity_loss(features, labels, head, backend=backend)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_integer_type_labels(kind):
    features, labels, head = _problem((4, 5), 16, 9)
    expected = identity_loss(features, labels, head)
    assert identity_loss(features, labels.to(kind), head).item() == expected.item()


def test_upstream_gradient_scales():
    features, labels, head = _problem((6, 7), 16, 12)
    grads = []
    for factor in (1.0, 2.5):
        leaf = features.clone().requires_grad_()
        head.zero_grad()
        (factor * identity_loss(leaf, labels, head)).backward()
        grads.append([leaf.grad, head.weight.grad.clone(), head.bias.grad.clone()])
    for one, more in zip(*grads, strict=True):
        torch.testing.assert_close(more, 2.5 * one)


def test_threads_do_not_change_a_bit():
    features, labels, head = _problem((61, 83), 16, 40)
    results = []
    before = get_threads()
    try:
        for threads in (1, 2):
            set_threads(threads)
            leaf = features.clone().requires_grad_()
            head.zero_grad()
            loss = identity_loss(leaf, labels, head)
            loss.backward()
            results.append([loss.detach(), leaf.grad, head.weight.grad, head.bias.grad])
    finally:
        set_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize(("dim", "classes"), [(16, 256), (8, 11), (32, 33), (5, 7)])
def test_inference_equals_the_materialised_softmax(dim, classes):
    features, _, head = _problem((9, 17), dim, classes)
    exact = copy.deepcopy(head).double()(features.double()).softmax(-1)
    assert torch.equal(label_map(features, head), exact.argmax(-1))
    ids = torch.tensor([0, classes - 1, 3])
    chosen = probabilities(features, head, ids)
    torch.testing.assert_close(chosen, exact[..., ids].float(), rtol=2e-5, atol=1e-7)


def test_label_map_takes_gaussians_and_prefers_the_smaller_class():
    head = IdentityClassifier(6, 16)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([0.0, 3.0, 1.0, 3.0, 3.0, 2.0]))
    labels = label_map(torch.randn(70, 16), head)
    assert labels.shape == (70,)
    assert (labels == 1).all()


def test_probabilities_refuse_an_unknown_id():
    features, _, head = _problem((2, 3), 16, 6)
    with pytest.raises(ValueError, match="ID 6 has no class"):
        probabilities(features, head, torch.tensor([1, 6]))


def test_classifier_starts_as_a_pointwise_convolution_does():
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(16, 4096, 1)
    head = IdentityClassifier(4096, 16)
    for ours, theirs in ((head.weight, convolution.weight), (head.bias, convolution.bias)):
        assert ours.abs().max() <= 0.25
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
    encodings = torch.randn(3, 16)
    expected = torch.nn.functional.conv2d(
        encodings.t()[None, :, :, None], head.weight[:, :, None, None], head.bias
    )
    torch.testing.assert_close(head(encodings), expected[0, :, :, 0].t())


def test_nan_shows_in_the_loss():
    features, labels, head = _problem((6, 7), 16, 20)
    features[2, 3, 4] = math.nan
    assert math.isnan(identity_loss(features, labels, head).item())


def test_wrong_input_is_refused():
    features, labels, head = _problem((4, 5), 16, 9)
    with pytest.raises(ValueError, match="one label for each"):
        identity_loss(features, labels[:3], head)
    with pytest.raises(ValueError, match="length 16"):
        identity_loss(features[..., :8], labels, head)
    with pytest.raises(TypeError, match="integers"):
        identity_loss(features, labels.float(), head)
    with pytest.raises(TypeError, match="float32"):
        identity_loss(features.double(), labels, head)
    with pytest.raises(ValueError, match="8, 16, 32"):
        identity_loss(torch.randn(4, 5, 12), labels, IdentityClassifier(9, 12))
    with pytest.raises(ValueError, match="unknown backend"):
        identity_loss(features, labels, head, backend="gpu")
    with pytest.raises(ValueError, match="pixel_weights"):
        identity_loss(features, labels, head, pixel_weights=torch.ones(5, 4))
    with pytest.raises(ValueError, match="at least 2 classes"):
        IdentityClassifier(1)
