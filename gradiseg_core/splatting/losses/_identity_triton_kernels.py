"""Kernels of the fused identity head in Triton (see ``_identity_triton.py`` for what they compute).

Products run on tensor cores, in the precision of float32 as far as it matters. Logits: from
operands that are split into two TF32 numbers, 22 bits; ``tl.dot``'s own ``tf32x3`` is the same, but
splits again for every tile and spends two more operations on every logit. Gradients: from operands
that are split into two bfloat16 numbers, 16 bits, because a tile of 16-bit numbers becomes an
operand in registers, without a way through shared memory. ``HALF`` is bfloat16, or float32 in the
interpreter, which cannot multiply bfloat16: the numbers are the same.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.0 / math.log(2.0))
LN2 = tl.constexpr(math.log(2.0))
LEAST_CHANCE = tl.constexpr(1e-6)  # of a label, so that its power is no denormal number


@triton.jit
def split(x):
    """Return x rounded to TF32, and what is left."""
    high = ((x.to(tl.int32, bitcast=True) + 4096) & -8192).to(tl.float32, bitcast=True)
    return high, x - high


@triton.jit
def product(high, low, other_high, other_low, start):
    """Return ``start`` and the product of two split matrices, without that of their low parts."""
    start = tl.dot(low, other_high, start, input_precision="tf32")
    start = tl.dot(high, other_low, start, input_precision="tf32")
    return tl.dot(high, other_high, start, input_precision="tf32")


@triton.jit
def halves(x, HALF: tl.constexpr):
    """Return x rounded to bfloat16, and what is left, rounded to it."""
    high = ((x.to(tl.int32, bitcast=True) + 32768) & -65536).to(tl.float32, bitcast=True)
    return high.to(HALF), (x - high).to(tl.bfloat16).to(HALF)


@triton.jit
def gradient_product(a, b, start, HALF: tl.constexpr):
    """Return ``start`` and the product of two matrices from their halves."""
    a_high, a_low = halves(a, HALF)
    b_high, b_low = halves(b, HALF)
    start = tl.dot(a_low, b_high, start, input_precision="ieee")
    start = tl.dot(a_high, b_low, start, input_precision="ieee")
    return tl.dot(a_high, b_high, start, input_precision="ieee")


@triton.jit
def class_tile(
    weight, bias, first, num_classes, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_C: tl.constexpr
):
    """Return classes [BLOCK_C], their W [BLOCK_C, BLOCK_D] and b; beyond the last, b is -inf."""
    c = first + tl.arange(0, BLOCK_C)
    d = tl.arange(0, BLOCK_D)
    known = c < num_classes
    mask = known[:, None] & (d < D)[None, :]
    w = tl.load(weight + c[:, None] * D + d[None, :], mask=mask, other=0.0)
    return c, w, tl.where(known, tl.load(bias + c, mask=known, other=0.0), -float("inf"))


@triton.jit
def pixel_tile(features, pixels, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_P: tl.constexpr):
    """Return which pixels of a block exist, [BLOCK_P], and x [BLOCK_P, BLOCK_D], 0 elsewhere."""
    pixel = tl.arange(0, BLOCK_P)
    d = tl.arange(0, BLOCK_D)
    there = pixel < pixels
    mask = there[:, None] & (d < D)[None, :]
    return pixel, there, tl.load(features + pixel[:, None] * D + d[None, :], mask=mask, other=0.0)


@triton.jit
def own_logit(weight, bias, ids, num_classes, x, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Return which pixels' IDs have a class, the IDs (0 instead), their W and their logits."""
    valid = (ids >= 0) & (ids < num_classes)
    ids = tl.where(valid, ids, 0).to(tl.int32)
    d = tl.arange(0, BLOCK_D)
    at = ids[:, None] * D + d[None, :]
    w = tl.load(weight + at, mask=(d < D)[None, :], other=0.0)
    return valid, ids, w, (tl.sum(x * w, axis=1) + tl.load(bias + ids)) * LOG2E


@triton.jit
def logits(x_high, x_low, w, b):
    """Return a tile of logits, [BLOCK_P, BLOCK_C], of encodings that were scaled by log2 e."""
    w_high, w_low = split(w)
    start = tl.zeros([x_high.shape[0], w.shape[0]], tl.float32) + (b * LOG2E)[None, :]
    return product(x_high, x_low, tl.trans(w_high), tl.trans(w_low), start)


