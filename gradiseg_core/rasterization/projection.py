"""Projection of Gaussians and their view-dependent colours: numba kernels and their gradients.

One pass over the Gaussians does what :mod:`.reference` writes as ``project`` and
``colors_from_sh``; one pass backwards recomputes the few intermediates instead of storing them.

Notation: ``U = J W R`` (2 x 3) maps the Gaussian's own axes to pixels, ``V = U diag(s)``, and the
2D covariance is ``V V^T + eps2d I``. ``v_x`` is the gradient of the loss with respect to ``x``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradiseg_core.cpu_runtime import kernel, run_bands
from gradiseg_core.rasterization.harmonics import sh_backward, sh_forward

BANDS = 16  # pieces of the Gaussians that threads take; no effect on the result

_F = np.float32
_EPS2D = _F(0.3)
_NEAR = _F(0.01)
_FAR = _F(1e10)
_MAX_EXTENT = _F(3.33)
_MIN_ALPHA = _F(1.0 / 255.0)
_MAX_RADIUS = _F(1e9)  # fits int32
_ONE = _F(1.0)
_TWO = _F(2.0)
_HALF = _F(0.5)
_ZERO = _F(0.0)

# NaN and infinity must keep their meaning here: they decide what is culled.
_FASTMATH = {"contract", "nsz"}


@kernel(fastmath=_FASTMATH, inline="never")
def _rotation(w: Any, x: Any, y: Any, z: Any) -> Any:
    """Return the nine entries, row by row, of the rotation of a unit quaternion."""
    return (
        _ONE - _TWO * (y * y + z * z), _TWO * (x * y - w * z), _TWO * (x * z + w * y),
        _TWO * (x * y + w * z), _ONE - _TWO * (x * x + z * z), _TWO * (y * z - w * x),
        _TWO * (x * z - w * y), _TWO * (y * z + w * x), _ONE - _TWO * (x * x + y * y),
    )  # fmt: skip


@kernel(fastmath=_FASTMATH)
def project_forward(
    band, means, quats, scales, opacities, sh0, shN, camera, degree,
    means2d, conics, depths, colors, radii,
):  # fmt: skip
    """Project one band of Gaussians and colour the visible ones.

    Args:
        band: Which of the ``BANDS`` pieces.
        means: [N, 3] float32, as all following unless said otherwise.
        quats: [N, 4].
        scales: [N, 3].
        opacities: [N].
        sh0: [N, 1, 3].
        shN: [N, K, 3].
        camera: [25], see :func:`pack_camera`.
        degree: Of the spherical harmonics, 0 to 3.
        means2d: [N, 2], output, px. Culled Gaussians get zeros, here and below.
        conics: [N, 3], output, px^-2.
        depths: [N], output, world units.
        colors: [N, 3], output.
        radii: [N, 2] int32, output, px.
    """
    n = means.shape[0]
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = (
        camera[0], camera[1], camera[2], camera[3], camera[4], camera[5], camera[6], camera[7],
        camera[8],
    )  # fmt: skip
    fx, fy, cx, cy = camera[15], camera[16], camera[17], camera[18]
    low_x, high_x, low_y, high_y = camera[19], camera[20], camera[21], camera[22]
    width, height = camera[23], camera[24]
    for i in range(n * band // BANDS, n * (band + 1) // BANDS):
        radii[i, 0] = 0
        radii[i, 1] = 0
        means2d[i, 0] = _ZERO
        means2d[i, 1] = _ZERO
        conics[i, 0] = _ZERO
        conics[i, 1] = _ZERO
        conics[i, 2] = _ZERO
        depths[i] = _ZERO
        colors[i, 0] = _ZERO
        colors[i, 1] = _ZERO
        colors[i, 2] = _ZERO
        px, py, pz = means[i, 0], means[i, 1], means[i, 2]
        z = w20 * px + w21 * py + w22 * pz + camera[11]
        opacity = opacities[i]
        # Conditions are written so that NaN culls.
        if not (z >= _NEAR and z <= _FAR and opacity >= _MIN_ALPHA):
            continue
        x = w00 * px + w01 * py + w02 * pz + camera[9]
        y = w10 * px + w11 * py + w12 * pz + camera[10]
        rz = _ONE / z
        u = fx * x * rz + cx
        v = fy * y * rz + cy
        j0 = fx * rz
        j1 = fy * rz
        j02 = -j0 * min(max(x * rz, low_x), high_x)
        j12 = -j1 * min(max(y * rz, low_y), high_y)
        # T = J W
        t00, t01, t02 = j0 * w00 + j02 * w20, j0 * w01 + j02 * w21, j0 * w02 + j02 * w22
        t10, t11, t12 = j1 * w10 + j12 * w20, j1 * w11 + j12 * w21, j1 * w12 + j12 * w22
        qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        inv = _ONE / math.sqrt(max(qw * qw + qx * qx + qy * qy + qz * qz, _F(1e-24)))
        r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(
            qw * inv, qx * inv, qy * inv, qz * inv
        )
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]
        v00 = (t00 * r00 + t01 * r10 + t02 * r20) * s0
        v01 = (t00 * r01 + t01 * r11 + t02 * r21) * s1
        v02 = (t00 * r02 + t01 * r12 + t02 * r22) * s2
        v10 = (t10 * r00 + t11 * r10 + t12 * r20) * s0
        v11 = (t10 * r01 + t11 * r11 + t12 * r21) * s1
        v12 = (t10 * r02 + t11 * r12 + t12 * r22) * s2
        xx = v00 * v00 + v01 * v01 + v02 * v02 + _EPS2D
        xy = v00 * v10 + v01 * v11 + v02 * v12
        yy = v10 * v10 + v11 * v11 + v12 * v12 + _EPS2D
        det = xx * yy - xy * xy
        if not (det > _ZERO):
            continue
        extent = min(_MAX_EXTENT, math.sqrt(max(_ZERO, _TWO * math.log(opacity / _MIN_ALPHA))))
        radius_x = math.ceil(extent * math.sqrt(xx))
        radius_y = math.ceil(extent * math.sqrt(yy))
        if not (radius_x > _ZERO or radius_y > _ZERO):
            continue
        if not (u + radius_x > _ZERO and u - radius_x < width):
            continue
        if not (v + radius_y > _ZERO and v - radius_y < height):
            continue
        inv_det = _ONE / det
        means2d[i, 0] = u
        means2d[i, 1] = v
        conics[i, 0] = yy * inv_det
        conics[i, 1] = -xy * inv_det
        conics[i, 2] = xx * inv_det
        depths[i] = z
        radii[i, 0] = np.int32(min(radius_x, _MAX_RADIUS))
        radii[i, 1] = np.int32(min(radius_y, _MAX_RADIUS))
        sh_forward(i, px - camera[12], py - camera[13], pz - camera[14], degree, sh0, shN, colors)


@kernel(fastmath=_FASTMATH)
def project_backward(
    band, means, quats, scales, sh0, shN, camera, degree, conics, colors, radii,
    v_means2d, v_conics, v_depths, v_colors,
    v_means, v_quats, v_scales, v_sh0, v_shN,
):  # fmt: skip
    """Write the gradients of one band of Gaussians; culled ones get zeros.

    Args:
        band: Which of the ``BANDS`` pieces.
        means: [N, 3], as in the forward kernel.
        quats: [N, 4].
        scales: [N, 3].
        sh0: [N, 1, 3].
        shN: [N, K, 3].
        camera: [25].
        degree: Of the spherical harmonics.
        conics: [N, 3], what the forward kernel wrote.
        colors: [N, 3], what the forward kernel wrote.
        radii: [N, 2], what the forward kernel wrote.
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
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = (
        camera[0], camera[1], camera[2], camera[3], camera[4], camera[5], camera[6], camera[7],
        camera[8],
    )  # fmt: skip
    fx, fy = camera[15], camera[16]
    low_x, high_x, low_y, high_y = camera[19], camera[20], camera[21], camera[22]
    for i in range(n * band // BANDS, n * (band + 1) // BANDS):
        if radii[i, 0] == 0 and radii[i, 1] == 0:
            v_means[i, :] = _ZERO
            v_quats[i, :] = _ZERO
            v_scales[i, :] = _ZERO
            v_sh0[i, :, :] = _ZERO
            v_shN[i, :, :] = _ZERO
            continue
        px, py, pz = means[i, 0], means[i, 1], means[i, 2]
        x = w00 * px + w01 * py + w02 * pz + camera[9]
        y = w10 * px + w11 * py + w12 * pz + camera[10]
        z = w20 * px + w21 * py + w22 * pz + camera[11]
        rz = _ONE / z
        j0 = fx * rz
        j1 = fy * rz
        slope_x, slope_y = x * rz, y * rz
        clamped_x = min(max(slope_x, low_x), high_x)
        clamped_y = min(max(slope_y, low_y), high_y)
        j02 = -j0 * clamped_x
        j12 = -j1 * clamped_y
        t00, t01, t02 = j0 * w00 + j02 * w20, j0 * w01 + j02 * w21, j0 * w02 + j02 * w22
        t10, t11, t12 = j1 * w10 + j12 * w20, j1 * w11 + j12 * w21, j1 * w12 + j12 * w22
        qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        inv = _ONE / math.sqrt(max(qw * qw + qx * qx + qy * qy + qz * qz, _F(1e-24)))
        qw, qx, qy, qz = qw * inv, qx * inv, qy * inv, qz * inv
        r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(qw, qx, qy, qz)
        u00 = t00 * r00 + t01 * r10 + t02 * r20
        u01 = t00 * r01 + t01 * r11 + t02 * r21
        u02 = t00 * r02 + t01 * r12 + t02 * r22
        u10 = t10 * r00 + t11 * r10 + t12 * r20
        u11 = t10 * r01 + t11 * r11 + t12 * r21
        u12 = t10 * r02 + t11 * r12 + t12 * r22
        s0, s1, s2 = scales[i, 0], scales[i, 1], scales[i, 2]

        # conic = cov^-1, so v_cov = -conic G conic with G the symmetric gradient of the conic
        a, b, c = conics[i, 0], conics[i, 1], conics[i, 2]
        ga, gb, gc = v_conics[i, 0], _HALF * v_conics[i, 1], v_conics[i, 2]
        m00, m01 = a * ga + b * gb, a * gb + b * gc
        m10, m11 = b * ga + c * gb, b * gb + c * gc
        g00 = -_TWO * (m00 * a + m01 * b)  # 2 v_cov, the factor of d(V V^T)
        g01 = -_TWO * (m00 * b + m01 * c)
        g11 = -_TWO * (m10 * b + m11 * c)
        # v_V = 2 v_cov V; V = U diag(s)
        p00 = (g00 * u00 + g01 * u10) * s0
        p01 = (g00 * u01 + g01 * u11) * s1
        p02 = (g00 * u02 + g01 * u12) * s2
        p10 = (g01 * u00 + g11 * u10) * s0
        p11 = (g01 * u01 + g11 * u11) * s1
        p12 = (g01 * u02 + g11 * u12) * s2
        v_scales[i, 0] = p00 * u00 + p10 * u10
        v_scales[i, 1] = p01 * u01 + p11 * u11
        v_scales[i, 2] = p02 * u02 + p12 * u12
        p00, p10 = p00 * s0, p10 * s0  # now v_U
        p01, p11 = p01 * s1, p11 * s1
        p02, p12 = p02 * s2, p12 * s2

        # U = T R: v_R = T^T v_U, v_T = v_U R^T
        e00, e01, e02 = t00 * p00 + t10 * p10, t00 * p01 + t10 * p11, t00 * p02 + t10 * p12
        e10, e11, e12 = t01 * p00 + t11 * p10, t01 * p01 + t11 * p11, t01 * p02 + t11 * p12
        e20, e21, e22 = t02 * p00 + t12 * p10, t02 * p01 + t12 * p11, t02 * p02 + t12 * p12
        vw = _TWO * (qx * (e21 - e12) + qy * (e02 - e20) + qz * (e10 - e01))
        vx = _TWO * (
            qw * (e21 - e12) - _TWO * qx * (e11 + e22) + qy * (e01 + e10) + qz * (e02 + e20)
        )
        vy = _TWO * (
            qw * (e02 - e20) + qx * (e01 + e10) - _TWO * qy * (e00 + e22) + qz * (e12 + e21)
        )
        vz = _TWO * (
            qw * (e10 - e01) + qx * (e02 + e20) + qy * (e12 + e21) - _TWO * qz * (e00 + e11)
        )
        along = vw * qw + vx * qx + vy * qy + vz * qz  # normalisation removes this direction
        v_quats[i, 0] = (vw - along * qw) * inv
        v_quats[i, 1] = (vx - along * qx) * inv
        v_quats[i, 2] = (vy - along * qy) * inv
        v_quats[i, 3] = (vz - along * qz) * inv

        f00 = p00 * r00 + p01 * r01 + p02 * r02
        f01 = p00 * r10 + p01 * r11 + p02 * r12
        f02 = p00 * r20 + p01 * r21 + p02 * r22
        f10 = p10 * r00 + p11 * r01 + p12 * r02
        f11 = p10 * r10 + p11 * r11 + p12 * r12
        f12 = p10 * r20 + p11 * r21 + p12 * r22
        # T = J W: v_J = v_T W^T
        v_j00 = f00 * w00 + f01 * w01 + f02 * w02
        v_j02 = f00 * w20 + f01 * w21 + f02 * w22
        v_j11 = f10 * w10 + f11 * w11 + f12 * w12
        v_j12 = f10 * w20 + f11 * w21 + f12 * w22
        vu, vv = v_means2d[i, 0], v_means2d[i, 1]
        # J00 = fx / z; J02 = -fx clamp(x / z) / z
        gx = j0 * vu
        gy = j1 * vv
        gz = -j0 * (slope_x * vu + rz * v_j00) - j1 * (slope_y * vv + rz * v_j11)
        gz += v_depths[i] - rz * (j02 * v_j02 + j12 * v_j12)
        if slope_x >= low_x and slope_x <= high_x:
            gx -= j0 * rz * v_j02
            gz += j0 * rz * slope_x * v_j02
        if slope_y >= low_y and slope_y <= high_y:
            gy -= j1 * rz * v_j12
            gz += j1 * rz * slope_y * v_j12
        dx, dy, dz = sh_backward(
            i, px - camera[12], py - camera[13], pz - camera[14], degree, sh0, shN,
            colors, v_colors, v_sh0, v_shN,
        )  # fmt: skip
        v_means[i, 0] = w00 * gx + w10 * gy + w20 * gz + dx
        v_means[i, 1] = w01 * gx + w11 * gy + w21 * gz + dy
        v_means[i, 2] = w02 * gx + w12 * gy + w22 * gz + dz


def pack_camera(viewmat: Tensor, K: Tensor, width: int, height: int) -> np.ndarray:
    """Return what the kernels need of a camera as one float32 array [25].

    Entries: 0-8 rotation by rows, 9-11 translation, 12-14 centre in the world, 15-18 fx fy cx cy,
    19-22 range of x/z and of y/z in which the Jacobian follows the centre, 23-24 width, height.
    """
    pose = viewmat.detach().cpu().double().numpy()
    intrinsics = K.detach().cpu().double().numpy()
    fx, fy, cx, cy = (intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2])
    margin_x, margin_y = 0.3 * 0.5 * width / fx, 0.3 * 0.5 * height / fy
    packed = np.empty(25, np.float64)
    packed[:9] = pose[:3, :3].reshape(9)
    packed[9:12] = pose[:3, 3]
    packed[12:15] = -pose[:3, :3].T @ pose[:3, 3]
    packed[15:19] = fx, fy, cx, cy
    packed[19:21] = -(cx / fx + margin_x), (width - cx) / fx + margin_x
    packed[21:23] = -(cy / fy + margin_y), (height - cy) / fy + margin_y
    packed[23:] = width, height
    return packed.astype(np.float32)


