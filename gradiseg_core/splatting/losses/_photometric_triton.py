"""L1 + SSIM and its gradient in Triton (see ``photometric.py`` for the notation).

Two passes over the picture forward and two backward, each along one axis, as the window is
separable: (1) blur x, y, x^2 + y^2 and xy down the columns, and add up L1; (2) blur along the rows,
evaluate SSIM and its three partial derivatives; (3) blur those along the rows; (4) down the
columns, and assemble the gradient. The window is symmetric, so the adjoint of a blur is the blur
itself. The picture stays interleaved: a row is 3 W numbers, and neighbours are 3 apart.

With ``A = dSSIM/dmu_x``, ``B = dSSIM/dG*(x^2 + y^2)``, ``C = dSSIM/dG*(xy)`` (mu's part of the
variances folded into A), ``dSSIM/dx = G*A + 2 x (G*B) + y (G*C)``.

Rows of what lies between the passes are padded with zeros on both sides, so that a tap along a row
is a load at a constant distance and no question. A pass reads each number 11 times, ten of them
from the first-level cache. Each program adds up its own tile, and PyTorch the programs, in order:
no atomics, the same bits in every run, no waiting.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from gradiseg_core.compute.triton_runtime import on_device
from gradiseg_core.splatting.losses import window as ssim

# A tile of a pass: (rows, numbers of a row). Down the columns a tile reads 10 more rows than it
# writes, so it is tall; along the rows 30 more numbers, so it is wide.
DOWN = (16, 32)
ALONG = (1, 512)
WARPS = 4

PAD = tl.constexpr(16)  # numbers in front of a padded row; at least 15 follow it
RADIUS = tl.constexpr(ssim.WINDOW_RADIUS)
C1 = tl.constexpr(ssim.C1)
C2 = tl.constexpr(ssim.C2)
_WINDOW = ssim.window()


@triton.constexpr_function
def tap(k):
    """Return the k-th weight of the window."""
    return _WINDOW[k]


@triton.jit
def tile(height, row, BLOCK_Y: tl.constexpr, BLOCK_X: tl.constexpr):
    """Return a program's number, its rows [BLOCK_Y, 1], its numbers of a row, and which exist."""
    program = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    y = tl.program_id(1) * BLOCK_Y + tl.arange(0, BLOCK_Y)[:, None]
    x = tl.program_id(0) * BLOCK_X - PAD + tl.arange(0, BLOCK_X)[None, :]
    return program, y, x, (x >= 0) & (x < row) & (y < height)


@triton.jit
def moments_kernel(
    rendered,  # [H, 3 W]
    target,  # [H, 3 W]
    blurred,  # [4, H, stride]
    differences,  # [programs]
    height,
    row,
    stride,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    """Pass 1: blur x, y, x^2 + y^2 and xy down the columns; add up |x - y|."""
    program, y, x, there = tile(height, row, BLOCK_Y, BLOCK_X)
    zero = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)
    mean_a, mean_b, square, product = zero, zero, zero, zero
    at = y * row + x
    for k in tl.static_range(2 * RADIUS + 1):
        mask = there & (y + (k - RADIUS) >= 0) & (y + (k - RADIUS) < height)
        a = tl.load(rendered + at + (k - RADIUS) * row, mask=mask, other=0.0)
        b = tl.load(target + at + (k - RADIUS) * row, mask=mask, other=0.0)
        mean_a += tap(k) * a
        mean_b += tap(k) * b
        square += tap(k) * (a * a + b * b)
        product += tap(k) * (a * b)
    to = blurred + y * stride + x + PAD
    plane = height * stride
    mask = (y < height) & (x < stride - PAD)
    tl.store(to, mean_a, mask=mask)
    tl.store(to + plane, mean_b, mask=mask)
    tl.store(to + 2 * plane, square, mask=mask)
    tl.store(to + 3 * plane, product, mask=mask)
    a = tl.load(rendered + at, mask=there, other=0.0)
    b = tl.load(target + at, mask=there, other=0.0)
    tl.store(differences + program, tl.sum(tl.abs(a - b)))


@triton.jit
def similarity_kernel(
    blurred,  # [4, H, stride], down the columns
    partials,  # [3, H, stride]; not written unless GRADIENT
    similarities,  # [programs]
    height,
    row,
    stride,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
    GRADIENT: tl.constexpr,
):
    """Pass 2: blur along the rows; add up SSIM, write A, B and C."""
    program, y, x, there = tile(height, row, BLOCK_Y, BLOCK_X)
    zero = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)
    mean_a, mean_b, square, product = zero, zero, zero, zero
    plane = height * stride
    at = y * stride + x + PAD
    first, second = blurred + at, blurred + plane + at
    third, fourth = blurred + 2 * plane + at, blurred + 3 * plane + at
    for k in tl.static_range(2 * RADIUS + 1):
        step = 3 * (k - RADIUS)
        mean_a += tap(k) * tl.load(first + step, mask=there, other=0.0)
        mean_b += tap(k) * tl.load(second + step, mask=there, other=0.0)
        square += tap(k) * tl.load(third + step, mask=there, other=0.0)
        product += tap(k) * tl.load(fourth + step, mask=there, other=0.0)
    mean_ab = mean_a * mean_b
    mean_square = mean_a * mean_a + mean_b * mean_b
    top1 = 2.0 * mean_ab + C1
    top2 = 2.0 * (product - mean_ab) + C2
    bottom1 = mean_square + C1
    bottom2 = square - mean_square + C2
    norm = 1.0 / (bottom1 * bottom2)
    value = tl.where(there, top1 * top2 * norm, 0.0)
    tl.store(similarities + program, tl.sum(value))
    if GRADIENT:
        # 1 / bottom2 - 1 / bottom1, and the quotients of value, from the one quotient.
        for_mean = 2.0 * norm * (mean_b * (top2 - top1) + mean_a * value * (bottom1 - bottom2))
        for_square = -value * norm * bottom1
        for_product = tl.where(there, 2.0 * top1 * norm, 0.0)
        mask = (y < height) & (x < stride - PAD)
        tl.store(partials + at, for_mean, mask=mask)
        tl.store(partials + plane + at, for_square, mask=mask)
        tl.store(partials + 2 * plane + at, for_product, mask=mask)