@triton.jit
def pixels_kernel(
    features,  # [P, D]
    labels,  # [P], any integers
    weight,  # [C, D]
    bias,  # [C]
    pixel_weights,  # [P]; not read unless WEIGHTED
    scale,  # [1], 1 over the number of pixels or the sum of their weights, and over ln C
    losses,  # [programs]
    gradient,  # [P, D]; these four are not written unless GRADIENT
    log_mass,  # [P], log2 T + m
    rest,  # [P], S / T
    shares,  # [P], w
    num_pixels,
    num_classes,
    exponent,  # of the label's probability, as a factor of w; not used unless ROBUST
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    WEIGHTED: tl.constexpr,
    ROBUST: tl.constexpr,
    GRADIENT: tl.constexpr,
    HALF: tl.constexpr,
):
    """Compute a block of pixels: the sum of their losses, and dL/dx."""
    block = tl.program_id(0)
    start = tl.cast(block, tl.int64) * BLOCK_P
    pixel, there, x = pixel_tile(
        features + start * D, num_pixels - block * BLOCK_P, D, BLOCK_D, BLOCK_P
    )
    label = tl.load(labels + start + pixel, mask=there, other=0)
    valid, label, own_w, own = own_logit(weight, bias, label, num_classes, x, D, BLOCK_D)
    x_high, x_low = split(x * LOG2E)
    top = own
    others = tl.zeros([BLOCK_P], tl.float32)  # S
    pull = tl.zeros([BLOCK_P, BLOCK_D], tl.float32)  # sum of e_c W_c
    for first in range(0, num_classes, BLOCK_C):
        c, w, b = class_tile(weight, bias, first, num_classes, D, BLOCK_D, BLOCK_C)
        z = logits(x_high, x_low, w, b)
        higher = tl.maximum(top, tl.max(z, axis=1))
        shrink = tl.exp2(top - higher)
        e = tl.where(c[None, :] == label[:, None], 0.0, tl.exp2(z - higher[:, None]))
        others = others * shrink + tl.sum(e, axis=1)
        if GRADIENT:
            pull = gradient_product(e, w, pull * shrink[:, None], HALF)
        top = higher
    own_mass = tl.exp2(own - top)
    total = others + own_mass
    share = tl.load(scale) + tl.zeros([BLOCK_P], tl.float32)
    if WEIGHTED:
        share *= tl.load(pixel_weights + start + pixel, mask=there, other=0.0)
    if ROBUST:
        share *= tl.exp2(exponent * tl.log2(tl.maximum(own_mass / total, LEAST_CHANCE)))
    share = tl.where(valid, share, float("nan"))
    loss = share * LN2 * (tl.log2(total) + top - own)
    tl.store(losses + block, tl.sum(tl.where(there, loss, 0.0)))
    if GRADIENT:
        left = others / total
        result = share[:, None] * (pull / total[:, None] - left[:, None] * own_w)
        d = tl.arange(0, BLOCK_D)
        at = pixel[:, None] * D + d[None, :]
        tl.store(gradient + start * D + at, result, mask=there[:, None] & (d < D)[None, :])
        tl.store(log_mass + start + pixel, tl.log2(total) + top, mask=there)
        tl.store(rest + start + pixel, left, mask=there)
        tl.store(shares + start + pixel, share, mask=there)


@triton.jit
def classes_kernel(
    features,  # [P, D]
    labels,  # [P]
    weight,  # [C, D]
    bias,  # [C]
    log_mass,  # [P]
    rest,  # [P]
    shares,  # [P]
    for_weight,  # [parts, C, D]
    for_bias,  # [parts, C]
    num_pixels,
    num_classes,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    HALF: tl.constexpr,
):
    """Compute dL/dW and dL/db of a block of classes over one part of the pixels."""
    part = tl.program_id(1)
    c, w, b = class_tile(weight, bias, tl.program_id(0) * BLOCK_C, num_classes, D, BLOCK_D, BLOCK_C)
    w_high, w_low = split(w * LOG2E)
    biased = tl.zeros([BLOCK_C, BLOCK_P], tl.float32) + (b * LOG2E)[:, None]
    weight_sum = tl.zeros([BLOCK_C, BLOCK_D], tl.float32)
    bias_sum = tl.zeros([BLOCK_C], tl.float32)
    for first in range(part * BLOCK_P, num_pixels, tl.num_programs(1) * BLOCK_P):
        start = tl.cast(first, tl.int64)
        pixel, there, x = pixel_tile(features + start * D, num_pixels - first, D, BLOCK_D, BLOCK_P)
        label = tl.load(labels + start + pixel, mask=there, other=0).to(tl.int32)
        # Infinite where there is no pixel: its e is then 0.
        mass = tl.load(log_mass + start + pixel, mask=there, other=0.0)
        mass = tl.where(there, mass, float("inf"))
        left = tl.load(rest + start + pixel, mask=there, other=0.0)
        share = tl.load(shares + start + pixel, mask=there, other=0.0)
        x_high, x_low = split(x)
        z = product(w_high, w_low, tl.trans(x_high), tl.trans(x_low), biased)
        e = tl.where(c[:, None] == label[None, :], -left[None, :], tl.exp2(z - mass[None, :]))
        weight_sum = gradient_product(e, x * share[:, None], weight_sum, HALF)
        bias_sum += tl.sum(e * share[None, :], axis=1)
    d = tl.arange(0, BLOCK_D)
    known = c < num_classes
    row = part * num_classes + c
    mask = known[:, None] & (d < D)[None, :]
    tl.store(for_weight + row[:, None] * D + d[None, :], weight_sum, mask=mask)
    tl.store(for_bias + row, bias_sum, mask=known)


