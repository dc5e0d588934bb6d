"""The identity head's Triton kernels against PyTorch in float64, interpreted or on a GPU."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from gradiseg_core.splatting.losses.identity import (
    IdentityClassifier,
    identity_loss,
    label_map,
    label_probabilities,
    probabilities,
)
from gradiseg_core.splatting.losses.robust import agreement, robust_identity_loss

pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux: pip install triton")

# Gradients come from operands of 16 bits, the loss and probabilities from operands of 22.
GRADIENT_ERROR = 2e-5  # relative, L2
VALUE_ERROR = 2e-6  # relative

# (shape, D, C): blocks are 64 pixels x 64 classes and 32 x 128, D is padded to 16.
PROBLEMS = [
    ((7, 19), 16, 2),
    ((9, 15), 8, 5),
    ((5, 13), 16, 200),
    ((8, 16), 16, 256),
    ((3, 45), 32, 300),
    ((1, 1), 16, 20),
]


def problem(shape, dim, classes, device, *, spread=2.0):
    """Return encodings, labels (the first and the last among them) and a classifier."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(*shape, dim, generator=generator) * spread
    labels = torch.randint(0, classes, shape, generator=generator, dtype=torch.int16)
    labels.view(-1)[0], labels.view(-1)[-1] = 0, classes - 1
    head = IdentityClassifier(classes, dim, generator=generator)
    return features.to(device), labels.to(device), head.to(device)


def relative(value, expected):
    return ((value.double() - expected).norm() / expected.norm()).item()


def gradients(loss, features, head):
    return torch.autograd.grad(loss, [features, head.weight, head.bias])


