"""Blending of depth-sorted Gaussians into pixels, and its gradient (numba).

The forward pass walks every block's list front to back and keeps the final transmittance and the
last contributor of each pixel. The backward pass walks back from there. It recomputes alpha,
recovers the transmittance by division, and carries one number for each pixel: the sum of all that
lies behind, weighted by the gradient.
"""

from __future__ import annotations

import math

import numpy as np

from gradiseg_core.compute.cpu_runtime import kernel, take
from gradiseg_core.compute.cpu_runtime import scratch as scratch_memory
from gradiseg_core.compute.simd import (
    ONE_REGISTER,
    TOTAL_LANES,
    any_lane,
    at_most,
    exp2,
    load,
    load_int,
    maximum,
    minimum,
    reciprocal,
    splat,
    splat_int,
    store,
    totals,
    transpose,
    where,
)
from gradiseg_core.splatting.rasterization.lists import BLOCK, CHUNKS, COLORS, IDENTITIES

_F = np.float32
_PIXELS = BLOCK * BLOCK
_LANES = 16  # two rows of a block
_BATCH = 4  # Gaussians whose weights are computed before they are blended
_MAX_ALPHA = _F(0.999)
_LOG2_MIN_ALPHA = _F(math.log2(1.0 / 255.0))
_MIN_TRANSMITTANCE = _F(1e-4)
_ZERO, _ONE, _TWO = _F(0.0), _F(1.0), _F(2.0)

# Lanes of a gradient row's first vector, in the order in which `totals` fills them: pixel sums of
# h, h dx, h dy, h dx^2, h dx dy, h dy^2 with h = alpha dL/dalpha, and of the colour's gradient.
# The identity's gradient follows at IDENTITIES, as in a record.
_H, _HX, _HY, _HXX, _HXY, _HYY, _RED, _GREEN, _BLUE = TOTAL_LANES[:9]

# Scratch of the forward kernel, in floats; 64 a plane of the block.
_WEIGHT = 0
_LEFT = _WEIGHT + _BATCH * _PIXELS  # transmittance
_X = _LEFT + _PIXELS  # the centres of a block's first sixteen pixels
_Y = _X + _LANES
_COLOR = _Y + _LANES
_IDENTITY = _COLOR + 3 * _PIXELS

# Scratch of the backward kernel shares _WEIGHT, _LEFT, _X and _Y. Gradients of the image are stored
# by channel, for the gradient of the weights; the identity's also by pixel, for that of its values.
_BEHIND = _COLOR
_DOT = _BEHIND + _PIXELS
_V_PLANES = _DOT + _BATCH * _PIXELS  # gradients of colour, then identity, by channel


@kernel(inline="always")
def _go_to(scratch, x0, y0):  # type: ignore[no-untyped-def]
    """Write the centres of the first two rows of the block whose corner pixel is (x0, y0)."""
    for i in range(_LANES):
        scratch[_X + i] = x0 + i % BLOCK + 0.5
        scratch[_Y + i] = y0 + i // BLOCK + 0.5


@kernel(inline="always")
def _add(sums, position, value):  # type: ignore[no-untyped-def]
    """Add sixteen lanes to an array."""
    store(sums, position, load(sums, position) + value)


