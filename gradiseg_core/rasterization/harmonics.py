"""Spherical harmonics, degrees 0 to 3, and their gradients, one Gaussian at a time (numba).

The basis is 3DGS's and gsplat's; :func:`.reference.sh_basis` writes it as formulas. Colour is
``max(0, 0.5 + sum_k basis_k(d / |d|) coefficient_k)`` for the direction ``d`` from the camera.
"""

from __future__ import annotations

import math

import numpy as np

from gradiseg_core.cpu_runtime import kernel

_F = np.float32
_C0 = _F(0.28209479177387814)
_C1 = _F(0.4886025119029199)
_C2A, _C2B, _C2C = _F(1.0925484305920792), _F(0.31539156525252005), _F(0.5462742152960396)
_C3A, _C3B, _C3C = _F(0.5900435899266435), _F(2.890611442640554), _F(0.4570457994644658)
_C3D, _C3E = _F(0.3731763325901154), _F(1.445305721320277)
_ZERO, _HALF, _ONE, _TWO, _THREE = _F(0), _F(0.5), _F(1), _F(2), _F(3)
_FIVE, _SIX, _TEN = _F(5), _F(6), _F(10)
_FASTMATH = {"contract", "nsz"}


@kernel(fastmath=_FASTMATH)
def sh_forward(i, dx, dy, dz, degree, sh0, shN, colors):  # type: ignore[no-untyped-def]
    """Write ``colors[i]`` for the (unnormalised) direction (dx, dy, dz)."""
    inv = _ONE / max(math.sqrt(dx * dx + dy * dy + dz * dz), _F(1e-12))
    x, y, z = dx * inv, dy * inv, dz * inv
    for ch in range(3):
        value = _HALF + _C0 * sh0[i, 0, ch]
        if degree >= 1:
            value += _C1 * (z * shN[i, 1, ch] - y * shN[i, 0, ch] - x * shN[i, 2, ch])
        if degree >= 2:
            value += (
                _C2A * (x * y * shN[i, 3, ch] - y * z * shN[i, 4, ch] - x * z * shN[i, 6, ch])
                + _C2B * (_THREE * z * z - _ONE) * shN[i, 5, ch]
                + _C2C * (x * x - y * y) * shN[i, 7, ch]
            )
        if degree >= 3:
            value += (
                -_C3A * y * (_THREE * x * x - y * y) * shN[i, 8, ch]
                + _C3B * x * y * z * shN[i, 9, ch]
                - _C3C * y * (_FIVE * z * z - _ONE) * shN[i, 10, ch]
                + _C3D * z * (_FIVE * z * z - _THREE) * shN[i, 11, ch]
                - _C3C * x * (_FIVE * z * z - _ONE) * shN[i, 12, ch]
                + _C3E * z * (x * x - y * y) * shN[i, 13, ch]
                - _C3A * x * (x * x - _THREE * y * y) * shN[i, 14, ch]
            )
        colors[i, ch] = max(value, _ZERO)


@kernel(fastmath=_FASTMATH)
def sh_backward(
    i, dx, dy, dz, degree, sh0, shN, colors, v_colors, v_sh0, v_shN
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Write ``v_sh0[i]`` and ``v_shN[i]``; return the gradient of the direction."""
    inv = _ONE / max(math.sqrt(dx * dx + dy * dy + dz * dz), _F(1e-12))
    x, y, z = dx * inv, dy * inv, dz * inv
    vx, vy, vz = _ZERO, _ZERO, _ZERO  # gradient of the unit direction
    bases = (degree + 1) * (degree + 1)
    for k in range(bases - 1, v_shN.shape[1]):
        v_shN[i, k, 0] = _ZERO
        v_shN[i, k, 1] = _ZERO
        v_shN[i, k, 2] = _ZERO
    for ch in range(3):
        g = v_colors[i, ch] if colors[i, ch] > _ZERO else _ZERO
        v_sh0[i, 0, ch] = _C0 * g
        if degree >= 1:
            v_shN[i, 0, ch] = -_C1 * y * g
            v_shN[i, 1, ch] = _C1 * z * g
            v_shN[i, 2, ch] = -_C1 * x * g
            vx -= _C1 * shN[i, 2, ch] * g
            vy -= _C1 * shN[i, 0, ch] * g
            vz += _C1 * shN[i, 1, ch] * g
        if degree >= 2:
            v_shN[i, 3, ch] = _C2A * x * y * g
            v_shN[i, 4, ch] = -_C2A * y * z * g
            v_shN[i, 5, ch] = _C2B * (_THREE * z * z - _ONE) * g
            v_shN[i, 6, ch] = -_C2A * x * z * g
            v_shN[i, 7, ch] = _C2C * (x * x - y * y) * g
            k3, k4, k5 = _C2A * shN[i, 3, ch], _C2A * shN[i, 4, ch], _C2B * shN[i, 5, ch]
            k6, k7 = _C2A * shN[i, 6, ch], _C2C * shN[i, 7, ch]
            vx += (k3 * y - k6 * z + _TWO * k7 * x) * g
            vy += (k3 * x - k4 * z - _TWO * k7 * y) * g
            vz += (_SIX * k5 * z - k4 * y - k6 * x) * g
        if degree >= 3:
            five = _FIVE * z * z - _ONE
            v_shN[i, 8, ch] = -_C3A * y * (_THREE * x * x - y * y) * g
            v_shN[i, 9, ch] = _C3B * x * y * z * g
            v_shN[i, 10, ch] = -_C3C * y * five * g
            v_shN[i, 11, ch] = _C3D * z * (_FIVE * z * z - _THREE) * g
            v_shN[i, 12, ch] = -_C3C * x * five * g
            v_shN[i, 13, ch] = _C3E * z * (x * x - y * y) * g
            v_shN[i, 14, ch] = -_C3A * x * (x * x - _THREE * y * y) * g
            k8, k9, k10 = _C3A * shN[i, 8, ch], _C3B * shN[i, 9, ch], _C3C * shN[i, 10, ch]
            k11, k12 = _C3D * shN[i, 11, ch], _C3C * shN[i, 12, ch]
            k13, k14 = _C3E * shN[i, 13, ch], _C3A * shN[i, 14, ch]
            vx += (
                -_SIX * k8 * x * y + k9 * y * z - k12 * five + _TWO * k13 * x * z
                - _THREE * k14 * (x * x - y * y)
            ) * g  # fmt: skip
            vy += (
                -_THREE * k8 * (x * x - y * y) + k9 * x * z - k10 * five - _TWO * k13 * y * z
                + _SIX * k14 * x * y
            ) * g  # fmt: skip
            vz += (
                k9 * x * y - _TEN * k10 * y * z + k11 * (_F(15) * z * z - _THREE)
                - _TEN * k12 * x * z + k13 * (x * x - y * y)
            ) * g  # fmt: skip
    along = vx * x + vy * y + vz * z  # normalisation removes this direction
    return (vx - along * x) * inv, (vy - along * y) * inv, (vz - along * z) * inv
