"""Spherical harmonics, degrees 0 to 3, and their gradients, sixteen Gaussians at a time (numba).

The basis is 3DGS's and gsplat's; :func:`.reference.sh_basis` writes it as formulas. Colour is
``max(0, 0.5 + sum_k basis_k(d / |d|) coefficient_k)`` for the direction ``d`` from the camera.

Scratch holds columns: sixteen lanes of one number each. Column ``3 k + ch`` of the coefficients
belongs to basis function ``k + 1`` and channel ``ch``; the constant function is stored separately.
"""

from __future__ import annotations

import numpy as np

from gradiseg_core.compute.cpu_runtime import kernel
from gradiseg_core.compute.simd import LANES, load, maximum, splat, sqrt, store, where

_F = np.float32
_C0 = _F(0.28209479177387814)
_C1 = _F(0.4886025119029199)
_C2A, _C2B, _C2C = _F(1.0925484305920792), _F(0.31539156525252005), _F(0.5462742152960396)
_C3A, _C3B, _C3C = _F(0.5900435899266435), _F(2.890611442640554), _F(0.4570457994644658)
_C3D, _C3E = _F(0.3731763325901154), _F(1.445305721320277)
_ZERO, _HALF, _ONE, _TWO, _THREE = _F(0), _F(0.5), _F(1), _F(2), _F(3)
_FIVE, _SIX, _TEN, _FIFTEEN = _F(5), _F(6), _F(10), _F(15)
_STEP = 3 * LANES  # from one basis function's coefficients to the next one's


@kernel(inline="always")
def _inverse_length(dx, dy, dz):  # type: ignore[no-untyped-def]
    """Return 1 / |d|."""
    return _ONE / maximum(sqrt(dx * dx + dy * dy + dz * dz), _F(1e-12))


@kernel(inline="always")
def _quadratic(x, y, z):  # type: ignore[no-untyped-def]
    """Return the five basis functions of degree 2."""
    return (
        x * y * _C2A, y * z * (_ZERO - _C2A), (z * z * _THREE - _ONE) * _C2B,
        x * z * (_ZERO - _C2A), (x * x - y * y) * _C2C,
    )  # fmt: skip


@kernel(inline="always")
def _cubic(x, y, z):  # type: ignore[no-untyped-def]
    """Return the seven basis functions of degree 3."""
    xx, yy, zz = x * x, y * y, z * z
    five = (zz * _FIVE - _ONE) * (_ZERO - _C3C)
    return (
        y * (xx * _THREE - yy) * (_ZERO - _C3A), x * y * z * _C3B, y * five,
        z * (zz * _FIVE - _THREE) * _C3D, x * five, z * (xx - yy) * _C3E,
        x * (xx - yy * _THREE) * (_ZERO - _C3A),
    )  # fmt: skip


@kernel(inline="always")
def sh_forward(degree, seen, dx, dy, dz, s, sh0, shN, colors):  # type: ignore[no-untyped-def]
    """Write the colours seen along the (unnormalised) directions (dx, dy, dz).

    Args:
        degree: 0 to 3.
        seen: Lanes that get a colour; others get 0.
        dx: Lanes, as dy and dz.
        dy: Lanes.
        dz: Lanes.
        s: Scratch; the following arguments are positions in it.
        sh0: Three columns.
        shN: 45 columns; those up to the degree are read.
        colors: Three columns, output.
    """
    inv = _inverse_length(dx, dy, dz)
    x, y, z = dx * inv, dy * inv, dz * inv
    b3, b4, b5, b6, b7 = _quadratic(x, y, z)
    b8, b9, b10, b11, b12, b13, b14 = _cubic(x, y, z)
    for ch in range(3):
        k = shN + ch * LANES
        value = load(s, sh0 + ch * LANES) * _C0 + _HALF
        if degree >= 1:
            linear = z * load(s, k + _STEP) - y * load(s, k) - x * load(s, k + 2 * _STEP)
            value = value + linear * _C1
        if degree >= 2:
            value = value + b3 * load(s, k + 3 * _STEP) + b4 * load(s, k + 4 * _STEP)
            value = value + b5 * load(s, k + 5 * _STEP) + b6 * load(s, k + 6 * _STEP)
            value = value + b7 * load(s, k + 7 * _STEP)
        if degree >= 3:
            value = value + b8 * load(s, k + 8 * _STEP) + b9 * load(s, k + 9 * _STEP)
            value = value + b10 * load(s, k + 10 * _STEP) + b11 * load(s, k + 11 * _STEP)
            value = value + b12 * load(s, k + 12 * _STEP) + b13 * load(s, k + 13 * _STEP)
            value = value + b14 * load(s, k + 14 * _STEP)
        store(s, colors + ch * LANES, where(seen, maximum(value, _ZERO), splat(_ZERO)))