class ProjectAndColor(torch.autograd.Function):
    """Autograd boundary of the two kernels."""

    @staticmethod
    def forward(ctx: Any, means, quats, scales, opacities, sh0, shN, camera, degree):  # type: ignore[no-untyped-def]
        """Return means2d [N, 2], conics [N, 3], depths [N], colors [N, 3], radii [N, 2] int32."""
        n = means.shape[0]
        inputs = [t.detach().numpy() for t in (means, quats, scales, opacities, sh0, shN)]
        outputs = [torch.empty(shape) for shape in ((n, 2), (n, 3), (n,), (n, 3))]
        radii = torch.empty((n, 2), dtype=torch.int32)
        arrays = [t.numpy() for t in (*outputs, radii)]
        run_bands(project_forward, BANDS, *inputs, camera, degree, *arrays)
        ctx.save_for_backward(means, quats, scales, sh0, shN, outputs[1], outputs[3], radii)
        ctx.camera, ctx.degree = camera, degree
        ctx.mark_non_differentiable(radii)
        return (*outputs, radii)

    @staticmethod
    def backward(ctx: Any, v_means2d, v_conics, v_depths, v_colors, _v_radii):  # type: ignore[no-untyped-def]
        """Return the gradients of the inputs; opacity acts on nothing differentiable here."""
        means, quats, scales, sh0, shN, conics, colors, radii = ctx.saved_tensors
        incoming = [t.contiguous().numpy() for t in (v_means2d, v_conics, v_depths, v_colors)]
        outputs = [torch.empty_like(t) for t in (means, quats, scales, sh0, shN)]
        run_bands(
            project_backward, BANDS,
            *(t.detach().numpy() for t in (means, quats, scales, sh0, shN)),
            ctx.camera, ctx.degree, *(t.numpy() for t in (conics, colors, radii)),
            *incoming, *(t.numpy() for t in outputs),
        )  # fmt: skip
        v_means, v_quats, v_scales, v_sh0, v_shN = outputs
        return v_means, v_quats, v_scales, None, v_sh0, v_shN, None, None
