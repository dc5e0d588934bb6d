"""The photometric loss: ``(1 - lambda) * L1 + lambda * (1 - SSIM)``.

Notation, per pixel and channel, with G the 11 x 11 Gaussian window of sigma 1.5 px:
``mu_x = G*x``, ``mu_y = G*y``, ``s_xy = G*(xy) - mu_x mu_y``,
``s_2 = G*(x^2 + y^2) - mu_x^2 - mu_y^2`` (only the sum of the two variances is ever needed) and

    SSIM = (2 mu_x mu_y + C1) (2 s_xy + C2) / ((mu_x^2 + mu_y^2 + C1) (s_2 + C2)).

As in 3DGS (Kerbl 2023, ``loss_utils.py``) the picture is continued by zeros and the mean goes over
every pixel, so the outermost 5 px compare windows that are partly empty. torchmetrics reflects the
picture at its border instead, and scikit-image leaves those 5 px out of the mean; all three agree
inside, and ``ssim(..., interior=True)`` is scikit-image's mean. GradiSeg's Eq. 5 prints L1 alone
(``lambda = 0``), yet the SSIM of its tables is that of Gaussian Grouping, which uses 0.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from gradiseg_core.splatting.losses.window import C1, C2, WINDOW_RADIUS, window

BACKENDS = ("cpu", "torch", "triton")


@dataclass
class PhotometricLoss:
    """The loss of one picture.

    Attributes:
        total: Scalar, differentiable with respect to the rendering.
        l1: Scalar, detached: mean absolute difference.
        ssim: Scalar, detached: mean SSIM; NaN when ``lambda_dssim`` is 0 (not computed).
    """

    total: Tensor
    l1: Tensor
    ssim: Tensor


def photometric_loss(
    rendered: Tensor,  # [H, W, 3]
    target: Tensor,  # [H, W, 3]
    lambda_dssim: float,
    *,
    backend: str = "cpu",
) -> PhotometricLoss:
    """Compare a rendering with its photograph.

    Args:
        rendered: [H, W, 3], linear in nothing: values as displayed, usually 0..1, not clamped.
        target: [H, W, 3], same type; no gradient flows to it.
        lambda_dssim: Share of ``1 - SSIM``, 0..1; at 0 the loss is L1 alone.
        backend: "cpu" (fused kernels, float32), "triton" (kernels of a GPU, float32) or "torch"
            (plain PyTorch, any precision).

    Returns:
        The loss and its two terms.

    Raises:
        ValueError: If shapes differ, ``lambda_dssim`` lies outside 0..1 or the backend is unknown.
        TypeError: If a backend is given a type or device that is not its own.
    """
    _check_pair(rendered, target)
    if not 0.0 <= lambda_dssim <= 1.0:
        raise ValueError(f"lambda_dssim must lie in 0..1, got {lambda_dssim}")
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    if backend != "torch":
        _check_float32(backend, rendered=rendered, target=target)
    if backend == "triton" and lambda_dssim > 0.0:
        from gradiseg_core.splatting.losses import _photometric_triton

        return PhotometricLoss(*_photometric_triton.loss(rendered, target, lambda_dssim))
    if backend != "cpu":  # L1 alone needs no kernel of its own on a GPU
        l1 = (rendered - target).abs().mean()
        if lambda_dssim == 0.0:
            return PhotometricLoss(l1, l1.detach(), l1.detach() * math.nan)
        similarity = ssim_map(rendered, target).mean()
        total = (1.0 - lambda_dssim) * l1 + lambda_dssim * (1.0 - similarity)
        return PhotometricLoss(total, l1.detach(), similarity.detach())
    total, l1, similarity = _Fused.apply(rendered, target, lambda_dssim)
    return PhotometricLoss(total, l1, similarity)


def photometric_loss_of_rest(
    rendered: Tensor,  # [H, W, 3]
    target: Tensor,  # [H, W, 3]
    ignored: Tensor,  # [H, W]
    lambda_dssim: float,
    *,
    backend: str = "cpu",
) -> PhotometricLoss:
    """Compare a rendering with its photograph where the latter is not ignored.

    Both take the rendering's values, without a gradient, in ignored pixels, which then differ
    nowhere: L1 is 0 there, and a window that reaches into them compares its own pixels alone. Means
    go over the other pixels.

    Args:
        rendered: As :func:`photometric_loss`.
        target: As :func:`photometric_loss`.
        ignored: [H, W] bool.
        lambda_dssim: As :func:`photometric_loss`.
        backend: As :func:`photometric_loss`.
    """
    own, where = rendered.detach(), ignored[..., None]
    loss = photometric_loss(
        torch.where(where, own, rendered),
        torch.where(where, own, target),
        lambda_dssim,
        backend=backend,
    )
    factor = ignored.numel() / (~ignored).sum().clamp(min=1).to(rendered.dtype)
    return PhotometricLoss(loss.total * factor, loss.l1 * factor, 1.0 - (1.0 - loss.ssim) * factor)


def ssim(
    a: Tensor,  # [H, W, 3]
    b: Tensor,  # [H, W, 3]
    *,
    interior: bool = False,
) -> Tensor:
    """Return the mean SSIM of two pictures.

    Args:
        a: [H, W, 3], values 0..1.
        b: [H, W, 3], same type.
        interior: Average only over windows that lie inside the picture (scikit-image's definition)
            instead of over all pixels with zeros around (3DGS's, whose numbers papers report).

    Returns:
        Scalar.

    Raises:
        ValueError: If shapes differ, or the picture is smaller than the window (interior only).
    """
    _check_pair(a, b)
    values = ssim_map(a, b)
    if interior:
        r = WINDOW_RADIUS
        values = values[r:-r, r:-r]
        if values.numel() == 0:
            raise ValueError(f"a picture of {tuple(a.shape)} has no interior window of 11 px")
    return values.mean()


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Return SSIM at every pixel and channel, [H, W, 3], by separable convolutions."""
    maps = torch.stack([a, b, a * a + b * b, a * b])  # [4, H, W, 3]
    mu_a, mu_b, square, product = _blur(maps).unbind(0)
    mu_ab = mu_a * mu_b
    mu_square = mu_a * mu_a + mu_b * mu_b
    covariance = product - mu_ab
    variances = square - mu_square
    top = (2.0 * mu_ab + C1) * (2.0 * covariance + C2)
    return top / ((mu_square + C1) * (variances + C2))


def _blur(maps: Tensor) -> Tensor:
    """Convolve [B, H, W, C] with the window along H and W, zeros outside."""
    batch, height, width, channels = maps.shape
    planes = batch * channels
    # One picture of many planes, each with its own copy of the window: PyTorch's fast path.
    weights = torch.tensor(window(), dtype=maps.dtype, device=maps.device).repeat(planes, 1)
    result = maps.permute(0, 3, 1, 2).reshape(1, planes, height, width)
    result = functional.conv2d(
        result, weights[:, None, None, :], padding=(0, WINDOW_RADIUS), groups=planes
    )
    result = functional.conv2d(
        result, weights[:, None, :, None], padding=(WINDOW_RADIUS, 0), groups=planes
    )
    return result.view(batch, channels, height, width).permute(0, 2, 3, 1)


class _Fused(torch.autograd.Function):
    """L1, SSIM and the gradient of their mixture in one go; backward only scales it."""

    @staticmethod
    def forward(ctx, rendered, target, lambda_dssim):
        from gradiseg_core.splatting.losses import _photometric_kernels as kernels

        l1, similarity, gradient = kernels.run(
            rendered.detach().contiguous().numpy(),
            target.detach().contiguous().numpy(),
            lambda_dssim,
            with_gradient=ctx.needs_input_grad[0],
        )
        if gradient is not None:
            ctx.save_for_backward(torch.from_numpy(gradient))
        total = (1.0 - lambda_dssim) * l1
        if lambda_dssim > 0.0:
            total += lambda_dssim * (1.0 - similarity)
        outputs = tuple(
            torch.tensor(value, dtype=torch.float32) for value in (total, l1, similarity)
        )
        ctx.mark_non_differentiable(*outputs[1:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _l1, _ssim):
        (gradient,) = ctx.saved_tensors
        return gradient if grad.item() == 1.0 else gradient * grad, None, None


def _check_pair(a: Tensor, b: Tensor) -> None:
    """Raise unless both are [H, W, 3] and alike."""
    if a.shape != b.shape or a.dim() != 3 or a.shape[-1] != 3 or a.numel() == 0:
        raise ValueError(
            "expected two pictures of the same shape [H, W, 3], "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )


def _runs_on(backend: str, device: torch.device) -> bool:
    """Tell whether the kernels of a backend run on a device."""
    if backend == "cpu":
        return device.type == "cpu"
    from gradiseg_core.compute.triton_runtime import runs_on

    return runs_on(device)


def _check_float32(backend: str, **tensors: Tensor) -> None:
    """Raise unless all are float32 where the kernels of the backend run."""
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not _runs_on(backend, tensor.device):
            where = "the CPU" if backend == "cpu" else "a GPU that Triton compiles for"
            raise TypeError(
                f'backend "{backend}" takes float32 on {where}; {name} is {tensor.dtype} on '
                f'{tensor.device} (backend "torch" takes any)'
            )