@kernel(inline="always")
def _one_back(s, shN, v_shN, k, basis, g0, g1, g2):  # type: ignore[no-untyped-def]
    """Write the gradients of one basis function's coefficients; return that of its value."""
    at = k * _STEP
    store(s, v_shN + at, basis * g0)
    store(s, v_shN + at + LANES, basis * g1)
    store(s, v_shN + at + 2 * LANES, basis * g2)
    first, second = load(s, shN + at) * g0, load(s, shN + at + LANES) * g1
    return first + second + load(s, shN + at + 2 * LANES) * g2


@kernel(inline="always")
def sh_backward(
    degree, dx, dy, dz, s, shN, colors, v_colors, v_sh0, v_shN
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Write the gradients of the coefficients; return those of the directions, three vectors.

    Arguments are those of :func:`sh_forward` and the positions of gradients. A colour that was
    clamped to 0 gets no gradient.
    """
    inv = _inverse_length(dx, dy, dz)
    x, y, z = dx * inv, dy * inv, dz * inv
    zero = splat(_ZERO)
    g0 = where(load(s, colors) > _ZERO, load(s, v_colors), zero)
    g1 = where(load(s, colors + LANES) > _ZERO, load(s, v_colors + LANES), zero)
    g2 = where(load(s, colors + 2 * LANES) > _ZERO, load(s, v_colors + 2 * LANES), zero)
    store(s, v_sh0, g0 * _C0)
    store(s, v_sh0 + LANES, g1 * _C0)
    store(s, v_sh0 + 2 * LANES, g2 * _C0)
    vx, vy, vz = zero, zero, zero  # gradient of the unit direction
    if degree >= 1:
        vy = _one_back(s, shN, v_shN, 0, y * (_ZERO - _C1), g0, g1, g2) * (_ZERO - _C1)
        vz = _one_back(s, shN, v_shN, 1, z * _C1, g0, g1, g2) * _C1
        vx = _one_back(s, shN, v_shN, 2, x * (_ZERO - _C1), g0, g1, g2) * (_ZERO - _C1)
    if degree >= 2:
        b3, b4, b5, b6, b7 = _quadratic(x, y, z)
        v3 = _one_back(s, shN, v_shN, 3, b3, g0, g1, g2) * _C2A
        v4 = _one_back(s, shN, v_shN, 4, b4, g0, g1, g2) * _C2A
        v5 = _one_back(s, shN, v_shN, 5, b5, g0, g1, g2) * (_SIX * _C2B)
        v6 = _one_back(s, shN, v_shN, 6, b6, g0, g1, g2) * _C2A
        v7 = _one_back(s, shN, v_shN, 7, b7, g0, g1, g2) * (_TWO * _C2C)
        vx = vx + v3 * y - v6 * z + v7 * x
        vy = vy + v3 * x - v4 * z - v7 * y
        vz = vz + v5 * z - v4 * y - v6 * x
    if degree >= 3:
        b8, b9, b10, b11, b12, b13, b14 = _cubic(x, y, z)
        v8 = _one_back(s, shN, v_shN, 8, b8, g0, g1, g2) * (_THREE * _C3A)
        v9 = _one_back(s, shN, v_shN, 9, b9, g0, g1, g2) * _C3B
        v10 = _one_back(s, shN, v_shN, 10, b10, g0, g1, g2) * _C3C
        v11 = _one_back(s, shN, v_shN, 11, b11, g0, g1, g2) * _C3D
        v12 = _one_back(s, shN, v_shN, 12, b12, g0, g1, g2) * _C3C
        v13 = _one_back(s, shN, v_shN, 13, b13, g0, g1, g2) * _C3E
        v14 = _one_back(s, shN, v_shN, 14, b14, g0, g1, g2) * (_THREE * _C3A)
        five, across = z * z * _FIVE - _ONE, x * x - y * y
        vx = vx - v8 * x * y * _TWO + v9 * y * z - v12 * five + v13 * x * z * _TWO - v14 * across
        vy = vy - v8 * across + v9 * x * z - v10 * five - v13 * y * z * _TWO + v14 * x * y * _TWO
        vz = vz + v9 * x * y - v10 * y * z * _TEN + v11 * (z * z * _FIFTEEN - _THREE)
        vz = vz - v12 * x * z * _TEN + v13 * across
    along = vx * x + vy * y + vz * z  # normalisation removes this direction
    return (vx - along * x) * inv, (vy - along * y) * inv, (vz - along * z) * inv