@kernel()
def blend_forward(
    queue, bands, starts, entries, records, blocks_x, background, channels,
    color, identity, transmittance, last,
):  # fmt: skip
    """Render blocks until the queue has no more bands.

    Args:
        queue: Queue of the bands.
        bands: See :mod:`.lists`.
        starts: See :mod:`.lists`.
        entries: See :mod:`.lists`.
        records: See :mod:`.lists`.
        blocks_x: Blocks in a row of the image.
        background: [3].
        channels: A tuple of D entries: its type fixes D at compile time.
        color: [H, W, 3], output.
        identity: [H, W, D], output.
        transmittance: [H, W], output, behind the last Gaussian.
        last: [H, W] int32, output: position in ``entries`` behind which no Gaussian counts. For a
            pixel that stayed transparent it may lie up to one batch past the end of the list.
    """
    dims = len(channels)
    padded = (dims + _LANES - 1) // _LANES * _LANES
    height, width = transmittance.shape
    row_floats = IDENTITIES + padded
    nothing = records.shape[0] - 1
    scratch = scratch_memory(_IDENTITY + padded * _PIXELS)
    flat = records.reshape(-1)
    latest = np.empty(_PIXELS, np.int32)
    band = take(queue)
    while band < bands.shape[0] - 1:
        for block in range(bands[band], bands[band + 1]):
            x0, y0 = block % blocks_x * BLOCK, block // blocks_x * BLOCK
            start, end = starts[block], starts[block + 1]
            _go_to(scratch, x0, y0)
            scratch[_LEFT:_X] = _ONE
            scratch[_COLOR:] = _ZERO
            latest[:] = -1
            left = (splat(_ONE), splat(_ONE), splat(_ONE), splat(_ONE))
            for e in range(start, end, _BATCH):
                r0 = entries[e] * row_floats
                r1 = (entries[e + 1] if e + 1 < end else nothing) * row_floats
                r2 = (entries[e + 2] if e + 2 < end else nothing) * row_floats
                r3 = (entries[e + 3] if e + 3 < end else nothing) * row_floats
                left = _weigh(flat, r0, scratch, _WEIGHT, latest, e, left)
                left = _weigh(flat, r1, scratch, _WEIGHT + _PIXELS, latest, e + 1, left)
                left = _weigh(flat, r2, scratch, _WEIGHT + 2 * _PIXELS, latest, e + 2, left)
                left = _weigh(flat, r3, scratch, _WEIGHT + 3 * _PIXELS, latest, e + 3, left)
                for c in range(3):
                    f0, f1 = splat(flat[r0 + COLORS + c]), splat(flat[r1 + COLORS + c])
                    f2, f3 = splat(flat[r2 + COLORS + c]), splat(flat[r3 + COLORS + c])
                    for v in range(0, _PIXELS, _LANES):
                        value = load(scratch, _COLOR + c * _PIXELS + v)
                        value = value + f0 * load(scratch, _WEIGHT + v)
                        value = value + f1 * load(scratch, _WEIGHT + _PIXELS + v)
                        value = value + f2 * load(scratch, _WEIGHT + 2 * _PIXELS + v)
                        value = value + f3 * load(scratch, _WEIGHT + 3 * _PIXELS + v)
                        store(scratch, _COLOR + c * _PIXELS + v, value)
                for j in range(0, padded, _LANES):
                    i0, i1 = load(flat, r0 + IDENTITIES + j), load(flat, r1 + IDENTITIES + j)
                    i2, i3 = load(flat, r2 + IDENTITIES + j), load(flat, r3 + IDENTITIES + j)
                    for i in range(_PIXELS):
                        position = _IDENTITY + i * padded + j
                        value = load(scratch, position)
                        value = value + i0 * scratch[_WEIGHT + i]
                        value = value + i1 * scratch[_WEIGHT + _PIXELS + i]
                        value = value + i2 * scratch[_WEIGHT + 2 * _PIXELS + i]
                        value = value + i3 * scratch[_WEIGHT + 3 * _PIXELS + i]
                        store(scratch, position, value)
                most = maximum(maximum(left[0], left[1]), maximum(left[2], left[3]))
                if not any_lane(most > _ZERO):
                    break
            for v in range(4):
                store(scratch, _LEFT + v * _LANES, maximum(left[v], _ZERO - left[v]))
            for y in range(y0, min(y0 + BLOCK, height)):
                for x in range(x0, min(x0 + BLOCK, width)):
                    i = (y - y0) * BLOCK + x - x0
                    final = scratch[_LEFT + i]
                    transmittance[y, x] = final
                    last[y, x] = latest[i]
                    for c in range(3):
                        color[y, x, c] = scratch[_COLOR + c * _PIXELS + i] + final * background[c]
                    if dims == padded:
                        for j in range(0, dims, _LANES):
                            value = load(scratch, _IDENTITY + i * padded + j)
                            store(identity, (y * width + x) * dims + j, value)
                    else:
                        for j in range(dims):
                            identity[y, x, j] = scratch[_IDENTITY + i * padded + j]
        band = take(queue)


