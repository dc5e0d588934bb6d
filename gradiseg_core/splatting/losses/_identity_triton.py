"""Fused identity head on a GPU: cross-entropy with all gradients, and inference.

The logits, [P, C], exist only as tiles in registers. With z = W x + b in units of ln 2 (so that exp
is 2**), e_c = 2**(z_c - m), y the label, S = sum_{c != y} e_c and T = S + e_y, a pixel of share w
has

    loss    = w (ln T + ln 2 (m - z_y))
    dL/dx   = w (sum_{c != y} e_c W_c - S W_y) / T
    dL/dz_c = w e_c / T  (c != y),   dL/dz_y = -w S / T.

The label is left out of the sums, so that nothing cancels where a pixel is certain: its gradient is
small and exact, not the difference of two numbers near 1.

``pixels_kernel`` takes blocks of pixels over all classes with a running maximum (Milakov and
Gimelshein 2018): loss and dL/dx in one pass. ``classes_kernel`` takes blocks of classes over a part
of the pixels and makes their tiles again from the saved log2 T + m, for dL/dW and dL/db. Each
program owns its sums, which PyTorch adds in order: no atomics, the same bits in every run.

Nothing here waits for the device: sums of weights stay there, and a label without a class makes the
loss NaN instead of an error.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from gradiseg_core.compute.triton_runtime import interpreted, on_device, processors
from gradiseg_core.splatting.losses._identity_triton_kernels import (
    argmax_kernel,
    classes_kernel,
    pixels_kernel,
    softmax_kernel,
)

# Fixed, not tuned at first use: tuning compiles and times every candidate, seconds each in every
# process, and the winner may change between runs, and with it the last bits. Chosen by registers
# and instructions per logit that the compiler reports (studies/cuda_core.md).
PIXELS_TILE = (64, 64)  # pixels and classes of a tile in the kernels that take blocks of pixels
CLASSES_TILE = (32, 128)  # pixels and classes in the one that takes blocks of classes
WARPS = 4
STAGES = 2  # of loads that are under way; a third costs registers, so programs that run at once
PROGRAMS_EACH = 3  # programs of ``classes_kernel`` that a multiprocessor has registers for


def cross_entropy(
    features: Tensor,  # [..., D]
    labels: Tensor,  # [...]
    weight: Tensor,  # [C, D]
    bias: Tensor,  # [C]
    pixel_weights: Tensor | None,  # [...]
    exponent: float = 0.0,
) -> Tensor:
    """Return the mean of the cross-entropies over ln C, differentiable.

    Args:
        features: [..., D] float32 encodings.
        labels: [...] integers; one without a class makes the loss NaN.
        weight: [C, D] float32.
        bias: [C] float32.
        pixel_weights: [...] of a weighted mean; None weighs all alike.
        exponent: q of the robust loss: each pixel's cross-entropy is multiplied by p^q, p being the
            probability of its label (at least 1e-6) and constant to the gradient.
    """
    return _CrossEntropy.apply(features, labels, weight, bias, pixel_weights, float(exponent))


class _CrossEntropy(torch.autograd.Function):
    """The loss and all its gradients in one go; backward only scales them."""

    @staticmethod
    def forward(ctx, features, labels, weight, bias, pixel_weights, exponent):
        with_gradient = any(ctx.needs_input_grad)
        flat = features.detach().reshape(-1, weight.shape[1]).contiguous()
        loss, gradients = _run(
            flat,
            labels.detach().reshape(-1).contiguous(),
            weight.detach().contiguous(),
            bias.detach().contiguous(),
            None if pixel_weights is None else pixel_weights.detach().reshape(-1).contiguous(),
            exponent,
            with_gradient,
        )
        if with_gradient:
            for_features, for_weight, for_bias = gradients
            ctx.save_for_backward(for_features.view(features.shape), for_weight, for_bias)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        for_features, for_weight, for_bias = (gradient * grad for gradient in ctx.saved_tensors)
        return for_features, None, for_weight, for_bias, None, None


def _run(
    features: Tensor,  # [P, D]
    labels: Tensor,  # [P]
    weight: Tensor,
    bias: Tensor,
    pixel_weights: Tensor | None,  # [P]
    exponent: float,
    with_gradient: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the loss and its gradients (features, weight, bias), or none of them."""
    device = features.device
    num_pixels, dim = features.shape
    num_classes = len(weight)
    scale = _scale(num_pixels, num_classes, pixel_weights, device)
    blocks = triton.cdiv(num_pixels, PIXELS_TILE[0])
    kept = num_pixels if with_gradient else 0
    losses = torch.empty(blocks, device=device)
    gradient = torch.empty(kept, dim, device=device)
    log_mass, rest, shares = torch.empty(3, kept, device=device).unbind()
    with on_device(device):
        pixels_kernel[(blocks,)](
            features,
            labels,
            weight,
            bias,
            scale if pixel_weights is None else pixel_weights.to(torch.float32),
            scale,
            losses,
            gradient,
            log_mass,
            rest,
            shares,
            num_pixels,
            num_classes,
            exponent,
            WEIGHTED=pixel_weights is not None,
            ROBUST=exponent != 0.0,
            GRADIENT=with_gradient,
            HALF=_half(),
            **compiled_for(PIXELS_TILE, num_classes, dim),
        )
        if not with_gradient:
            return losses.sum(), ()
        options = compiled_for(CLASSES_TILE, num_classes, dim)
        chunks = triton.cdiv(num_classes, options["BLOCK_C"])
        parts = max(1, PROGRAMS_EACH * processors(device) // chunks)
        parts = min(parts, triton.cdiv(num_pixels, options["BLOCK_P"]))
        for_weight = torch.empty(parts, num_classes, dim, device=device)
        for_bias = torch.empty(parts, num_classes, device=device)
        classes_kernel[(chunks, parts)](
            features,
            labels,
            weight,
            bias,
            log_mass,
            rest,
            shares,
            for_weight,
            for_bias,
            num_pixels,
            num_classes,
            HALF=_half(),
            **options,
        )
    return losses.sum(), (gradient, for_weight.sum(0), for_bias.sum(0))


def _scale(
    num_pixels: int, num_classes: int, pixel_weights: Tensor | None, device: torch.device
) -> Tensor:
    """Return what turns a sum over pixels into the loss, [1]; no loss where all weights are 0."""
    if pixel_weights is None:
        return torch.full((1,), 1.0 / (num_pixels * math.log(num_classes)), device=device)
    total = pixel_weights.sum(dtype=torch.float64)
    norm = torch.where(total > 0.0, total, 1.0) * math.log(num_classes)
    return norm.reciprocal().to(torch.float32).reshape(1)


def compiled_for(tile: tuple[int, int], num_classes: int, dim: int) -> dict[str, int]:
    """Return how to compile a kernel for tiles of so many pixels and, at most, classes."""
    pixels, classes = tile
    return {
        "D": dim,
        "BLOCK_D": _tensor_core_size(dim),
        "BLOCK_P": pixels,
        "BLOCK_C": min(classes, _tensor_core_size(num_classes)),
        "num_warps": WARPS,
        "num_stages": STAGES,
        "enable_fp_fusion": True,  # Triton's default, which is about to change
    }


def _half() -> tl.dtype:
    return tl.float32 if interpreted() else tl.bfloat16


def _tensor_core_size(count: int) -> int:
    return max(16, triton.next_power_of_2(count))


def argmax(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the most probable class of each encoding, [P, D] to [P] int64."""
    best = torch.empty(len(features), dtype=torch.int64, device=features.device)
    if len(features) == 0:
        return best
    with on_device(features.device):
        argmax_kernel[(triton.cdiv(len(features), PIXELS_TILE[0]),)](
            features.contiguous(),
            weight.contiguous(),
            bias.contiguous(),
            best,
            len(features),
            len(weight),
            **compiled_for(PIXELS_TILE, *weight.shape),
        )
    return best


def softmax_at(features: Tensor, weight: Tensor, bias: Tensor, ids: Tensor) -> Tensor:
    """Return the probabilities of ``ids`` [I], valid int64, for each encoding, [P, D] to [P, I]."""
    probs = torch.empty(len(features), len(ids), device=features.device)
    _softmax(features, weight, bias, ids, probs, own=False)
    return probs


def softmax_of_own(features: Tensor, weight: Tensor, bias: Tensor, ids: Tensor) -> Tensor:
    """Return the probability of each encoding's own ID [P], any integer type, NaN without class."""
    probs = torch.empty(len(features), device=features.device)
    _softmax(features, weight, bias, ids, probs, own=True)
    return probs


def _softmax(
    features: Tensor, weight: Tensor, bias: Tensor, ids: Tensor, probs: Tensor, *, own: bool
) -> None:
    if probs.numel() == 0:
        return
    with on_device(features.device):
        softmax_kernel[(triton.cdiv(len(features), PIXELS_TILE[0]),)](
            features.contiguous(),
            weight.contiguous(),
            bias.contiguous(),
            ids.contiguous(),
            probs,
            len(features),
            len(weight),
            len(ids),
            OWN=own,
            **compiled_for(PIXELS_TILE, *weight.shape),
        )
