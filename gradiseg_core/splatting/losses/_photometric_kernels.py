"""Fused L1 + SSIM with the gradient of the rendering, in numba (see ``photometric.py``).

Three passes over the picture, each parallel over bands of rows: (1) blur x, y, x^2 + y^2 and xy
along the rows; (2) blur down the columns, evaluate SSIM and its three partial derivatives at each
pixel, and blur those along the row; (3) blur the derivatives down the columns and assemble the
gradient. The window is symmetric, so the adjoint of a blur is the blur itself. The picture stays
interleaved: a row is 3 W floats in which horizontal neighbours are 3 apart.

With ``A = dSSIM/dmu_x``, ``B = dSSIM/dG*(x^2 + y^2)``, ``C = dSSIM/dG*(xy)`` (mu's part of the
variances folded into A), ``dSSIM/dx = G*A + 2 x (G*B) + y (G*C)``.

Sums go into one float64 a row and are added in order, and every pixel is computed the same way
whoever does it: results do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute import simd as v
from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take
from gradiseg_core.splatting.losses.window import C1, C2, WINDOW_RADIUS, window

TAPS = 2 * WINDOW_RADIUS + 1
PAD = 3 * WINDOW_RADIUS  # floats in front of a padded row: the window's reach, 3 floats a pixel

BANDS = 16  # of rows; threads take one after another

# NaN and infinity keep their meaning, so that a diverging run shows itself in the loss.
_FASTMATH = {"contract", "reassoc", "arcp", "nsz"}
_WINDOW = np.array(window(), dtype=np.float32)


def run(
    rendered: NDArray[np.float32],  # [H, W, 3]
    target: NDArray[np.float32],  # [H, W, 3]
    lambda_dssim: float,
    *,
    with_gradient: bool,
) -> tuple[float, float, NDArray[np.float32] | None]:
    """Return L1, SSIM (NaN at ``lambda_dssim`` 0) and the loss's gradient, [H, W, 3] or None."""
    height, width, _ = rendered.shape
    row = 3 * width
    stride = -(-row // v.LANES) * v.LANES
    x, y = rendered.reshape(-1), target.reshape(-1)
    gradient = np.empty(height * row + v.LANES if with_gradient else 0, dtype=np.float32)
    sums = np.zeros((height, 2))
    if lambda_dssim == 0.0:
        run_queue(_l1_rows, BANDS, x, y, row, np.float32(1.0 / x.size), gradient, sums)
        similarity = np.nan
    else:
        # Rows are padded to whole vectors, and 5 rows of zeros stand above and below the picture.
        rows = height + 2 * WINDOW_RADIUS
        blurred = np.empty(rows * 4 * stride, dtype=np.float32)
        partials = np.empty((rows * 3 if with_gradient else 0) * stride, dtype=np.float32)
        size = (row, stride, height)
        run_queue(_blur_rows, BANDS, x, y, *size, _WINDOW, blurred)
        run_queue(_ssim_rows, BANDS, *size, _WINDOW, blurred, partials, sums, with_gradient)
        scales = np.array([(1.0 - lambda_dssim) / x.size, -lambda_dssim / x.size], dtype=np.float32)
        run_queue(_gradient_rows, BANDS, x, y, *size, _WINDOW, partials, scales, gradient, sums)
        similarity = float(sums[:, 1].sum()) / x.size
    l1 = float(sums[:, 0].sum()) / x.size
    return l1, similarity, gradient[: x.size].reshape(rendered.shape) if with_gradient else None


@kernel()
def _rows_of(band, rows):
    """Return the rows of a band, a range."""
    return range(rows * band // BANDS, rows * (band + 1) // BANDS)


@kernel(fastmath=_FASTMATH)
def _l1_rows(queue, x, y, row, scale, gradient, sums):
    """Sum |x - y| of every row; write its gradient times ``scale`` unless it is empty."""
    band = take(queue)
    while band < BANDS:
        for r in _rows_of(band, sums.shape[0]):
            sums[r, 0] = _l1_row(x, y, r * row, row, scale, gradient)
        band = take(queue)


@kernel(fastmath=_FASTMATH)
def _l1_row(x, y, start, row, scale, gradient):
    total = 0.0
    for j in range(start, start + row):
        difference = x[j] - y[j]
        total += abs(difference)
        if gradient.size > 0:
            gradient[j] = scale * np.sign(difference)
    return total


@kernel(fastmath=_FASTMATH)
def _blur_rows(queue, x, y, row, stride, height, weights, blurred):
    """Pass 1: ``blurred[r + 5, m]`` is row r of map m (x, y, x^2 + y^2, xy) blurred along it."""
    band = take(queue)
    while band < BANDS:
        for r in _rows_of(band, height + 2 * WINDOW_RADIUS):
            inside = r - WINDOW_RADIUS
            if 0 <= inside < height:
                padded = np.zeros(4 * (stride + 2 * PAD), dtype=np.float32)
                _fill_row(x, y, inside * row, row, stride, padded)
                _blur_along(padded, 4, stride, weights, blurred, r * 4 * stride)
            else:
                blurred[r * 4 * stride : (r + 1) * 4 * stride] = np.float32(0.0)
        band = take(queue)


@kernel(fastmath=_FASTMATH)
def _fill_row(x, y, start, row, stride, padded):
    """Write the four maps of one row into ``padded`` [4, PAD + stride + PAD]."""
    length = stride + 2 * PAD
    for j in range(row):
        a = x[start + j]
        b = y[start + j]
        padded[PAD + j] = a
        padded[length + PAD + j] = b
        padded[2 * length + PAD + j] = a * a + b * b
        padded[3 * length + PAD + j] = a * b


@kernel(fastmath=_FASTMATH)
def _blur_along(padded, maps, stride, weights, out, start):
    """Blur ``padded`` [maps, PAD + stride + PAD] along the row into ``out[start:]``."""
    length = stride + 2 * PAD
    for m in range(maps):
        for j in range(0, stride, v.LANES):
            value = v.splat(0.0)
            for k in range(TAPS):
                value = v.splat(weights[k]) * v.load(padded, m * length + j + 3 * k) + value
            v.store(out, start + m * stride + j, value)


@kernel(fastmath=_FASTMATH)
def _ssim_rows(queue, row, stride, height, weights, blurred, partials, sums, with_gradient):
    """Pass 2: sum SSIM of every row; ``partials[r + 5, m]`` is A, B or C blurred along row r."""
    band = take(queue)
    while band < BANDS:
        for r in _rows_of(band, height + 2 * WINDOW_RADIUS):
            inside = r - WINDOW_RADIUS
            if 0 <= inside < height:
                padded = np.zeros(4 * (stride + 2 * PAD), dtype=np.float32)
                _ssim_row(row, stride, inside, weights, blurred, padded)
                sums[inside, 1] = _sum_tail_cleared(padded, row, stride)
                if with_gradient:
                    _blur_along(padded, 3, stride, weights, partials, r * 3 * stride)
            elif with_gradient:
                partials[r * 3 * stride : (r + 1) * 3 * stride] = np.float32(0.0)
        band = take(queue)


@kernel(fastmath=_FASTMATH)
def _ssim_row(row, stride, r, weights, blurred, padded):
    """Write A, B, C and SSIM of row ``r`` into ``padded`` [4, PAD + stride + PAD]."""
    length = stride + 2 * PAD
    for j in range(0, stride, v.LANES):
        mu_x = v.splat(0.0)
        mu_y = v.splat(0.0)
        square = v.splat(0.0)
        product = v.splat(0.0)
        for k in range(TAPS):
            at = (r + k) * 4 * stride + j
            weight = v.splat(weights[k])
            mu_x = weight * v.load(blurred, at) + mu_x
            mu_y = weight * v.load(blurred, at + stride) + mu_y
            square = weight * v.load(blurred, at + 2 * stride) + square
            product = weight * v.load(blurred, at + 3 * stride) + product
        mu_xy = mu_x * mu_y
        mu_2 = mu_x * mu_x + mu_y * mu_y
        top_mean = 2.0 * mu_xy + C1
        top_structure = 2.0 * (product - mu_xy) + C2
        bottom_mean = mu_2 + C1
        bottom_structure = square - mu_2 + C2
        inverse = v.reciprocal(bottom_mean * bottom_structure)
        similarity = top_mean * top_structure * inverse
        # dSSIM/dmu_x = 2 mu_y (N2 - N1) / (D1 D2) - 2 mu_x SSIM (1/D1 - 1/D2)
        per_y = (top_structure - top_mean) * inverse
        per_x = similarity * (bottom_structure - bottom_mean) * inverse
        d_mu = 2.0 * (mu_y * per_y - mu_x * per_x)
        d_square = -1.0 * (similarity * bottom_mean * inverse)
        d_product = 2.0 * top_mean * inverse
        v.store(padded, PAD + j, d_mu)
        v.store(padded, length + PAD + j, d_square)
        v.store(padded, 2 * length + PAD + j, d_product)
        v.store(padded, 3 * length + PAD + j, similarity)


@kernel(fastmath=_FASTMATH)
def _sum_tail_cleared(padded, row, stride):
    """Zero what a row's last vector wrote beyond the picture; return the sum of map 3 (SSIM)."""
    length = stride + 2 * PAD
    for m in range(4):
        for j in range(row, stride):
            padded[m * length + PAD + j] = np.float32(0.0)
    total = np.float32(0.0)
    for j in range(stride):
        total += padded[3 * length + PAD + j]
    return total


@kernel(fastmath=_FASTMATH)
def _gradient_rows(queue, x, y, row, stride, height, weights, partials, scales, gradient, sums):
    """Pass 3: sum |x - y| of every row and assemble the gradient unless it is empty.

    ``scales`` are dLoss/d|x - y| and dLoss/dSSIM of one value.
    """
    band = take(queue)
    while band < BANDS:
        for r in _rows_of(band, height):
            sums[r, 0] = _l1_row(x, y, r * row, row, scales[0], gradient)
            if gradient.size > 0:
                combined = np.empty(stride, dtype=np.float32)
                padded = np.zeros(2 * stride, dtype=np.float32)
                padded[:row] = x[r * row : (r + 1) * row]
                padded[stride : stride + row] = y[r * row : (r + 1) * row]
                _combine(padded, stride, r, weights, partials, scales[1], combined)
                for j in range(row):
                    gradient[r * row + j] += combined[j]
        band = take(queue)


@kernel(fastmath=_FASTMATH)
def _combine(padded, stride, r, weights, partials, scale, combined):
    """Write ``scale * (G*A + 2 x (G*B) + y (G*C))`` of row ``r``; ``padded`` is [x, y]."""
    for j in range(0, stride, v.LANES):
        a = v.splat(0.0)
        b = v.splat(0.0)
        c = v.splat(0.0)
        for k in range(TAPS):
            at = (r + k) * 3 * stride + j
            weight = v.splat(weights[k])
            a = weight * v.load(partials, at) + a
            b = weight * v.load(partials, at + stride) + b
            c = weight * v.load(partials, at + 2 * stride) + c
        x = v.load(padded, j)
        value = (x + x) * b + v.load(padded, stride + j) * c + a
        v.store(combined, j, scale * value)
