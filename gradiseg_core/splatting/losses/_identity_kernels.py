"""Fused identity head in numba: linear layer, softmax, cross-entropy and all gradients in one pass.

Pixels are taken in blocks of 64. One block's logits, [C, 64], fit the second-level cache and are
all that ever exists of the [H, W, C] logits. With z = W x + b, m = max_c z and e = exp(z - m):

    loss  = sum_l w_l (ln sum_c e - (z_y - m))
    dL/dz = w_l (e / sum_c e - [c = y])

so that gradients need no pass of their own over the classes: the factor ``w_l / sum_c e`` is a
pixel's, and is applied to its encoding (for dW) or to its finished gradient (for dx), and
subtracting ``sum_c e`` from the label's e makes e itself the remaining factor.

All three matrix products run with accumulators in registers: the logits with pixels as vector
lanes (the maximum over classes is then elementwise), dx and dW with dimensions as lanes. W and b
are scaled by log2(e) first, so that exp is 2**. C is padded to a multiple of 8 by classes of
logit -1e30, D to a multiple of 16 by zeros.

Bands of consecutive blocks own one partial dW each; they are as many for one thread as for many,
and are added in order, so that results are equal whatever the threads do.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute import simd as v
from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take

BLOCK = 64  # pixels
BANDS = 32  # of blocks; threads take one after another
TILE = 8  # accumulators of a register tile; C is padded to its multiple

# NaN and infinity keep their meaning, so that a diverging run shows itself in the loss.
_FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
_LN2 = math.log(2.0)
_LOG2E = 1.0 / _LN2


def cross_entropy(
    features: NDArray[np.float32],  # [P, D]
    labels: NDArray[np.int32],  # [P], valid
    weight: NDArray[np.float32],  # [C, D]
    bias: NDArray[np.float32],  # [C]
    pixel_weights: NDArray[np.float32] | None,  # [P]
    *,
    scale: float,
    with_gradient: bool,
) -> tuple[float, tuple[NDArray, NDArray, NDArray] | None]:
    """Return ``scale * sum_l w_l CE_l`` and its gradients (features, weight, bias) or None."""
    num_pixels, dim = features.shape
    num_classes = weight.shape[0]
    scaled, plain, scaled_bias = _padded(weight, bias)
    bands = min(BANDS, -(-num_pixels // BLOCK))
    losses = np.zeros(bands)
    gradient = np.empty((num_pixels if with_gradient else 0, dim), dtype=np.float32)
    for_weight = np.zeros((bands if with_gradient else 0, plain.size), dtype=np.float32)
    for_bias = np.zeros((for_weight.shape[0], scaled_bias.size * v.LANES), dtype=np.float32)
    if pixel_weights is None:
        pixel_weights = np.empty(0, dtype=np.float32)
    run_queue(
        _loss_bands,
        bands,
        features,
        labels,
        pixel_weights,
        scaled,
        plain,
        scaled_bias,
        np.float32(scale),
        losses,
        gradient,
        for_weight,
        for_bias,
    )
    loss = float(losses.sum()) * scale
    if not with_gradient:
        return loss, None
    padded_dim = plain.size // scaled_bias.size
    d_weight = for_weight.sum(0).reshape(-1, padded_dim)[:num_classes, :dim] * np.float32(scale)
    d_bias = for_bias.sum(0).reshape(-1, v.LANES).sum(1)[:num_classes] * np.float32(scale)
    return loss, (gradient, np.ascontiguousarray(d_weight), d_bias)


def argmax(
    features: NDArray[np.float32],  # [P, D]
    weight: NDArray[np.float32],  # [C, D]
    bias: NDArray[np.float32],  # [C]
) -> NDArray[np.int64]:
    """Return the most probable class of every encoding, [P]; the smallest among equals."""
    scaled, _, scaled_bias = _padded(weight, bias)
    best = np.empty(len(features), dtype=np.int64)
    run_queue(_argmax_bands, BANDS, features, scaled, scaled_bias, best)
    return best


def softmax_at(
    features: NDArray[np.float32],  # [P, D]
    weight: NDArray[np.float32],  # [C, D]
    bias: NDArray[np.float32],  # [C]
    ids: NDArray[np.int64],  # [I], valid
) -> NDArray[np.float32]:
    """Return the probabilities of ``ids`` for every encoding, [P, I]."""
    scaled, _, scaled_bias = _padded(weight, bias)
    chosen = np.empty((len(features), len(ids)), dtype=np.float32)
    run_queue(_softmax_bands, BANDS, features, scaled, scaled_bias, ids, chosen)
    return chosen


def _padded(weight: NDArray, bias: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return W log2(e) [Cp, D], W [Cp, Dp] (both flat) and b log2(e) [Cp]."""
    num_classes, dim = weight.shape
    classes = -(-num_classes // TILE) * TILE
    padded_dim = -(-dim // v.LANES) * v.LANES
    scaled = np.zeros((classes, dim), dtype=np.float32)
    scaled[:num_classes] = weight * np.float32(_LOG2E)
    plain = np.zeros((classes, padded_dim), dtype=np.float32)
    plain[:num_classes, :dim] = weight
    scaled_bias = np.full(classes, -1e30, dtype=np.float32)
    scaled_bias[:num_classes] = bias * np.float32(_LOG2E)
    return scaled.reshape(-1), plain.reshape(-1), scaled_bias


@kernel(fastmath=_FASTMATH)
def _loss_bands(
    queue,
    features,
    labels,
    pixel_weights,
    scaled,
    plain,
    scaled_bias,
    scale,
    losses,
    gradient,
    for_weight,
    for_bias,
):
    """Run bands of blocks; see ``cross_entropy`` for the outputs."""
    num_pixels, dim = features.shape
    classes = scaled_bias.size
    padded_dim = plain.size // classes
    blocks = -(-num_pixels // BLOCK)
    bands = losses.size
    with_gradient = gradient.shape[0] > 0
    columns = np.zeros(dim * BLOCK, dtype=np.float32)
    logits = np.empty(classes * BLOCK, dtype=np.float32)
    top = np.empty(BLOCK, dtype=np.float32)
    mass = np.empty(BLOCK, dtype=np.float32)
    rows = np.zeros(BLOCK * padded_dim, dtype=np.float32)
    result = np.empty(BLOCK * padded_dim, dtype=np.float32)
    band = take(queue)
    while band < bands:
        for block in range(blocks * band // bands, blocks * (band + 1) // bands):
            first = block * BLOCK
            count = min(BLOCK, num_pixels - first)
            _fill_columns(features, first, count, columns)
            _logits(columns, scaled, scaled_bias, dim, logits, top)
            losses[band] += _target_logits(labels, pixel_weights, first, count, logits, top)
            _exponentials(logits, top, classes, mass)
            if with_gradient:
                for pixel in range(count):
                    logits[labels[first + pixel] * BLOCK + pixel] -= mass[pixel]
            losses[band] += _finish_mass(pixel_weights, first, count, mass)
            if with_gradient:
                _gradients_of_block(
                    features,
                    plain,
                    scale,
                    first,
                    count,
                    logits,
                    mass,
                    rows,
                    result,
                    gradient,
                    for_weight[band],
                    for_bias[band],
                )
        band = take(queue)


@kernel(fastmath=_FASTMATH)
def _fill_columns(features, first, count, columns):
    """Write a block's encodings as ``columns`` [D, BLOCK], zero beyond ``count``."""
    dim = features.shape[1]
    if count < BLOCK:
        columns[:] = np.float32(0.0)
    for pixel in range(count):
        for d in range(dim):
            columns[d * BLOCK + pixel] = features[first + pixel, d]


@kernel(fastmath=_FASTMATH)
def _maximum(a, b):
    """Return the larger of each pair of lanes."""
    return v.where(a > b, a, b)


@kernel(fastmath=_FASTMATH)
def _logits(columns, scaled, scaled_bias, dim, logits, top):
    """Write ``logits`` [C, BLOCK] (times log2 e) and their maximum over classes ``top``."""
    for half in range(0, BLOCK, 2 * v.LANES):
        top0 = v.splat(-3e38)
        top1 = v.splat(-3e38)
        for c in range(0, scaled_bias.size, 4):
            a0 = v.splat(scaled_bias[c])
            b0 = v.splat(scaled_bias[c + 1])
            c0 = v.splat(scaled_bias[c + 2])
            d0 = v.splat(scaled_bias[c + 3])
            a1, b1, c1, d1 = a0, b0, c0, d0
            for k in range(dim):
                x0 = v.load(columns, k * BLOCK + half)
                x1 = v.load(columns, k * BLOCK + half + v.LANES)
                w = v.splat(scaled[c * dim + k])
                a0 = w * x0 + a0
                a1 = w * x1 + a1
                w = v.splat(scaled[(c + 1) * dim + k])
                b0 = w * x0 + b0
                b1 = w * x1 + b1
                w = v.splat(scaled[(c + 2) * dim + k])
                c0 = w * x0 + c0
                c1 = w * x1 + c1
                w = v.splat(scaled[(c + 3) * dim + k])
                d0 = w * x0 + d0
                d1 = w * x1 + d1
            at = c * BLOCK + half
            v.store(logits, at, a0)
            v.store(logits, at + v.LANES, a1)
            v.store(logits, at + BLOCK, b0)
            v.store(logits, at + BLOCK + v.LANES, b1)
            v.store(logits, at + 2 * BLOCK, c0)
            v.store(logits, at + 2 * BLOCK + v.LANES, c1)
            v.store(logits, at + 3 * BLOCK, d0)
            v.store(logits, at + 3 * BLOCK + v.LANES, d1)
            top0 = _maximum(top0, _maximum(_maximum(a0, b0), _maximum(c0, d0)))
            top1 = _maximum(top1, _maximum(_maximum(a1, b1), _maximum(c1, d1)))
        v.store(top, half, top0)
        v.store(top, half + v.LANES, top1)


@kernel(fastmath=_FASTMATH)
def _exponentials(logits, top, classes, mass):
    """Replace logits by 2**(logit - top) and write their sum over classes ``mass``.

    Below 2**-80 they become 0: nothing beside a sum of at least 1, and products with smaller ones
    would be denormal numbers, which cost a hundred cycles each.
    """
    lowest = v.splat(-80.0)
    zero = v.splat(0.0)
    for lane in range(0, BLOCK, v.LANES):
        highest = v.load(top, lane)
        total = zero
        for c in range(classes):
            exponent = v.load(logits, c * BLOCK + lane) - highest
            value = v.where(exponent > lowest, v.exp2(_maximum(exponent, lowest)), zero)
            v.store(logits, c * BLOCK + lane, value)
            total = total + value
        v.store(mass, lane, total)


@kernel(fastmath=_FASTMATH)
def _target_logits(labels, pixel_weights, first, count, logits, top):
    """Return ``-sum_l w_l (z_y - m)`` of a block."""
    total = 0.0
    for pixel in range(count):
        value = top[pixel] - logits[labels[first + pixel] * BLOCK + pixel]
        if pixel_weights.size > 0:
            value *= pixel_weights[first + pixel]
        total += value
    return total * _LN2


@kernel(fastmath=_FASTMATH)
def _finish_mass(pixel_weights, first, count, mass):
    """Return ``sum_l w_l ln(mass_l)``; replace ``mass`` by ``w_l / mass_l``, 0 beyond ``count``."""
    total = 0.0
    if pixel_weights.size > 0:
        for pixel in range(count):
            weight = pixel_weights[first + pixel]
            total += weight * math.log(mass[pixel])
            mass[pixel] = weight / mass[pixel]
    else:
        # A product of 16 masses (each 1..C) is far from overflow: one logarithm for all.
        for start in range(0, count, 16):
            product = 1.0
            for pixel in range(start, min(start + 16, count)):
                product *= mass[pixel]
                mass[pixel] = np.float32(1.0) / mass[pixel]
            total += math.log(product)
    mass[count:] = np.float32(0.0)
    return total


@kernel(fastmath=_FASTMATH)
def _gradients_of_block(
    features,
    plain,
    scale,
    first,
    count,
    deviations,
    factor,
    rows,
    result,
    gradient,
    for_weight,
    for_bias,
):
    """Write a block's dx and add its share of dW and of db (16 partial sums a class).

    ``deviations`` [C, BLOCK] are ``e - [c = y] sum_c e``; ``factor`` [BLOCK] is ``w / sum_c e``.
    """
    dim = features.shape[1]
    classes = deviations.size // BLOCK
    padded_dim = plain.size // classes
    result[:] = np.float32(0.0)
    for column in range(0, padded_dim, v.LANES):
        for pixel in range(0, BLOCK, TILE):
            at = pixel * padded_dim + column
            _add_products(
                result, at, padded_dim, deviations, pixel, 1, BLOCK, plain, column, classes
            )
    if count < BLOCK:
        rows[:] = np.float32(0.0)
    for pixel in range(count):
        share = factor[pixel]
        if dim == padded_dim:
            for d in range(0, dim, v.LANES):
                at = pixel * dim + d
                v.store(rows, at, share * v.load(features, first * dim + at))
                v.store(gradient, first * dim + at, scale * share * v.load(result, at))
        else:
            for d in range(dim):
                at = pixel * padded_dim + d
                rows[at] = share * features[first + pixel, d]
                gradient[first + pixel, d] = scale * share * result[at]
    for column in range(0, padded_dim, v.LANES):
        for c in range(0, classes, TILE):
            at = c * padded_dim + column
            _add_products(
                for_weight, at, padded_dim, deviations, c * BLOCK, BLOCK, 1, rows, column, BLOCK
            )
    f0 = v.load(factor, 0)
    f1 = v.load(factor, v.LANES)
    f2 = v.load(factor, 2 * v.LANES)
    f3 = v.load(factor, 3 * v.LANES)
    for c in range(classes):
        at = c * BLOCK
        value = f0 * v.load(deviations, at) + v.load(for_bias, c * v.LANES)
        value = f1 * v.load(deviations, at + v.LANES) + value
        value = f2 * v.load(deviations, at + 2 * v.LANES) + value
        value = f3 * v.load(deviations, at + 3 * v.LANES) + value
        v.store(for_bias, c * v.LANES, value)


@kernel(fastmath=_FASTMATH)
def _add_products(out, at, out_row, a, a_at, a_row, a_step, b, b_at, count):
    """Add a register tile: ``out[at + r out_row :] += sum_k a[a_at + r a_row + k a_step] b[k]``.

    Eight rows r of 16 columns; row k of b starts at ``b_at + k * out_row``.
    """
    s0 = v.load(out, at)
    s1 = v.load(out, at + out_row)
    s2 = v.load(out, at + 2 * out_row)
    s3 = v.load(out, at + 3 * out_row)
    s4 = v.load(out, at + 4 * out_row)
    s5 = v.load(out, at + 5 * out_row)
    s6 = v.load(out, at + 6 * out_row)
    s7 = v.load(out, at + 7 * out_row)
    for k in range(count):
        row = v.load(b, b_at + k * out_row)
        from_a = a_at + k * a_step
        s0 = v.splat(a[from_a]) * row + s0
        s1 = v.splat(a[from_a + a_row]) * row + s1
        s2 = v.splat(a[from_a + 2 * a_row]) * row + s2
        s3 = v.splat(a[from_a + 3 * a_row]) * row + s3
        s4 = v.splat(a[from_a + 4 * a_row]) * row + s4
        s5 = v.splat(a[from_a + 5 * a_row]) * row + s5
        s6 = v.splat(a[from_a + 6 * a_row]) * row + s6
        s7 = v.splat(a[from_a + 7 * a_row]) * row + s7
    v.store(out, at, s0)
    v.store(out, at + out_row, s1)
    v.store(out, at + 2 * out_row, s2)
    v.store(out, at + 3 * out_row, s3)
    v.store(out, at + 4 * out_row, s4)
    v.store(out, at + 5 * out_row, s5)
    v.store(out, at + 6 * out_row, s6)
    v.store(out, at + 7 * out_row, s7)


@kernel(fastmath=_FASTMATH)
def _argmax_bands(queue, features, scaled, scaled_bias, best):
    """Write the most probable class of every encoding."""
    num_pixels, dim = features.shape
    classes = scaled_bias.size
    blocks = -(-num_pixels // BLOCK)
    columns = np.zeros(dim * BLOCK, dtype=np.float32)
    logits = np.empty(classes * BLOCK, dtype=np.float32)
    top = np.empty(BLOCK, dtype=np.float32)
    winner = np.zeros(BLOCK, dtype=np.int32)
    band = take(queue)
    while band < BANDS:
        for block in range(blocks * band // BANDS, blocks * (band + 1) // BANDS):
            first = block * BLOCK
            count = min(BLOCK, num_pixels - first)
            _fill_columns(features, first, count, columns)
            _logits(columns, scaled, scaled_bias, dim, logits, top)
            winner[:] = 0  # of NaN, whatever block came before
            for c in range(classes - 1, -1, -1):
                for pixel in range(BLOCK):
                    if logits[c * BLOCK + pixel] == top[pixel]:
                        winner[pixel] = c
            for pixel in range(count):
                best[first + pixel] = winner[pixel]
        band = take(queue)


@kernel(fastmath=_FASTMATH)
def _softmax_bands(queue, features, scaled, scaled_bias, ids, chosen):
    """Write the probabilities of ``ids`` for every encoding."""
    num_pixels, dim = features.shape
    classes = scaled_bias.size
    blocks = -(-num_pixels // BLOCK)
    columns = np.zeros(dim * BLOCK, dtype=np.float32)
    logits = np.empty(classes * BLOCK, dtype=np.float32)
    top = np.empty(BLOCK, dtype=np.float32)
    mass = np.empty(BLOCK, dtype=np.float32)
    band = take(queue)
    while band < BANDS:
        for block in range(blocks * band // BANDS, blocks * (band + 1) // BANDS):
            first = block * BLOCK
            count = min(BLOCK, num_pixels - first)
            _fill_columns(features, first, count, columns)
            _logits(columns, scaled, scaled_bias, dim, logits, top)
            _exponentials(logits, top, classes, mass)
            for pixel in range(count):
                for i in range(ids.size):
                    value = logits[ids[i] * BLOCK + pixel] / mass[pixel]
                    chosen[first + pixel, i] = value
        band = take(queue)
