"""Projection of Gaussians and their view-dependent colours: numba kernels and their gradients.

The forward pass computes ``project`` and ``colors_from_sh`` of :mod:`.reference`; the backward pass
recomputes the few intermediate results instead of storing them. Both take sixteen Gaussians at a
time: each is a row of scratch, rows are transposed into columns of sixteen lanes, and results are
transposed back.

Notation: ``U = J W R`` (2 x 3) maps the Gaussian's own axes to pixels, ``V = U diag(s)``, and the
2D covariance is ``V V^T + eps2d I``. ``v_x`` is the gradient of the loss with respect to ``x``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradiseg_core.compute.cpu_runtime import kernel, run_queue, scratch, take
from gradiseg_core.compute.simd import (
    LANES,
    any_lane,
    ceil,
    load,
    log2,
    maximum,
    minimum,
    splat,
    sqrt,
    store,
    transpose,
    where,
)
from gradiseg_core.splatting.rasterization.harmonics import sh_backward, sh_forward

BANDS = 16  # pieces of the Gaussians that threads take; no effect on the result

_F = np.float32
_EPS2D = _F(0.3)
_NEAR = _F(0.01)
_FAR = _F(1e10)
_MAX_EXTENT = _F(3.33)
_MIN_ALPHA = _F(1.0 / 255.0)
_MAX_RADIUS = _F(1e9)  # fits int32
_TWO_LN2 = _F(2.0 * math.log(2.0))
_ONE = _F(1.0)
_TWO = _F(2.0)
_HALF = _F(0.5)
_ZERO = _F(0.0)

# Entries of a packed camera: the rows of its rotation, which are the camera's axes in the world;
# its translation; its centre in the world; the intrinsics, px; the range of x/z and of y/z in which
# the Jacobian follows the centre; the image's size, px.
_X_ROW, _Y_ROW, _Z_ROW, _TRANSLATION, _CENTER = 0, 3, 6, 9, 12
_FX, _FY, _CX, _CY, _LEAST_X, _MOST_X, _LEAST_Y, _MOST_Y, _WIDTH, _HEIGHT = range(15, 25)
_CAMERA = 25

# Scratch, in floats. Rows of 16 hold a Gaussian's mean, quaternion, scale, opacity and sh0, or the
# results for it; rows of 48 hold its 15 x 3 coefficients. Columns follow the same order.
_ROW = LANES
_SH_ROW = 3 * LANES
_SH = 45  # floats of a row of 48 in use
_ROWS = 0
_SH_ROWS = _ROWS + LANES * _ROW
_COLUMNS = _SH_ROWS + LANES * _SH_ROW
_SH_COLUMNS = _COLUMNS + LANES * _ROW
_INCOMING = _SH_COLUMNS + LANES * _SH_ROW  # columns
_V_COLUMNS = _INCOMING + LANES * _ROW
_V_SH_COLUMNS = _V_COLUMNS + LANES * _ROW
_FLOATS = _V_SH_COLUMNS + LANES * _SH_ROW

# Columns of the Gaussian.
_MEAN, _QUAT, _SCALE, _OPACITY, _SH0 = (_COLUMNS + LANES * at for at in (0, 3, 7, 10, 11))
# Columns that the forward kernel writes.
_U, _CONIC, _DEPTH, _COLOR, _RADIUS = (_COLUMNS + LANES * at for at in (0, 2, 5, 6, 9))
# Columns that the backward kernel reads beside the Gaussian, and those that it writes.
_IN_CONIC, _IN_COLOR, _V_U, _V_CONIC, _V_DEPTH, _V_COLOR = (
    _INCOMING + LANES * at for at in (0, 3, 6, 8, 11, 12)
)
_V_MEAN, _V_QUAT, _V_SCALE, _V_SH0 = (_V_COLUMNS + LANES * at for at in (0, 3, 7, 11))


@kernel(inline="always")
def _rotation(w: Any, x: Any, y: Any, z: Any) -> Any:
    """Return the nine entries, row by row, of the rotation of a unit quaternion."""
    xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
    wx, wy, wz = w * x, w * y, w * z
    return (
        _ONE - (yy + zz) * _TWO, (xy - wz) * _TWO, (xz + wy) * _TWO,
        (xy + wz) * _TWO, _ONE - (xx + zz) * _TWO, (yz - wx) * _TWO,
        (xz - wy) * _TWO, (yz + wx) * _TWO, _ONE - (xx + yy) * _TWO,
    )  # fmt: skip


@kernel(inline="always")
def _unit_quaternion(s):  # type: ignore[no-untyped-def]
    """Return the four columns of the normalised quaternions, and the inverse of their length."""
    w, x = load(s, _QUAT), load(s, _QUAT + LANES)
    y, z = load(s, _QUAT + 2 * LANES), load(s, _QUAT + 3 * LANES)
    inv = _ONE / sqrt(maximum(w * w + x * x + y * y + z * z, _F(1e-24)))
    return w * inv, x * inv, y * inv, z * inv, inv


@kernel(inline="always")
def _in_camera(s, camera, row):  # type: ignore[no-untyped-def]
    """Return one coordinate of the means in the camera's frame."""
    x, y, z = load(s, _MEAN), load(s, _MEAN + LANES), load(s, _MEAN + 2 * LANES)
    turned = x * camera[3 * row] + y * camera[3 * row + 1] + z * camera[3 * row + 2]
    return turned + camera[_TRANSLATION + row]