@pytest.mark.parametrize(("shape", "dim", "classes"), PROBLEMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_gradients_equal_float64(triton_device, shape, dim, classes, weighted) -> None:
    features, labels, head = problem(shape, dim, classes, triton_device)
    weights = None
    if weighted:
        weights = torch.rand(shape, device=triton_device)
        weights.view(-1)[::3] = 0.0
        weights.view(-1)[-1] = 1.0
    exact_head = copy.deepcopy(head).double()
    fused, exact = features.clone().requires_grad_(), features.double().requires_grad_()
    loss = identity_loss(fused, labels, head, pixel_weights=weights, backend="triton")
    expected = identity_loss(
        exact,
        labels,
        exact_head,
        pixel_weights=weights if weights is None else weights.double(),
        backend="torch",
    )
    assert loss.item() == pytest.approx(expected.item(), rel=VALUE_ERROR)
    assert loss.dtype == torch.float32
    ours, theirs = gradients(loss, fused, head), gradients(expected, exact, exact_head)
    for value, truth in zip(ours, theirs, strict=True):
        assert value.shape == truth.shape
        assert relative(value, truth) < GRADIENT_ERROR


def test_the_gradient_of_a_certain_pixel_is_small_and_exact(triton_device) -> None:
    head = IdentityClassifier(70, 16, generator=torch.Generator().manual_seed(0))
    features = 60.0 * head.weight.detach()[:, None]  # [70, 1, D]: each close to its own class
    labels = torch.arange(70)[:, None]
    head, features, labels = (thing.to(triton_device) for thing in (head, features, labels))
    exact_head, exact = copy.deepcopy(head).double(), features.double().requires_grad_()
    fused = features.clone().requires_grad_()
    chance = label_probabilities(exact.detach(), labels, exact_head)
    assert 1e-9 < (1.0 - chance).min() < 1e-5
    expected = identity_loss(exact, labels, exact_head, backend="torch")
    loss = identity_loss(fused, labels, head, backend="triton")
    (ours,), (theirs,) = torch.autograd.grad(loss, fused), torch.autograd.grad(expected, exact)
    error = (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)
    assert error.max() < 1e-4  # of every pixel, also of one whose gradient is 1e-6 of another's


def test_huge_logits_neither_overflow_nor_vanish(triton_device) -> None:
    features, labels, head = problem((6, 13), 16, 20, triton_device, spread=2000.0)
    exact_head, exact = copy.deepcopy(head).double(), features.double().requires_grad_()
    fused = features.clone().requires_grad_()
    loss = identity_loss(fused, labels, head, backend="triton")
    expected = identity_loss(exact, labels, exact_head, backend="torch")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = gradients(loss, fused, head), gradients(expected, exact, exact_head)
    for value, truth in zip(ours, theirs, strict=True):
        assert relative(value, truth) < 5e-3  # logits of 1e4 are known to 5e-3 and better


def test_all_weights_zero_is_no_loss(triton_device) -> None:
    features, labels, head = problem((4, 5), 16, 6, triton_device)
    features.requires_grad_()
    weights = torch.zeros(4, 5, device=triton_device)
    loss = identity_loss(features, labels, head, pixel_weights=weights, backend="triton")
    assert loss.item() == 0.0
    assert all((gradient == 0).all() for gradient in gradients(loss, features, head))


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_every_integer_type_labels(triton_device, kind) -> None:
    features, labels, head = problem((4, 17), 16, 9, triton_device)
    features.requires_grad_()
    expected = identity_loss(features, labels, head, backend="triton")
    got = identity_loss(features, labels.to(kind), head, backend="triton")
    assert got.item() == expected.item()
    pairs = (gradients(loss, features, head) for loss in (got, expected))
    assert all(torch.equal(one, two) for one, two in zip(*pairs, strict=True))


@pytest.mark.parametrize("bad", [9, 300, -1, 2**32 + 1])
def test_a_label_without_class_is_nan_and_nobody_waited_for_it(triton_device, bad) -> None:
    from gradiseg_core.splatting.losses import _identity_triton as kernels

    features, labels, head = problem((4, 5), 16, 9, triton_device)
    labels = labels.long()
    labels[2, 3] = bad
    parameters = head.weight.detach(), head.bias.detach()
    assert kernels.cross_entropy(features, labels, *parameters, None).isnan()
    flat, own = features.reshape(-1, 16), labels.reshape(-1)
    probs = kernels.softmax_of_own(flat, *parameters, own)
    assert probs.isnan().nonzero().tolist() == [[13]]


def test_upstream_gradients_scale_as_often_as_one_likes(triton_device) -> None:
    features, labels, head = problem((6, 7), 16, 12, triton_device)
    features.requires_grad_()
    loss = identity_loss(features, labels, head, backend="triton")
    leaves = [features, head.weight, head.bias]
    one, twice, more = (
        torch.autograd.grad(factor * loss, leaves, retain_graph=True) for factor in (1.0, 1.0, 2.5)
    )
    for first, second, third in zip(one, twice, more, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(third, 2.5 * first)


def test_the_same_bits_in_every_run(triton_device) -> None:
    features, labels, head = problem((37, 11), 16, 140, triton_device)
    features.requires_grad_()
    results = []
    for _ in range(2):
        loss = identity_loss(features, labels, head, backend="triton")
        results.append([loss.detach(), *gradients(loss, features, head)])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_without_gradients_the_value_is_the_same(triton_device) -> None:
    features, labels, head = problem((6, 17), 16, 70, triton_device)
    tracked = identity_loss(features, labels, head, backend="triton")
    with torch.no_grad():
        value = identity_loss(features, labels, head, backend="triton")
    assert value.item() == pytest.approx(tracked.item(), rel=1e-6)  # compiled by itself
    assert tracked.requires_grad
    assert not value.requires_grad


def test_strided_encodings_are_accepted(triton_device) -> None:
    features, labels, head = problem((6, 7), 16, 12, triton_device)
    turned = features.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    straight = identity_loss(features, labels, head, backend="triton")
    assert identity_loss(turned, labels, head, backend="triton").item() == straight.item()
    assert torch.equal(
        label_map(turned, head, backend="triton"), label_map(features, head, backend="triton")
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, in the interpreter
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_shows_in_the_loss(triton_device, value) -> None:
    features, labels, head = problem((6, 7), 16, 20, triton_device)
    features[2, 3, 4] = value
    assert identity_loss(features, labels, head, backend="triton").isnan()


@pytest.mark.parametrize("exponent", [0.3, 0.7, 1.0])
def test_the_robust_loss_equals_float64_in_one_pass(triton_device, exponent) -> None:
    features, labels, head = problem((9, 14), 16, 40, triton_device)
    exact_head, exact = copy.deepcopy(head).double(), features.double().requires_grad_()
    fused = features.clone().requires_grad_()
    loss = robust_identity_loss(fused, labels, head, exponent, backend="triton")
    expected = robust_identity_loss(exact, labels, exact_head, exponent, backend="torch")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = gradients(loss, fused, head), gradients(expected, exact, exact_head)
    for value, truth in zip(ours, theirs, strict=True):
        assert relative(value, truth) < GRADIENT_ERROR
    weights = agreement(features, labels, head, exponent, backend="triton")
    truth = agreement(features.double(), labels, exact_head, exponent)
    torch.testing.assert_close(weights.double(), truth, rtol=2e-5, atol=0)


def test_wide_disagreement_is_left_out(triton_device) -> None:
    features, labels, head = problem((20, 24), 16, 9, triton_device)
    rendered = label_map(features, head)
    labels.copy_((rendered + 1) % 9)
    labels[2:14, 3:15] = rendered[2:14, 3:15]  # the only place of agreement
    exact_head, exact = copy.deepcopy(head).double(), features.double().requires_grad_()
    fused = features.clone().requires_grad_()
    loss = robust_identity_loss(fused, labels, head, 0.5, width_px=1, backend="triton")
    expected = robust_identity_loss(exact, labels, exact_head, 0.5, width_px=1, backend="torch")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = gradients(loss, fused, head), gradients(expected, exact, exact_head)
    for value, truth in zip(ours, theirs, strict=True):
        assert relative(value, truth) < GRADIENT_ERROR
    assert not ours[0][18:].any()
    assert ours[0][8, 8].any()


def test_the_robust_loss_refuses_as_the_plain_one(triton_device) -> None:
    features, labels, head = problem((4, 5), 16, 9, triton_device)
    with pytest.raises(ValueError, match="one label for each"):
        robust_identity_loss(features, labels[:3], head, 0.7, backend="triton")


@pytest.mark.parametrize(("dim", "classes"), [(16, 256), (8, 5), (32, 33), (16, 70)])
def test_inference_equals_the_materialised_softmax(triton_device, dim, classes) -> None:
    features, labels, head = problem((9, 17), dim, classes, triton_device)
    exact = copy.deepcopy(head).double()(features.double()).softmax(-1)
    assert torch.equal(label_map(features, head, backend="triton"), exact.argmax(-1))
    ids = torch.tensor([0, classes - 1, 3])
    chosen = probabilities(features, head, ids, backend="triton")
    truth = exact[..., ids.to(triton_device)].float()
    torch.testing.assert_close(chosen, truth, rtol=2e-5, atol=1e-7)
    every = torch.arange(classes).flip(0)  # more than a block of them
    chosen = probabilities(features, head, every, backend="triton")
    torch.testing.assert_close(chosen, exact.flip(-1).float(), rtol=2e-5, atol=1e-7)
    own = label_probabilities(features, labels, head, backend="triton")
    truth = exact.gather(-1, labels.long()[..., None]).squeeze(-1).float()
    torch.testing.assert_close(own, truth, rtol=2e-5, atol=1e-7)


def test_the_label_is_the_smallest_of_the_most_probable(triton_device) -> None:
    head = IdentityClassifier(150, 16).to(triton_device)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[[66, 67, 140]] = 3.0
    labels = label_map(torch.randn(70, 16, device=triton_device), head, backend="triton")
    assert labels.dtype == torch.int64
    assert (labels == 66).all()


def test_nothing_to_classify_is_no_error(triton_device) -> None:
    head = IdentityClassifier(9, 16).to(triton_device)
    nothing = torch.empty(0, 16, device=triton_device)
    assert label_map(nothing, head, backend="triton").shape == (0,)
    assert probabilities(nothing, head, [1, 2], backend="triton").shape == (0, 2)
    some = torch.empty(3, 16, device=triton_device)
    assert probabilities(some, head, [], backend="triton").shape == (3, 0)


def test_wrong_input_is_refused(triton_device) -> None:
    features, labels, head = problem((4, 5), 16, 9, triton_device)
    other = IdentityClassifier(9, 12).to(triton_device)
    with pytest.raises(ValueError, match="8, 16, 32"):
        identity_loss(features[..., :12], labels, other, backend="triton")
    with pytest.raises(TypeError, match=r'"triton" takes float32 on a GPU.*float64'):
        identity_loss(features.double(), labels, head, backend="triton")
    with pytest.raises(ValueError, match="ID 9 has no class"):
        probabilities(features, head, torch.tensor([1, 9]), backend="triton")


def test_main_memory_is_refused_without_the_interpreter(monkeypatch) -> None:
    features, labels, head = problem((4, 5), 16, 9, "cpu")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(TypeError, match=r'"triton" takes float32 on a GPU.*on cpu'):
        identity_loss(features, labels, head, backend="triton")


@pytest.mark.gpu
def test_gpu_takes_the_kernels_by_itself_and_never_waits() -> None:
    device = torch.device("cuda")
    features, labels, head = problem((364, 493), 16, 256, device)
    features.requires_grad_()
    weights = torch.rand(labels.shape, device=device)

    def everything() -> None:
        for loss in (
            identity_loss(features, labels, head, backend="triton"),
            identity_loss(features, labels, head, pixel_weights=weights, backend="triton"),
            identity_loss(features, labels, head, pixel_weights=weights, backend="torch"),
            robust_identity_loss(features, labels, head, 0.7, backend="triton"),
            robust_identity_loss(features, labels, head, 0.7, backend="torch"),
        ):
            gradients(loss, features, head)
        label_map(features, head)
        agreement(features, labels, head, 0.7)

    everything()  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        everything()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_gpu_at_full_size_equals_float64_in_a_fraction_of_the_memory() -> None:
    device = torch.device("cuda")
    features, labels, head = problem((728, 986), 16, 256, device)
    results, peaks = {}, {}
    for backend in ("triton", "torch"):
        leaf = features.clone().requires_grad_()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        loss = identity_loss(leaf, labels, head, backend=backend)
        results[backend] = [loss.detach(), *gradients(loss, leaf, head)]
        peaks[backend] = torch.cuda.max_memory_allocated() - before
        del loss
    exact_head, exact = copy.deepcopy(head).double(), features.double().requires_grad_()
    loss = identity_loss(exact, labels, exact_head, backend="torch")
    truth = [loss.detach(), *gradients(loss, exact, exact_head)]
    for value, expected in zip(results["triton"], truth, strict=True):
        assert relative(value, expected) < GRADIENT_ERROR
    # About 23 times less is expected; the allocator's blocks and PyTorch's own choices blur it.
    assert peaks["torch"] > 12 * peaks["triton"], peaks


@pytest.mark.gpu
def test_gpu_without_kernels_makes_nan_of_a_label_without_class() -> None:
    features, labels, head = problem((4, 5), 16, 9, torch.device("cuda"))
    labels[1, 1] = 9
    assert identity_loss(features, labels, head, backend="torch").isnan()