@kernel(inline="always")
def _weigh(flat, base, scratch, weight, latest, e, left):  # type: ignore[no-untyped-def]
    """Write one Gaussian's weights for the block's pixels.

    Returns:
        The transmittance behind it, four vectors; negative where no more light comes through. The
        sign replaces a separate mask, which is expensive on machines without mask registers.
    """
    q, r, top = splat(flat[base + 3]), splat(flat[base + 4]), splat(flat[base + 5])
    dy = load(scratch, _Y) - flat[base + 1]
    t = (load(scratch, _X) - flat[base]) * flat[base + 2] + dy * q
    s = dy * r
    l0 = _weigh_rows(t, s, q, r, top, 0, scratch, weight, latest, e, left[0])
    l1 = _weigh_rows(t, s, q, r, top, 1, scratch, weight, latest, e, left[1])
    l2 = _weigh_rows(t, s, q, r, top, 2, scratch, weight, latest, e, left[2])
    l3 = _weigh_rows(t, s, q, r, top, 3, scratch, weight, latest, e, left[3])
    return (l0, l1, l2, l3)


@kernel(inline="always")
def _weigh_rows(
    t, s, q, r, top, v, scratch, weight, latest, e, before
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Do the same for vector v, two rows."""
    at = v * _LANES
    t, s = t + q * _F(2 * v), s + r * _F(2 * v)
    power = top - t * t - s * s
    alpha = where(power >= _LOG2_MIN_ALPHA, minimum(exp2(power), _MAX_ALPHA), splat(_ZERO))
    w = before * alpha
    after = before - w
    live = after > _MIN_TRANSMITTANCE
    store(scratch, weight + at, where(live, w, splat(_ZERO)))
    # Positions only grow, so a masked store would do the same; it takes tens of cycles on AMD.
    store(latest, at, maximum(where(live, splat_int(e), splat_int(-1)), load_int(latest, at)))
    return where(live, after, minimum(before, _ZERO - before))


@kernel()
def blend_backward(
    queue, bands, starts, entries, records, blocks_x, background, channels,
    transmittance, last, v_color, v_identity, v_alpha_out, share, touched, rows, gradients,
):  # fmt: skip
    """Add gradients to each band's rows until the queue has no more bands.

    Args:
        queue: Queue of the bands.
        bands: See :mod:`.lists`.
        starts: See :mod:`.lists`.
        entries: See :mod:`.lists`.
        records: See :mod:`.lists`.
        blocks_x: Blocks in a row of the image.
        background: [3].
        channels: A tuple of D entries.
        transmittance: [H, W], from the forward kernel.
        last: [H, W] int32, from the forward kernel.
        v_color: [H, W, 3], gradient of the image.
        v_identity: [H, W, D], gradient of the image.
        v_alpha_out: [H, W], gradient of the image.
        share: float32, share of the identity's gradient that reaches the weights; its values get
            all of it.
        touched: [M, 2], see :func:`.lists.fill_blocks`.
        rows: See :func:`.lists.gradient_rows`.
        gradients: [rows, record width], zeros at first.
    """
    dims = len(channels)
    padded = (dims + _LANES - 1) // _LANES * _LANES
    height, width = transmittance.shape
    row_floats = IDENTITIES + padded
    nothing = records.shape[0] - 1
    v_pixels = _V_PLANES + (3 + padded) * _PIXELS  # gradients of identity, by pixel
    scratch = scratch_memory(v_pixels + padded * _PIXELS)
    latest = np.empty(_PIXELS, np.int32)
    flat = records.reshape(-1)
    sums = gradients.reshape(-1)
    band = take(queue)
    while band < bands.shape[0] - 1:
        for block in range(bands[band], bands[band + 1]):
            x0, y0 = block % blocks_x * BLOCK, block // blocks_x * BLOCK
            start = starts[block]
            _go_to(scratch, x0, y0)
            scratch[_V_PLANES:] = _ZERO
            scratch[_LEFT:_X] = _ONE
            scratch[_BEHIND:_DOT] = _ZERO
            latest[:] = -1
            newest = np.int64(-1)
            for y in range(y0, min(y0 + BLOCK, height)):
                for x in range(x0, min(x0 + BLOCK, width)):
                    i = (y - y0) * BLOCK + x - x0
                    latest[i] = last[y, x]
                    newest = max(newest, np.int64(last[y, x]))
                    v_final = -v_alpha_out[y, x]
                    for c in range(3):
                        scratch[_V_PLANES + c * _PIXELS + i] = v_color[y, x, c]
                        v_final += v_color[y, x, c] * background[c]
                    if dims == padded:
                        for j in range(0, dims, _LANES):
                            value = load(v_identity, (y * width + x) * dims + j)
                            store(scratch, v_pixels + i * padded + j, value)
                    else:
                        for j in range(dims):
                            scratch[v_pixels + i * padded + j] = v_identity[y, x, j]
                    scratch[_LEFT + i] = transmittance[y, x]
                    scratch[_BEHIND + i] = transmittance[y, x] * v_final
            for j in range(0, padded, _LANES):
                planes = _V_PLANES + (3 + j) * _PIXELS
                for i in range(0, _PIXELS, _LANES):
                    transpose(scratch, v_pixels + i * padded + j, padded, planes + i, _PIXELS)
            if share != _ONE:
                for at in range(_V_PLANES + 3 * _PIXELS, v_pixels, _LANES):
                    store(scratch, at, load(scratch, at) * share)
            left = (
                load(scratch, _LEFT), load(scratch, _LEFT + _LANES),
                load(scratch, _LEFT + 2 * _LANES), load(scratch, _LEFT + 3 * _LANES),
            )  # fmt: skip
            behind = (
                load(scratch, _BEHIND), load(scratch, _BEHIND + _LANES),
                load(scratch, _BEHIND + 2 * _LANES), load(scratch, _BEHIND + 3 * _LANES),
            )  # fmt: skip
            for e in range(min(newest, starts[block + 1] - 1), start - 1, -_BATCH):
                k0 = entries[e]
                k1 = entries[e - 1] if e - 1 >= start else nothing
                k2 = entries[e - 2] if e - 2 >= start else nothing
                k3 = entries[e - 3] if e - 3 >= start else nothing
                r0, r1, r2, r3 = k0 * row_floats, k1 * row_floats, k2 * row_floats, k3 * row_floats
                _dot(flat, r0, r1, r2, r3, scratch, channels)
                for b in range(_BATCH):
                    if e - b < start:
                        scratch[_WEIGHT + b * _PIXELS : _WEIGHT + (b + 1) * _PIXELS] = _ZERO
                        continue
                    k = entries[e - b]
                    row = (rows[k] + band - touched[k, 0]) * row_floats
                    left, behind = _moments(
                        flat, k * row_floats, scratch, b * _PIXELS, latest, e - b, left, behind,
                        sums, row,
                    )  # fmt: skip
                for j in range(0, padded, _LANES):
                    a0, a1, a2, a3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
                    b0, b1, b2, b3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
                    for i in range(0, _PIXELS, 2):
                        g = load(scratch, v_pixels + i * padded + j)
                        a0 = a0 + g * scratch[_WEIGHT + i]
                        a1 = a1 + g * scratch[_WEIGHT + _PIXELS + i]
                        a2 = a2 + g * scratch[_WEIGHT + 2 * _PIXELS + i]
                        a3 = a3 + g * scratch[_WEIGHT + 3 * _PIXELS + i]
                        g = load(scratch, v_pixels + (i + 1) * padded + j)
                        w0, w1 = scratch[_WEIGHT + i + 1], scratch[_WEIGHT + _PIXELS + i + 1]
                        w2 = scratch[_WEIGHT + 2 * _PIXELS + i + 1]
                        w3 = scratch[_WEIGHT + 3 * _PIXELS + i + 1]
                        if ONE_REGISTER:
                            b0, b1, b2, b3 = b0 + g * w0, b1 + g * w1, b2 + g * w2, b3 + g * w3
                        else:
                            a0, a1, a2, a3 = a0 + g * w0, a1 + g * w1, a2 + g * w2, a3 + g * w3
                    _add(
                        sums,
                        (rows[k0] + band - touched[k0, 0]) * row_floats + IDENTITIES + j,
                        a0 + b0,
                    )
                    if k1 != nothing:
                        _add(
                            sums,
                            (rows[k1] + band - touched[k1, 0]) * row_floats + IDENTITIES + j,
                            a1 + b1,
                        )
                    if k2 != nothing:
                        _add(
                            sums,
                            (rows[k2] + band - touched[k2, 0]) * row_floats + IDENTITIES + j,
                            a2 + b2,
                        )
                    if k3 != nothing:
                        _add(
                            sums,
                            (rows[k3] + band - touched[k3, 0]) * row_floats + IDENTITIES + j,
                            a3 + b3,
                        )
        band = take(queue)


@kernel(inline="always")
def _dot(flat, r0, r1, r2, r3, scratch, channels):  # type: ignore[no-untyped-def]
    """Write, for four Gaussians, the product of their features with every pixel's gradient."""
    for v in range(0, _PIXELS, 2 * _LANES if ONE_REGISTER else _LANES):
        a0, a1, a2, a3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
        b0, b1, b2, b3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
        for c in range(3 + len(channels)):
            f0, f1 = splat(flat[r0 + COLORS + c]), splat(flat[r1 + COLORS + c])
            f2, f3 = splat(flat[r2 + COLORS + c]), splat(flat[r3 + COLORS + c])
            g = load(scratch, _V_PLANES + c * _PIXELS + v)
            a0, a1, a2, a3 = a0 + g * f0, a1 + g * f1, a2 + g * f2, a3 + g * f3
            if ONE_REGISTER:
                g = load(scratch, _V_PLANES + c * _PIXELS + v + _LANES)
                b0, b1, b2, b3 = b0 + g * f0, b1 + g * f1, b2 + g * f2, b3 + g * f3
        store(scratch, _DOT + v, a0)
        store(scratch, _DOT + _PIXELS + v, a1)
        store(scratch, _DOT + 2 * _PIXELS + v, a2)
        store(scratch, _DOT + 3 * _PIXELS + v, a3)
        if ONE_REGISTER:
            store(scratch, _DOT + v + _LANES, b0)
            store(scratch, _DOT + _PIXELS + v + _LANES, b1)
            store(scratch, _DOT + 2 * _PIXELS + v + _LANES, b2)
            store(scratch, _DOT + 3 * _PIXELS + v + _LANES, b3)


@kernel(inline="always")
def _moments(
    flat, base, scratch, plane, latest, e, left, behind, sums, row
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Walk one Gaussian back over the block: weights, six moments, its colour's gradient.

    Returns:
        The transmittance in front of it, four vectors, and what lies behind that.
    """
    q, r, top = splat(flat[base + 3]), splat(flat[base + 4]), splat(flat[base + 5])
    dx = load(scratch, _X) - flat[base]
    dy = load(scratch, _Y) - flat[base + 1]
    t = dx * flat[base + 2] + dy * q
    s = dy * r
    lines, position = (q, r, top, t, s, dy), splat_int(e)
    none = (splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO))
    l0, b0, m = _moments_rows(lines, 0, scratch, plane, latest, position, left[0], behind[0], none)
    l1, b1, m = _moments_rows(lines, 1, scratch, plane, latest, position, left[1], behind[1], m)
    l2, b2, m = _moments_rows(lines, 2, scratch, plane, latest, position, left[2], behind[2], m)
    l3, b3, m = _moments_rows(lines, 3, scratch, plane, latest, position, left[3], behind[3], m)
    h_dx = m[0] * dx
    vectors = (m[0], h_dx, m[1], h_dx * dx, m[1] * dx, m[2], m[3], m[4], m[5])
    _add(sums, row, totals(vectors))
    return (l0, l1, l2, l3), (b0, b1, b2, b3)


@kernel(inline="always")
def _moments_rows(
    lines, v, scratch, plane, latest, position, left, behind, sums
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Do the same for vector v, two rows, whose lanes it adds to the sums."""
    q, r, top, t, s, dy = lines
    at, down = v * _LANES, _F(2 * v)
    t, s, dy = t + q * down, s + r * down, dy + down
    power = top - t * t - s * s
    seen = (power >= _LOG2_MIN_ALPHA) & at_most(position, load_int(latest, at))
    raw = exp2(power)
    alpha = minimum(raw, _MAX_ALPHA)
    # Ratio of the transmittance in front to that behind.
    growth = where(seen, alpha * reciprocal(_ONE - alpha), splat(_ZERO))
    w = left * growth
    store(scratch, _WEIGHT + plane + at, w)
    own = w * load(scratch, _DOT + plane + at)
    h = where(raw <= _MAX_ALPHA, own - behind * growth, splat(_ZERO))
    h_dy = h * dy
    sums = (
        sums[0] + h, sums[1] + h_dy, sums[2] + h_dy * dy,
        sums[3] + w * load(scratch, _V_PLANES + at),
        sums[4] + w * load(scratch, _V_PLANES + _PIXELS + at),
        sums[5] + w * load(scratch, _V_PLANES + 2 * _PIXELS + at),
    )  # fmt: skip
    return left + w, behind + own, sums


@kernel(fastmath={"contract"})
def reduce_gradients(
    queue, order, rows, gradients, conics, opacities,
    v_means2d, v_conics, v_colors, v_opacities, v_identities,
):  # fmt: skip
    """Sum the rows of each Gaussian and turn moments into gradients, chunk by chunk.

    With ``sigma = a dx^2 / 2 + b dx dy + c dy^2 / 2`` and ``h = alpha dL/dalpha``:
    ``dL/da = -sum h dx^2 / 2``, ``dL/db = -sum h dx dy``, ``dL/dmx = a sum h dx + b sum h dy``,
    ``dL/do = sum h / o``. Outputs start as zeros, which culled Gaussians keep.
    """
    m, row_floats = order.shape[0], gradients.shape[1]
    n_identities = v_identities.shape[1]
    scratch = scratch_memory(row_floats)
    chunk = take(queue)
    while chunk < CHUNKS:
        for k in range(m * chunk // CHUNKS, m * (chunk + 1) // CHUNKS):
            i = order[k]
            for j in range(0, row_floats, _LANES):
                value = splat(_ZERO)
                for row in range(rows[k], rows[k + 1]):
                    value = value + load(gradients, row * row_floats + j)
                store(scratch, j, value)
            a, b, c = conics[i, 0], conics[i, 1], conics[i, 2]
            v_means2d[i, 0] = a * scratch[_HX] + b * scratch[_HY]
            v_means2d[i, 1] = b * scratch[_HX] + c * scratch[_HY]
            v_conics[i, 0] = -_F(0.5) * scratch[_HXX]
            v_conics[i, 1] = -scratch[_HXY]
            v_conics[i, 2] = -_F(0.5) * scratch[_HYY]
            v_opacities[i] = scratch[_H] / opacities[i]
            v_colors[i, 0] = scratch[_RED]
            v_colors[i, 1] = scratch[_GREEN]
            v_colors[i, 2] = scratch[_BLUE]
            for j in range(n_identities):
                v_identities[i, j] = scratch[IDENTITIES + j]
        chunk = take(queue)