@kernel(inline="always")
def _jacobian(slope_x, slope_y, rz, camera):  # type: ignore[no-untyped-def]
    """Return J00, J02, J11, J12 of the projection; slopes are x/z and y/z, rz is 1/z."""
    j0, j1 = rz * camera[_FX], rz * camera[_FY]
    return (
        j0, (_ZERO - j0) * minimum(maximum(slope_x, camera[_LEAST_X]), camera[_MOST_X]),
        j1, (_ZERO - j1) * minimum(maximum(slope_y, camera[_LEAST_Y]), camera[_MOST_Y]),
    )  # fmt: skip


@kernel(inline="always")
def _times_view(j, j2, row, camera):  # type: ignore[no-untyped-def]
    """Return a row of T = J W, from J's entries in column ``row`` and in the last."""
    return (
        j * camera[3 * row] + j2 * camera[_Z_ROW],
        j * camera[3 * row + 1] + j2 * camera[_Z_ROW + 1],
        j * camera[3 * row + 2] + j2 * camera[_Z_ROW + 2],
    )


@kernel(inline="always")
def _read_sh(i0, count, degree, shN, s):  # type: ignore[no-untyped-def]
    """Transpose the coefficients of the group that starts at i0 into columns."""
    bases = shN.shape[1]
    used = 3 * ((degree + 1) * (degree + 1) - 1)
    for lane in range(count):
        row, source = _SH_ROWS + lane * _SH_ROW, (i0 + lane) * bases * 3
        if 3 * bases >= _SH:
            store(s, row, load(shN, source))
            store(s, row + LANES, load(shN, source + LANES))
            store(s, row + _SH - LANES, load(shN, source + _SH - LANES))
        else:
            for j in range(used):
                s[row + j] = shN[i0 + lane, j // 3, j % 3]
    for j in range(0, used, LANES):
        transpose(s, _SH_ROWS + j, _SH_ROW, _SH_COLUMNS + j * LANES, LANES)


@kernel()
def project_forward(
    queue, means, quats, scales, opacities, sh0, shN, camera, degree,
    means2d, conics, depths, colors, radii,
):  # fmt: skip
    """Project Gaussians and colour the visible ones until the queue has no more bands.

    Args:
        queue: Queue of ``BANDS`` pieces.
        means: [N, 3] float32, like all that follow unless another type is given.
        quats: [N, 4].
        scales: [N, 3].
        opacities: [N].
        sh0: [N, 1, 3].
        shN: [N, K, 3].
        camera: [25], see :func:`pack_camera`.
        degree: Degree of the spherical harmonics, 0 to 3.
        means2d: [N, 2], output, px. Culled Gaussians get zeros, here and below.
        conics: [N, 3], output, px^-2.
        depths: [N], output, world units.
        colors: [N, 3], output.
        radii: [N, 2] int32, output, px.
    """
    n = means.shape[0]
    groups = (n + LANES - 1) // LANES
    s = scratch(_FLOATS)
    s[:] = _ZERO
    band = take(queue)
    while band < BANDS:
        for group in range(groups * band // BANDS, groups * (band + 1) // BANDS):
            i0 = group * LANES
            count = min(LANES, n - i0)
            for lane in range(count):
                i, row = i0 + lane, _ROWS + lane * _ROW
                for j in range(3):
                    s[row + j] = means[i, j]
                    s[row + 7 + j] = scales[i, j]
                    s[row + 11 + j] = sh0[i, 0, j]
                for j in range(4):
                    s[row + 3 + j] = quats[i, j]
                s[row + 10] = opacities[i]
            transpose(s, _ROWS, _ROW, _COLUMNS, LANES)
            _project(i0, count, s, camera, degree, shN)
            transpose(s, _COLUMNS, LANES, _ROWS, _ROW)
            for lane in range(count):
                i, row = i0 + lane, _ROWS + lane * _ROW
                for j in range(2):
                    means2d[i, j] = s[row + j]
                    radii[i, j] = np.int32(s[row + 9 + j])
                for j in range(3):
                    conics[i, j] = s[row + 2 + j]
                    colors[i, j] = s[row + 6 + j]
                depths[i] = s[row + 5]
        band = take(queue)


@kernel(inline="always")
def _project(i0, count, s, camera, degree, shN):  # type: ignore[no-untyped-def]
    """Compute the columns of the results from those of a group of Gaussians."""
    zero = splat(_ZERO)
    z = _in_camera(s, camera, 2)
    opacity = load(s, _OPACITY)
    # The comparisons are written so that NaN culls.
    seen = (z >= _NEAR) & (z <= _FAR) & (opacity >= _MIN_ALPHA)
    rz = _ONE / z
    slope_x, slope_y = _in_camera(s, camera, 0) * rz, _in_camera(s, camera, 1) * rz
    u, v = slope_x * camera[_FX] + camera[_CX], slope_y * camera[_FY] + camera[_CY]
    j0, j02, j1, j12 = _jacobian(slope_x, slope_y, rz, camera)
    t00, t01, t02 = _times_view(j0, j02, 0, camera)
    t10, t11, t12 = _times_view(j1, j12, 1, camera)
    qw, qx, qy, qz, _ = _unit_quaternion(s)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(qw, qx, qy, qz)
    s0, s1, s2 = load(s, _SCALE), load(s, _SCALE + LANES), load(s, _SCALE + 2 * LANES)
    v00 = (t00 * r00 + t01 * r10 + t02 * r20) * s0
    v01 = (t00 * r01 + t01 * r11 + t02 * r21) * s1
    v02 = (t00 * r02 + t01 * r12 + t02 * r22) * s2
    v10 = (t10 * r00 + t11 * r10 + t12 * r20) * s0
    v11 = (t10 * r01 + t11 * r11 + t12 * r21) * s1
    v12 = (t10 * r02 + t11 * r12 + t12 * r22) * s2
    xx = v00 * v00 + v01 * v01 + v02 * v02
    xy = v00 * v10 + v01 * v11 + v02 * v12
    yy = v10 * v10 + v11 * v11 + v12 * v12
    # det(V V^T) is the sum of V's squared minors (Cauchy and Binet): xx yy - xy^2 would cancel
    # for needles.
    m0, m1, m2 = v00 * v11 - v01 * v10, v00 * v12 - v02 * v10, v01 * v12 - v02 * v11
    det = m0 * m0 + m1 * m1 + m2 * m2 + (xx + yy + _EPS2D) * _EPS2D
    xx, yy = xx + _EPS2D, yy + _EPS2D
    extent = sqrt(maximum(log2(opacity * (_ONE / _MIN_ALPHA)) * _TWO_LN2, _ZERO))
    extent = minimum(extent, _MAX_EXTENT)
    radius_x, radius_y = ceil(extent * sqrt(xx)), ceil(extent * sqrt(yy))
    seen = seen & (det > _ZERO) & ((radius_x > _ZERO) | (radius_y > _ZERO))
    seen = seen & (u + radius_x > _ZERO) & (camera[_WIDTH] > u - radius_x)
    seen = seen & (v + radius_y > _ZERO) & (camera[_HEIGHT] > v - radius_y)
    inv_det = _ONE / det
    # Read the Gaussian's columns before the results overwrite them.
    dx = where(seen, load(s, _MEAN) - camera[_CENTER], splat(_ONE))
    dy = where(seen, load(s, _MEAN + LANES) - camera[_CENTER + 1], splat(_ONE))
    dz = where(seen, load(s, _MEAN + 2 * LANES) - camera[_CENTER + 2], splat(_ONE))
    store(s, _U, where(seen, u, zero))
    store(s, _U + LANES, where(seen, v, zero))
    store(s, _CONIC, where(seen, yy * inv_det, zero))
    store(s, _CONIC + LANES, where(seen, zero - xy * inv_det, zero))
    store(s, _CONIC + 2 * LANES, where(seen, xx * inv_det, zero))
    store(s, _DEPTH, where(seen, z, zero))
    store(s, _RADIUS, where(seen, minimum(radius_x, _MAX_RADIUS), zero))
    store(s, _RADIUS + LANES, where(seen, minimum(radius_y, _MAX_RADIUS), zero))
    if any_lane(seen):
        _read_sh(i0, count, degree, shN, s)
        sh_forward(degree, seen, dx, dy, dz, s, _SH0, _SH_COLUMNS, _COLOR)
    else:
        for ch in range(3):
            store(s, _COLOR + ch * LANES, zero)


@kernel()
def project_backward(
    queue, means, quats, scales, sh0, shN, camera, degree, conics, colors, radii,
    v_means2d, v_conics, v_depths, v_colors,
    v_means, v_quats, v_scales, v_sh0, v_shN,
):  # fmt: skip
    """Write the gradients until the queue has no more bands; culled Gaussians get zeros.

    Args:
        queue: Queue of ``BANDS`` pieces.
        means: [N, 3], as in the forward kernel.
        quats: [N, 4].
        scales: [N, 3].
        sh0: [N, 1, 3].
        shN: [N, K, 3].
        camera: [25].
        degree: Degree of the spherical harmonics.
        conics: [N, 3], from the forward kernel.
        colors: [N, 3], from the forward kernel.
        radii: [N, 2], from the forward kernel.
        v_means2d: [N, 2], gradient of that output.
        v_conics: [N, 3], gradient of that output.
        v_depths: [N], gradient of that output.
        v_colors: [N, 3], gradient of that output.
        v_means: [N, 3], output.
        v_quats: [N, 4], output.
        v_scales: [N, 3], output.
        v_sh0: [N, 1, 3], output.
        v_shN: [N, K, 3], output.
    """
    n = means.shape[0]
    groups = (n + LANES - 1) // LANES
    bases = shN.shape[1]
    used = 3 * ((degree + 1) * (degree + 1) - 1)
    s = scratch(_FLOATS)
    s[:] = _ZERO
    band = take(queue)
    while band < BANDS:
        for group in range(groups * band // BANDS, groups * (band + 1) // BANDS):
            i0 = group * LANES
            count = min(LANES, n - i0)
            for lane in range(count):
                i, row = i0 + lane, _ROWS + lane * _ROW
                for j in range(3):
                    s[row + j] = conics[i, j]
                    s[row + 3 + j] = colors[i, j]
                    s[row + 8 + j] = v_conics[i, j]
                    s[row + 12 + j] = v_colors[i, j]
                for j in range(2):
                    s[row + 6 + j] = v_means2d[i, j]
                s[row + 11] = v_depths[i]
            transpose(s, _ROWS, _ROW, _INCOMING, LANES)
            for lane in range(count):
                i, row = i0 + lane, _ROWS + lane * _ROW
                for j in range(3):
                    s[row + j] = means[i, j]
                    s[row + 7 + j] = scales[i, j]
                for j in range(4):
                    s[row + 3 + j] = quats[i, j]
                s[row + 10] = _F(radii[i, 0] | radii[i, 1])
            transpose(s, _ROWS, _ROW, _COLUMNS, LANES)
            _read_sh(i0, count, degree, shN, s)
            _project_back(s, camera, degree)
            transpose(s, _V_COLUMNS, LANES, _ROWS, _ROW)
            for j in range(0, used, LANES):
                transpose(s, _V_SH_COLUMNS + j * LANES, LANES, _SH_ROWS + j, _SH_ROW)
            for lane in range(count):
                i, row, sh_row = i0 + lane, _ROWS + lane * _ROW, _SH_ROWS + lane * _SH_ROW
                for j in range(3):
                    v_means[i, j] = s[row + j]
                    v_scales[i, j] = s[row + 7 + j]
                    v_sh0[i, 0, j] = s[row + 11 + j]
                for j in range(4):
                    v_quats[i, j] = s[row + 3 + j]
                if 3 * bases == _SH == used:
                    store(v_shN, i * _SH, load(s, sh_row))
                    store(v_shN, i * _SH + LANES, load(s, sh_row + LANES))
                    store(v_shN, (i + 1) * _SH - LANES, load(s, sh_row + _SH - LANES))
                else:
                    for j in range(3 * bases):
                        v_shN[i, j // 3, j % 3] = s[sh_row + j] if j < used else _ZERO
        band = take(queue)


@kernel(inline="always")
def _project_back(s, camera, degree):  # type: ignore[no-untyped-def]
    """Compute the columns of a group's gradients from its own and the incoming gradients."""
    zero, one = splat(_ZERO), splat(_ONE)
    seen = load(s, _OPACITY) > _ZERO  # either radius
    rz = one / where(seen, _in_camera(s, camera, 2), one)
    slope_x, slope_y = _in_camera(s, camera, 0) * rz, _in_camera(s, camera, 1) * rz
    j0, j02, j1, j12 = _jacobian(slope_x, slope_y, rz, camera)
    t00, t01, t02 = _times_view(j0, j02, 0, camera)
    t10, t11, t12 = _times_view(j1, j12, 1, camera)
    qw, qx, qy, qz, inv = _unit_quaternion(s)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(qw, qx, qy, qz)
    u00 = t00 * r00 + t01 * r10 + t02 * r20
    u01 = t00 * r01 + t01 * r11 + t02 * r21
    u02 = t00 * r02 + t01 * r12 + t02 * r22
    u10 = t10 * r00 + t11 * r10 + t12 * r20
    u11 = t10 * r01 + t11 * r11 + t12 * r21
    u12 = t10 * r02 + t11 * r12 + t12 * r22
    s0, s1, s2 = load(s, _SCALE), load(s, _SCALE + LANES), load(s, _SCALE + 2 * LANES)

    # conic = cov^-1, so v_cov = -conic G conic with G the symmetric gradient of the conic
    a, b, c = load(s, _IN_CONIC), load(s, _IN_CONIC + LANES), load(s, _IN_CONIC + 2 * LANES)
    ga, gc = load(s, _V_CONIC), load(s, _V_CONIC + 2 * LANES)
    gb = load(s, _V_CONIC + LANES) * _HALF
    m00, m01 = a * ga + b * gb, a * gb + b * gc
    m10, m11 = b * ga + c * gb, b * gb + c * gc
    g00 = (m00 * a + m01 * b) * (_ZERO - _TWO)  # 2 v_cov, the factor of d(V V^T)
    g01 = (m00 * b + m01 * c) * (_ZERO - _TWO)
    g11 = (m10 * b + m11 * c) * (_ZERO - _TWO)
    # v_V = 2 v_cov V; V = U diag(s)
    p00, p10 = (g00 * u00 + g01 * u10) * s0, (g01 * u00 + g11 * u10) * s0
    p01, p11 = (g00 * u01 + g01 * u11) * s1, (g01 * u01 + g11 * u11) * s1
    p02, p12 = (g00 * u02 + g01 * u12) * s2, (g01 * u02 + g11 * u12) * s2
    store(s, _V_SCALE, where(seen, p00 * u00 + p10 * u10, zero))
    store(s, _V_SCALE + LANES, where(seen, p01 * u01 + p11 * u11, zero))
    store(s, _V_SCALE + 2 * LANES, where(seen, p02 * u02 + p12 * u12, zero))
    p00, p10 = p00 * s0, p10 * s0  # now v_U
    p01, p11 = p01 * s1, p11 * s1
    p02, p12 = p02 * s2, p12 * s2

    # U = T R: v_R = T^T v_U, v_T = v_U R^T
    e00, e01, e02 = t00 * p00 + t10 * p10, t00 * p01 + t10 * p11, t00 * p02 + t10 * p12
    e10, e11, e12 = t01 * p00 + t11 * p10, t01 * p01 + t11 * p11, t01 * p02 + t11 * p12
    e20, e21, e22 = t02 * p00 + t12 * p10, t02 * p01 + t12 * p11, t02 * p02 + t12 * p12
    # Half of the unit quaternion's gradient.
    vw = qx * (e21 - e12) + qy * (e02 - e20) + qz * (e10 - e01)
    vx = qw * (e21 - e12) - qx * (e11 + e22) * _TWO + qy * (e01 + e10) + qz * (e02 + e20)
    vy = qw * (e02 - e20) + qx * (e01 + e10) - qy * (e00 + e22) * _TWO + qz * (e12 + e21)
    vz = qw * (e10 - e01) + qx * (e02 + e20) + qy * (e12 + e21) - qz * (e00 + e11) * _TWO
    along = vw * qw + vx * qx + vy * qy + vz * qz  # normalisation removes this direction
    inv = inv * _TWO
    store(s, _V_QUAT, where(seen, (vw - along * qw) * inv, zero))
    store(s, _V_QUAT + LANES, where(seen, (vx - along * qx) * inv, zero))
    store(s, _V_QUAT + 2 * LANES, where(seen, (vy - along * qy) * inv, zero))
    store(s, _V_QUAT + 3 * LANES, where(seen, (vz - along * qz) * inv, zero))

    f00 = p00 * r00 + p01 * r01 + p02 * r02
    f01 = p00 * r10 + p01 * r11 + p02 * r12
    f02 = p00 * r20 + p01 * r21 + p02 * r22
    f10 = p10 * r00 + p11 * r01 + p12 * r02
    f11 = p10 * r10 + p11 * r11 + p12 * r12
    f12 = p10 * r20 + p11 * r21 + p12 * r22
    # T = J W: v_J = v_T W^T
    v_j00 = f00 * camera[_X_ROW] + f01 * camera[_X_ROW + 1] + f02 * camera[_X_ROW + 2]
    v_j02 = f00 * camera[_Z_ROW] + f01 * camera[_Z_ROW + 1] + f02 * camera[_Z_ROW + 2]
    v_j11 = f10 * camera[_Y_ROW] + f11 * camera[_Y_ROW + 1] + f12 * camera[_Y_ROW + 2]
    v_j12 = f10 * camera[_Z_ROW] + f11 * camera[_Z_ROW + 1] + f12 * camera[_Z_ROW + 2]
    vu, vv = load(s, _V_U), load(s, _V_U + LANES)
    # J00 = fx / z; J02 = -fx clamp(x / z) / z, and where that is not clamped, x and z act on it
    follows_x = (slope_x >= camera[_LEAST_X]) & (slope_x <= camera[_MOST_X])
    follows_y = (slope_y >= camera[_LEAST_Y]) & (slope_y <= camera[_MOST_Y])
    free_x = where(follows_x, j0 * rz * v_j02, zero)
    free_y = where(follows_y, j1 * rz * v_j12, zero)
    gx, gy = j0 * vu - free_x, j1 * vv - free_y
    gz = load(s, _V_DEPTH) - j0 * (slope_x * vu + rz * v_j00) - j1 * (slope_y * vv + rz * v_j11)
    gz = gz - rz * (j02 * v_j02 + j12 * v_j12) + free_x * slope_x + free_y * slope_y
    dx = where(seen, load(s, _MEAN) - camera[_CENTER], one)
    dy = where(seen, load(s, _MEAN + LANES) - camera[_CENTER + 1], one)
    dz = where(seen, load(s, _MEAN + 2 * LANES) - camera[_CENTER + 2], one)
    dx, dy, dz = sh_backward(
        degree, dx, dy, dz, s, _SH_COLUMNS, _IN_COLOR, _V_COLOR, _V_SH0, _V_SH_COLUMNS
    )
    for j in range(3):
        along = gx * camera[_X_ROW + j] + gy * camera[_Y_ROW + j] + gz * camera[_Z_ROW + j]
        own = dx if j == 0 else (dy if j == 1 else dz)
        store(s, _V_MEAN + j * LANES, where(seen, along + own, zero))


def pack_camera(viewmat: Tensor, K: Tensor, width: int, height: int) -> np.ndarray:
    """Return a camera as one float32 array [25]; its entries are listed above."""
    pose = viewmat.detach().cpu().double().numpy()
    intrinsics = K.detach().cpu().double().numpy()
    fx, fy, cx, cy = (intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2])
    margin_x, margin_y = 0.3 * 0.5 * width / fx, 0.3 * 0.5 * height / fy
    packed = np.empty(_CAMERA, np.float64)
    packed[_X_ROW:_TRANSLATION] = pose[:3, :3].reshape(9)
    packed[_TRANSLATION:_CENTER] = pose[:3, 3]
    packed[_CENTER:_FX] = -pose[:3, :3].T @ pose[:3, 3]
    packed[_FX:_LEAST_X] = fx, fy, cx, cy
    packed[_LEAST_X:_LEAST_Y] = -(cx / fx + margin_x), (width - cx) / fx + margin_x
    packed[_LEAST_Y:_WIDTH] = -(cy / fy + margin_y), (height - cy) / fy + margin_y
    packed[_WIDTH:] = width, height
    return packed.astype(np.float32)


class ProjectAndColor(torch.autograd.Function):
    """The two kernels as one autograd function."""

    @staticmethod
    def forward(ctx: Any, means, quats, scales, opacities, sh0, shN, camera, degree):  # type: ignore[no-untyped-def]
        """Return means2d [N, 2], conics [N, 3], depths [N], colors [N, 3], radii [N, 2] int32."""
        n = means.shape[0]
        inputs = [t.detach().numpy() for t in (means, quats, scales, opacities, sh0, shN)]
        outputs = [torch.empty(shape) for shape in ((n, 2), (n, 3), (n,), (n, 3))]
        radii = torch.empty((n, 2), dtype=torch.int32)
        arrays = [t.numpy() for t in (*outputs, radii)]
        run_queue(project_forward, BANDS, *inputs, camera, degree, *arrays)
        ctx.save_for_backward(means, quats, scales, sh0, shN, outputs[1], outputs[3], radii)
        ctx.camera, ctx.degree = camera, degree
        ctx.mark_non_differentiable(radii)
        return (*outputs, radii)

    @staticmethod
    def backward(ctx: Any, v_means2d, v_conics, v_depths, v_colors, _v_radii):  # type: ignore[no-untyped-def]
        """Return the gradients of the inputs; that of the opacity is None."""
        means, quats, scales, sh0, shN, conics, colors, radii = ctx.saved_tensors
        incoming = [t.contiguous().numpy() for t in (v_means2d, v_conics, v_depths, v_colors)]
        outputs = [torch.empty_like(t) for t in (means, quats, scales, sh0, shN)]
        run_queue(
            project_backward, BANDS,
            *(t.detach().numpy() for t in (means, quats, scales, sh0, shN)),
            ctx.camera, ctx.degree, *(t.numpy() for t in (conics, colors, radii)),
            *incoming, *(t.numpy() for t in outputs),
        )  # fmt: skip
        v_means, v_quats, v_scales, v_sh0, v_shN = outputs
        return v_means, v_quats, v_scales, None, v_sh0, v_shN, None, None
