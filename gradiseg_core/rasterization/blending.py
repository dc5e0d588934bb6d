"""Blending of depth-sorted Gaussians into pixels, and its gradient (numba).

Forward walks every block's list front to back and keeps, per pixel, the final transmittance and the
last contributor. Backward walks back from there, recomputes alpha, recovers the transmittance by
division, and carries one number per pixel: the gradient-weighted sum of all that lies behind.
"""

from __future__ import annotations

import numpy as np

from gradiseg_core.cpu_runtime import kernel
from gradiseg_core.rasterization.lists import BLOCK, FEATURES

_F = np.float32
_PIXELS = BLOCK * BLOCK
_MAX_ALPHA = _F(0.999)
_MIN_ALPHA = _F(1.0 / 255.0)
_MIN_TRANSMITTANCE = _F(1e-4)
_ZERO, _ONE = _F(0.0), _F(1.0)

# Leading entries of a gradient row; the features' gradients follow at FEATURES.
# 0 sum h, 1 sum h dx, 2 sum h dy, 3 sum h dx^2, 4 sum h dx dy, 5 sum h dy^2, h = alpha dL/dalpha


@kernel(fastmath={"contract", "nsz"})
def blend_forward(
    band, bands, starts, entries, records, blocks_x, background, channels,
    color, identity, transmittance, last,
):  # fmt: skip
    """Render one band of blocks.

    Args:
        band: Which band.
        bands, starts, entries, records: See :mod:`.lists`.
        blocks_x: Blocks in a row of the image.
        background: [3].
        channels: A tuple as long as there are features: its type fixes their number at compile time.
        color, identity, transmittance, last: Outputs, [H, W, 3], [H, W, D], [H, W] and [H, W]
            int32: the position in ``entries`` of the last Gaussian that counted, or -1.
    """
    n_channels = len(channels)
    height, width = transmittance.shape
    blended = np.empty((n_channels, _PIXELS), np.float32)
    live = np.empty(_PIXELS, np.float32)
    final = np.empty(_PIXELS, np.float32)
    weight = np.empty(_PIXELS, np.float32)
    latest = np.empty(_PIXELS, np.int32)
    for block in range(bands[band], bands[band + 1]):
        x0, y0 = block % blocks_x * BLOCK, block // blocks_x * BLOCK
        blended[:] = _ZERO
        live[:] = _ONE
        final[:] = _ONE
        latest[:] = -1
        for e in range(starts[block], starts[block + 1]):
            record = records[entries[e]]
            mx, my = record[0] - _F(x0 + 0.5), record[1] - _F(y0 + 0.5)
            p, q, r, top = record[2], record[3], record[4], record[5]
            alive = 0
            for i in range(_PIXELS):
                dx, dy = _F(i % BLOCK) - mx, _F(i // BLOCK) - my
                t, s = p * dx + q * dy, r * dy
                alpha = min(_MAX_ALPHA, _F(2.0) ** (top - t * t - s * s))
                alpha = alpha if alpha >= _MIN_ALPHA else _ZERO
                after = live[i] * (_ONE - alpha)
                stop = after <= _MIN_TRANSMITTANCE
                w = _ZERO if stop else live[i] * alpha
                final[i] = final[i] if stop else after
                live[i] = _ZERO if stop else after
                latest[i] = e if w > _ZERO else latest[i]
                weight[i] = w
                alive += 0 if stop else 1
            for c in range(n_channels):
                f = record[FEATURES + c]
                for i in range(_PIXELS):
                    blended[c, i] += f * weight[i]
            if alive == 0:
                break
        for i in range(_PIXELS):
            x, y = x0 + i % BLOCK, y0 + i // BLOCK
            if x < width and y < height:
                transmittance[y, x] = final[i]
                last[y, x] = latest[i]
                for c in range(3):
                    color[y, x, c] = blended[c, i] + final[i] * background[c]
                for c in range(3, n_channels):
                    identity[y, x, c - 3] = blended[c, i]


@kernel(fastmath={"contract", "nsz"})
def blend_backward(
    band, bands, starts, entries, records, blocks_x, background, channels,
    transmittance, last, v_color, v_identity, v_alpha_out, first_bands, rows, gradients,
):  # fmt: skip
    """Add one band's gradients to its rows of ``gradients``.

    Args:
        band: Which band.
        bands, starts, entries, records, blocks_x, background, channels: As in the forward kernel.
        transmittance, last: What the forward kernel wrote.
        v_color, v_identity, v_alpha_out: [H, W, 3], [H, W, D], [H, W], gradients of the image.
        first_bands, rows: See :func:`.lists.gradient_rows`.
        gradients: [rows, record width], zeros at first.
    """
    n_channels = len(channels)
    height, width = transmittance.shape
    v_pixel = np.empty((n_channels, _PIXELS), np.float32)
    before = np.empty(_PIXELS, np.float32)
    behind = np.empty(_PIXELS, np.float32)
    weight = np.empty(_PIXELS, np.float32)
    dot = np.empty(_PIXELS, np.float32)
    latest = np.empty(_PIXELS, np.int32)
    for block in range(bands[band], bands[band + 1]):
        x0, y0 = block % blocks_x * BLOCK, block // blocks_x * BLOCK
        v_pixel[:] = _ZERO
        before[:] = _ONE
        behind[:] = _ZERO
        latest[:] = -1
        newest = -1
        for i in range(_PIXELS):
            x, y = x0 + i % BLOCK, y0 + i // BLOCK
            if x < width and y < height:
                before[i] = transmittance[y, x]
                latest[i] = last[y, x]
                newest = max(newest, latest[i])
                v_final = -v_alpha_out[y, x]
                for c in range(3):
                    v_pixel[c, i] = v_color[y, x, c]
                    v_final += v_color[y, x, c] * background[c]
                for c in range(3, n_channels):
                    v_pixel[c, i] = v_identity[y, x, c - 3]
                behind[i] = before[i] * v_final
        for e in range(newest, starts[block] - 1, -1):
            k = entries[e]
            record = records[k]
            mx, my = record[0] - _F(x0 + 0.5), record[1] - _F(y0 + 0.5)
            p, q, r, top = record[2], record[3], record[4], record[5]
            row = gradients[rows[k] + band - first_bands[k]]
            dot[:] = _ZERO
            for c in range(n_channels):
                f = record[FEATURES + c]
                for i in range(_PIXELS):
                    dot[i] += f * v_pixel[c, i]
            h0, hx, hy, hxx, hxy, hyy = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
            for i in range(_PIXELS):
                dx, dy = _F(i % BLOCK) - mx, _F(i // BLOCK) - my
                t, s = p * dx + q * dy, r * dy
                raw = _F(2.0) ** (top - t * t - s * s)
                alpha = min(_MAX_ALPHA, raw)
                alpha = alpha if (alpha >= _MIN_ALPHA and e <= latest[i]) else _ZERO
                inverse = _ONE / (_ONE - alpha)
                before[i] *= inverse
                w = alpha * before[i]
                weight[i] = w
                h = alpha * (before[i] * dot[i] - behind[i] * inverse)
                h = _ZERO if raw > _MAX_ALPHA else h
                behind[i] += w * dot[i]
                h0 += h
                hx += h * dx
                hy += h * dy
                hxx += h * dx * dx
                hxy += h * dx * dy
                hyy += h * dy * dy
            row[0] += h0
            row[1] += hx
            row[2] += hy
            row[3] += hxx
            row[4] += hxy
            row[5] += hyy
            for c in range(n_channels):
                total = _ZERO
                for i in range(_PIXELS):
                    total += weight[i] * v_pixel[c, i]
                row[FEATURES + c] += total


@kernel(fastmath={"contract"})
def reduce_gradients(
    chunk, chunks, order, rows, gradients, conics, opacities,
    v_means2d, v_conics, v_colors, v_opacities, v_identities,
):  # fmt: skip
    """Sum each Gaussian's rows and turn moments into gradients (one chunk of the depth order).

    With ``sigma = a dx^2 / 2 + b dx dy + c dy^2 / 2`` and ``h = alpha dL/dalpha``:
    ``dL/da = -sum h dx^2 / 2``, ``dL/db = -sum h dx dy``, ``dL/dmx = a sum h dx + b sum h dy``,
    ``dL/do = sum h / o``. Outputs hold zeros at first: culled Gaussians keep them.
    """
    m = order.shape[0]
    n_identities = v_identities.shape[1]
    for k in range(m * chunk // chunks, m * (chunk + 1) // chunks):
        i = order[k]
        for row in range(rows[k], rows[k + 1]):
            g = gradients[row]
            a, b, c = conics[i, 0], conics[i, 1], conics[i, 2]
            v_means2d[i, 0] += a * g[1] + b * g[2]
            v_means2d[i, 1] += b * g[1] + c * g[2]
            v_conics[i, 0] -= _F(0.5) * g[3]
            v_conics[i, 1] -= g[4]
            v_conics[i, 2] -= _F(0.5) * g[5]
            v_opacities[i] += g[0] / opacities[i]
            for j in range(3):
                v_colors[i, j] += g[FEATURES + j]
            for j in range(n_identities):
                v_identities[i, j] += g[FEATURES + 3 + j]
