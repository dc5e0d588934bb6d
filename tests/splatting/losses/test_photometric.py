"""The photometric loss against PyTorch in float64, torchmetrics and cases done by hand."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from gradiseg_core.compute.cpu_runtime import get_threads, set_threads
from gradiseg_core.splatting.losses.photometric import photometric_loss, ssim, ssim_map
from gradiseg_core.splatting.losses.window import window


def _pair(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two similar pictures, so that SSIM is neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(height, width, 3, generator=generator)
    noise = torch.randn(height, width, 3, generator=generator)
    return target + 0.1 * noise, target


SIZES = [(48, 64), (37, 41), (16, 5), (7, 3), (1, 1), (64, 16)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_fused_loss_and_gradient_equal_float64(size, share):
    rendered, target = _pair(*size)
    fused = rendered.clone().requires_grad_()
    loss = photometric_loss(fused, target, share)
    loss.total.backward()
    exact = rendered.double().requires_grad_()
    expected = photometric_loss(exact, target.double(), share, backend="torch")
    expected.total.backward()
    assert loss.total.item() == pytest.approx(expected.total.item(), abs=2e-6)
    assert loss.l1.item() == pytest.approx(expected.l1.item(), rel=1e-6)
    assert loss.ssim.item() == pytest.approx(expected.ssim.item(), abs=2e-6, nan_ok=True)
    error = (fused.grad - exact.grad).norm() / exact.grad.norm()
    assert error < 1e-5


def test_plain_loss_passes_gradcheck():
    rendered, target = _pair(6, 7)
    assert torch.autograd.gradcheck(
        lambda x: photometric_loss(x, target.double(), 0.2, backend="torch").total,
        rendered.double().requires_grad_(),
    )


def test_ssim_map_equals_a_direct_double_loop():
    a, b = (picture.double() for picture in _pair(9, 8))
    weights = torch.tensor(window(), dtype=torch.float64)
    values = ssim_map(a, b)
    for row, column in [(0, 0), (4, 4), (8, 7), (2, 6)]:
        mean_a = mean_b = square_a = square_b = product = torch.zeros(3, dtype=torch.float64)
        for i in range(-5, 6):
            for j in range(-5, 6):
                if 0 <= row + i < 9 and 0 <= column + j < 8:
                    weight = weights[i + 5] * weights[j + 5]
                    x, y = a[row + i, column + j], b[row + i, column + j]
                    mean_a, mean_b = mean_a + weight * x, mean_b + weight * y
                    square_a, square_b = square_a + weight * x * x, square_b + weight * y * y
                    product = product + weight * x * y
        variance_a, variance_b = square_a - mean_a**2, square_b - mean_b**2
        covariance = product - mean_a * mean_b
        expected = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
        expected /= (mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4)
        torch.testing.assert_close(values[row, column], expected, rtol=1e-9, atol=0)


def test_ssim_agrees_with_torchmetrics_inside_and_differs_at_the_border():
    a, b = (picture.double() for picture in _pair(40, 50))
    _, full = structural_similarity_index_measure(
        a.permute(2, 0, 1)[None],
        b.permute(2, 0, 1)[None],
        data_range=1.0,
        return_full_image=True,
    )
    theirs, ours = full[0].permute(1, 2, 0), ssim_map(a, b)
    torch.testing.assert_close(ours[5:-5, 5:-5], theirs[5:-5, 5:-5], rtol=1e-6, atol=1e-6)
    assert (ours - theirs)[:5].abs().max() > 1e-3


def test_interior_ssim_is_scikit_image_s():
    a, b = (picture.double() for picture in _pair(40, 50))
    theirs = structural_similarity(
        a.numpy(),
        b.numpy(),
        channel_axis=-1,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(a, b, interior=True).item() == pytest.approx(theirs, abs=1e-9)


def test_equal_pictures_have_ssim_one_and_no_loss():
    _, target = _pair(20, 30)
    loss = photometric_loss(target.clone(), target, 0.2)
    assert loss.ssim.item() == pytest.approx(1.0, abs=1e-5)
    assert loss.total.item() == pytest.approx(0.0, abs=1e-5)
    assert ssim(target, target).item() == pytest.approx(1.0, abs=1e-5)


def test_window_is_the_normalised_gaussian():
    weights = window()
    assert len(weights) == 11
    assert math.fsum(weights) == pytest.approx(1.0, abs=1e-15)
    assert weights[5] / weights[2] == pytest.approx(math.exp(0.5 * (3 / 1.5) ** 2))


def test_upstream_gradient_scales():
    rendered, target = _pair(12, 13)
    one, three = (rendered.clone().requires_grad_() for _ in range(2))
    photometric_loss(one, target, 0.2).total.backward()
    (3.0 * photometric_loss(three, target, 0.2).total).backward()
    torch.testing.assert_close(three.grad, 3.0 * one.grad)


def test_without_gradient_the_value_is_the_same():
    rendered, target = _pair(12, 13)
    with torch.no_grad():
        value = photometric_loss(rendered, target, 0.2).total
    tracked = photometric_loss(rendered.requires_grad_(), target, 0.2).total
    assert value.item() == tracked.item()


def test_strided_input_is_accepted():
    rendered, target = _pair(12, 13)
    turned = rendered.permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    photometric_loss(turned, target, 0.2).total.backward()
    straight = rendered.clone().requires_grad_()
    photometric_loss(straight, target, 0.2).total.backward()
    assert torch.equal(turned.grad, straight.grad)


def test_threads_do_not_change_a_bit():
    rendered, target = _pair(61, 47)
    results = []
    before = get_threads()
    try:
        for threads in (1, 2):
            set_threads(threads)
            leaf = rendered.clone().requires_grad_()
            loss = photometric_loss(leaf, target, 0.2)
            loss.total.backward()
            results.append((loss.total.item(), loss.ssim.item(), leaf.grad))
    finally:
        set_threads(before)
    assert results[0][:2] == results[1][:2]
    assert torch.equal(results[0][2], results[1][2])


def test_nan_shows_in_the_loss():
    rendered, target = _pair(12, 13)
    rendered[3, 4, 1] = math.nan
    assert math.isnan(photometric_loss(rendered, target, 0.2).total.item())
    assert math.isnan(photometric_loss(rendered, target, 0.0).total.item())


def test_wrong_input_is_refused():
    rendered, target = _pair(12, 13)
    with pytest.raises(ValueError, match="same shape"):
        photometric_loss(rendered, target[:, :5], 0.2)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        photometric_loss(rendered, target, 1.5)
    with pytest.raises(ValueError, match="unknown backend 'gpu'"):
        photometric_loss(rendered, target, 0.2, backend="gpu")
    with pytest.raises(TypeError, match="float32"):
        photometric_loss(rendered.double(), target.double(), 0.2)
    with pytest.raises(ValueError, match="no interior"):
        ssim(rendered[:8], target[:8], interior=True)