@triton.jit
def blur_partials_kernel(
    partials,  # [3, H, stride]
    blurred,  # [3, H, stride]
    height,
    row,
    stride,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    """Pass 3: blur A, B and C along the rows."""
    _, y, x, there = tile(height, row, BLOCK_Y, BLOCK_X)
    at = y * stride + x + PAD
    for partial in tl.static_range(3):
        source = partials + partial * height * stride + at
        total = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)
        for k in tl.static_range(2 * RADIUS + 1):
            total += tap(k) * tl.load(source + 3 * (k - RADIUS), mask=there, other=0.0)
        tl.store(blurred + partial * height * stride + at, total, mask=there)


@triton.jit
def gradient_kernel(
    rendered,  # [H, 3 W]
    target,  # [H, 3 W]
    blurred,  # [3, H, stride], along the rows
    upstream,  # [], dL/d total
    gradient,  # [H, 3 W]
    height,
    row,
    stride,
    l1_share,  # of a pixel's |x - y| in the loss
    ssim_share,  # of a pixel's SSIM in the loss, negative
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    """Pass 4: blur A, B and C down the columns; write the gradient of the rendering."""
    _, y, x, there = tile(height, row, BLOCK_Y, BLOCK_X)
    zero = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)
    for_mean, for_square, for_product = zero, zero, zero
    plane = height * stride
    at = y * stride + x + PAD
    first, second, third = blurred + at, blurred + plane + at, blurred + 2 * plane + at
    for k in tl.static_range(2 * RADIUS + 1):
        mask = there & (y + (k - RADIUS) >= 0) & (y + (k - RADIUS) < height)
        step = (k - RADIUS) * stride
        for_mean += tap(k) * tl.load(first + step, mask=mask, other=0.0)
        for_square += tap(k) * tl.load(second + step, mask=mask, other=0.0)
        for_product += tap(k) * tl.load(third + step, mask=mask, other=0.0)
    at = y * row + x
    a = tl.load(rendered + at, mask=there, other=0.0)
    b = tl.load(target + at, mask=there, other=0.0)
    sign = tl.where(a > b, 1.0, tl.where(a < b, -1.0, 0.0))
    result = l1_share * sign + ssim_share * (for_mean + 2.0 * a * for_square + b * for_product)
    tl.store(gradient + at, tl.load(upstream) * result, mask=there)


def loss(
    rendered: Tensor,  # [H, W, 3]
    target: Tensor,  # [H, W, 3]
    lambda_dssim: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss, differentiable with respect to the rendering, and L1 and SSIM, detached."""
    return _Photometric.apply(rendered, target, lambda_dssim)


class _Photometric(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rendered, target, lambda_dssim):
        rendered, target = rendered.detach().contiguous(), target.detach().contiguous()
        height, width, channels = rendered.shape
        row = width * channels
        reach = channels * ssim.WINDOW_RADIUS
        stride = 16 * triton.cdiv(PAD.value + row + reach, 16)  # aligned, as vectors want it
        size = (height, row, stride)
        with_gradient = ctx.needs_input_grad[0]
        blurred = rendered.new_empty(4, height, stride)
        partials = rendered.new_empty(3 if with_gradient else 0, height, stride)
        down, along = _grid(DOWN, height, stride), _grid(ALONG, height, stride)
        differences = rendered.new_empty(down)
        similarities = rendered.new_empty(along)
        with on_device(rendered.device):
            moments_kernel[down](
                rendered, target, blurred, differences, *size, **compiled_for(DOWN)
            )
            similarity_kernel[along](
                blurred,
                partials,
                similarities,
                *size,
                GRADIENT=with_gradient,
                **compiled_for(ALONG),
            )
        count = rendered.numel()
        l1, similarity = differences.sum() / count, similarities.sum() / count
        total = (1.0 - lambda_dssim) * l1 + lambda_dssim * (1.0 - similarity)
        ctx.save_for_backward(rendered, target, partials)
        ctx.size, ctx.shares = size, ((1.0 - lambda_dssim) / count, -lambda_dssim / count)
        ctx.mark_non_differentiable(l1, similarity)
        return total, l1, similarity

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _l1, _ssim):
        rendered, target, partials = ctx.saved_tensors
        blurred, gradient = torch.empty_like(partials), torch.empty_like(rendered)
        height, _, stride = ctx.size
        with on_device(rendered.device):
            blur_partials_kernel[_grid(ALONG, height, stride)](
                partials, blurred, *ctx.size, **compiled_for(ALONG)
            )
            gradient_kernel[_grid(DOWN, height, stride)](
                rendered,
                target,
                blurred,
                grad.contiguous(),
                gradient,
                *ctx.size,
                *ctx.shares,
                **compiled_for(DOWN),
            )
        return gradient, None, None


def compiled_for(block: tuple[int, int]) -> dict[str, int]:
    """Return how to compile a pass for tiles of so many rows and numbers."""
    return {
        "BLOCK_Y": block[0],
        "BLOCK_X": block[1],
        "num_warps": WARPS,
        "enable_fp_fusion": True,  # Triton's default, which is about to change
    }


def _grid(block: tuple[int, int], height: int, stride: int) -> tuple[int, int]:
    return triton.cdiv(stride, block[1]), triton.cdiv(height, block[0])