@triton.jit
def argmax_kernel(
    features,  # [P, D]
    weight,  # [C, D]
    bias,  # [C]
    best,  # [P] int64
    num_pixels,
    num_classes,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Find the most probable class, the smallest among equals."""
    block = tl.program_id(0)
    start = tl.cast(block, tl.int64) * BLOCK_P
    pixel, there, x = pixel_tile(
        features + start * D, num_pixels - block * BLOCK_P, D, BLOCK_D, BLOCK_P
    )
    x_high, x_low = split(x * LOG2E)
    top = tl.full([BLOCK_P], -float("inf"), tl.float32)
    winner = tl.zeros([BLOCK_P], tl.int32)
    for first in range(0, num_classes, BLOCK_C):
        _, w, b = class_tile(weight, bias, first, num_classes, D, BLOCK_D, BLOCK_C)
        z = logits(x_high, x_low, w, b)
        highest, place = tl.max(z, axis=1, return_indices=True)
        winner = tl.where(highest > top, first + place, winner)
        top = tl.maximum(top, highest)
    tl.store(best + start + pixel, winner.to(tl.int64), mask=there)


@triton.jit
def softmax_kernel(
    features,  # [P, D]
    weight,  # [C, D]
    bias,  # [C]
    ids,  # [I], or one a pixel, [P], where OWN
    probs,  # [P, I], or [P] where OWN
    num_pixels,
    num_classes,
    num_ids,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    OWN: tl.constexpr,
):
    """Compute the probabilities of some classes, or of every pixel's own."""
    block = tl.program_id(0)
    start = tl.cast(block, tl.int64) * BLOCK_P
    pixel, there, x = pixel_tile(
        features + start * D, num_pixels - block * BLOCK_P, D, BLOCK_D, BLOCK_P
    )
    x_high, x_low = split(x * LOG2E)
    top = tl.full([BLOCK_P], -float("inf"), tl.float32)
    total = tl.zeros([BLOCK_P], tl.float32)
    for first in range(0, num_classes, BLOCK_C):
        _, w, b = class_tile(weight, bias, first, num_classes, D, BLOCK_D, BLOCK_C)
        z = logits(x_high, x_low, w, b)
        higher = tl.maximum(top, tl.max(z, axis=1))
        total = total * tl.exp2(top - higher) + tl.sum(tl.exp2(z - higher[:, None]), axis=1)
        top = higher
    mass = top + tl.log2(total)
    if OWN:
        own = tl.load(ids + start + pixel, mask=there, other=0)
        valid, _, _, z = own_logit(weight, bias, own, num_classes, x, D, BLOCK_D)
        tl.store(
            probs + start + pixel, tl.where(valid, tl.exp2(z - mass), float("nan")), mask=there
        )
    else:
        d = tl.arange(0, BLOCK_D)
        for first in range(0, num_ids, BLOCK_C):
            i = first + tl.arange(0, BLOCK_C)
            wanted = i < num_ids
            c = tl.load(ids + i, mask=wanted, other=0)
            at = c[:, None] * D + d[None, :]
            w = tl.load(weight + at, mask=wanted[:, None] & (d < D)[None, :], other=0.0)
            b = tl.load(bias + c, mask=wanted, other=0.0)
            z = logits(x_high, x_low, w, b)
            to = probs + start * num_ids + pixel[:, None] * num_ids + i[None, :]
            tl.store(to, tl.exp2(z - mass[:, None]), mask=there[:, None] & wanted[None, :])
