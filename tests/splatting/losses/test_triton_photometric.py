"""The photometric loss's Triton kernels against PyTorch in float64, interpreted or on a GPU."""

from __future__ import annotations

import math

import pytest
import torch

from gradiseg_core.splatting.losses.photometric import photometric_loss, ssim

pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux: pip install triton")

VALUE_ERROR = 2e-6  # absolute
GRADIENT_ERROR = 1e-5  # relative, L2


def pair(height: int, width: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two similar pictures, so that SSIM is neither 0 nor 1."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(height, width, 3, generator=generator)
    noise = torch.randn(height, width, 3, generator=generator)
    return (target + 0.1 * noise).to(device), target.to(device)


def run(rendered, target, share):
    leaf = rendered.clone().requires_grad_()
    loss = photometric_loss(leaf, target, share, backend="triton")
    (gradient,) = torch.autograd.grad(loss.total, leaf)
    return loss, gradient


@pytest.mark.parametrize(
    ("size", "along"),
    [
        ((20, 15), (16, 64)),  # several tiles of every pass, few enough for the interpreter
        ((5, 7), None),
        ((1, 1), None),
    ],
)
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_loss_and_gradient_equal_float64(triton_device, monkeypatch, size, along, share) -> None:
    from gradiseg_core.splatting.losses import _photometric_triton as kernels

    if along is not None and triton_device.type == "cpu":
        monkeypatch.setattr(kernels, "ALONG", along)
    rendered, target = pair(*size, triton_device)
    loss, gradient = run(rendered, target, share)
    exact = rendered.double().requires_grad_()
    expected = photometric_loss(exact, target.double(), share, backend="torch")
    (truth,) = torch.autograd.grad(expected.total, exact)
    assert loss.total.item() == pytest.approx(expected.total.item(), abs=VALUE_ERROR)
    assert loss.l1.item() == pytest.approx(expected.l1.item(), rel=1e-6)
    assert loss.ssim.item() == pytest.approx(expected.ssim.item(), abs=VALUE_ERROR)
    assert (gradient - truth).norm() / truth.norm() < GRADIENT_ERROR
    assert (gradient - truth).abs().max() < 1e-4 * truth.abs().max()  # also at every border


def test_l1_alone_computes_no_ssim(triton_device) -> None:
    rendered, target = pair(4, 5, triton_device)
    loss, gradient = run(rendered, target, 0.0)
    assert loss.total.item() == pytest.approx((rendered - target).abs().mean().item())
    assert loss.ssim.isnan()
    assert torch.equal(gradient, (rendered - target).sign() / rendered.numel())


def test_equal_pictures_have_no_loss_and_no_l1_gradient(triton_device) -> None:
    _, target = pair(6, 5, triton_device)
    loss, gradient = run(target.clone(), target, 0.2)
    assert loss.l1.item() == 0.0
    assert loss.ssim.item() == pytest.approx(1.0, abs=1e-5)
    assert loss.total.item() == pytest.approx(0.0, abs=1e-5)
    assert gradient.abs().max() < 1e-4


def test_upstream_gradients_scale_as_often_as_one_likes(triton_device) -> None:
    rendered, target = pair(4, 5, triton_device)
    rendered.requires_grad_()
    total = photometric_loss(rendered, target, 0.2, backend="triton").total
    one, twice, more = (
        torch.autograd.grad(factor * total, rendered, retain_graph=True)[0]
        for factor in (1.0, 1.0, 3.0)
    )
    assert torch.equal(one, twice)
    torch.testing.assert_close(more, 3.0 * one)


def test_without_gradient_and_strided_the_value_is_the_same(triton_device) -> None:
    rendered, target = pair(4, 5, triton_device)
    loss, gradient = run(rendered, target, 0.2)
    turned = rendered.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    with torch.no_grad():
        value = photometric_loss(turned, target, 0.2, backend="triton")
    assert value.total.item() == pytest.approx(loss.total.item(), rel=1e-6)  # compiled by itself
    assert not loss.l1.requires_grad
    assert not loss.ssim.requires_grad
    assert torch.equal(run(turned, target, 0.2)[1], gradient)  # and the same bits in every run


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, in the interpreter
def test_nan_shows_in_the_loss(triton_device) -> None:
    rendered, target = pair(4, 5, triton_device)
    rendered[3, 4, 1] = math.nan
    assert photometric_loss(rendered, target, 0.2, backend="triton").total.isnan()


def test_wrong_input_is_refused(triton_device) -> None:
    rendered, target = pair(4, 5, triton_device)
    with pytest.raises(TypeError, match=r'"triton" takes float32 on a GPU.*rendered is .*float64'):
        photometric_loss(rendered.double(), target.double(), 0.2, backend="triton")
    with pytest.raises(ValueError, match="same shape"):
        photometric_loss(rendered, target[:, :3], 0.2, backend="triton")


def test_main_memory_is_refused_without_the_interpreter(monkeypatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(TypeError, match=r'"triton" takes float32 on a GPU.*on cpu'):
        photometric_loss(*pair(4, 5, "cpu"), 0.2, backend="triton")


@pytest.mark.gpu
def test_gpu_at_full_size_equals_float64_and_never_waits() -> None:
    rendered, target = pair(728, 986, torch.device("cuda"))
    run(rendered, target, 0.2)  # compiles
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss, gradient = run(rendered, target, 0.2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    exact = rendered.double().requires_grad_()
    expected = photometric_loss(exact, target.double(), 0.2, backend="torch")
    (truth,) = torch.autograd.grad(expected.total, exact)
    assert loss.total.item() == pytest.approx(expected.total.item(), abs=VALUE_ERROR)
    assert loss.ssim.item() == pytest.approx(ssim(rendered, target).item(), abs=1e-5)
    assert (gradient - truth).norm() / truth.norm() < GRADIENT_ERROR
