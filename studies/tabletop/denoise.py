"""Removal of path-tracing noise: smooth the light, keep the textures.

The image is divided by the surfaces' own colour (albedo, rendered without noise); what remains is
light, smooth but for shadow edges. It is filtered by the edge-avoiding a-trous wavelet transform
(Dammertz et al. 2010) with normals, tangent planes and brightness as edge stops, and multiplied
back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

_KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0], dtype=np.float32) / 16.0  # B3 spline
_STEPS = (1, 2, 4)  # px between taps, one pass each
_NORMAL_POWER = 24.0
_PLANE_TOLERANCE = 0.004  # m off the tangent plane
_LOG_LIGHT_TOLERANCE = (1.2, 0.5, 0.3)  # per pass: the light gets less noisy
_ALBEDO_FLOOR = 0.03  # keeps the division of dark surfaces' highlights bounded


def denoise(radiance: Image, albedo: Image, points_in_world: Image, normals: Image) -> Image:
    """Return the denoised radiance, [H, W, 3].

    Args:
        radiance: [H, W, 3] linear, noisy.
        albedo: [H, W, 3] linear diffuse colour.
        points_in_world: [H, W, 3] surface points at pixel centres, m.
        normals: [H, W, 3] unit shading normals there.
    """
    surface = albedo + _ALBEDO_FLOOR
    light = _without_outliers((radiance / surface).astype(np.float32))
    for step, tolerance in zip(_STEPS, _LOG_LIGHT_TOLERANCE, strict=True):
        light = _pass(light, points_in_world, normals, step, tolerance)
    return light * surface


def _pass(light: Image, points: Image, normals: Image, step: int, tolerance: float) -> Image:
    height, width = light.shape[:2]
    brightness = np.log(light.mean(axis=-1) + 0.02)
    reach = 2 * step
    padded = [
        np.pad(array, ((reach, reach), (reach, reach)) + ((0, 0),) * (array.ndim - 2), mode="edge")
        for array in (light, points, normals, brightness)
    ]
    total = np.zeros_like(light)
    weights = np.zeros((height, width), dtype=np.float32)
    for i, weight_i in enumerate(_KERNEL):
        for j, weight_j in enumerate(_KERNEL):
            rows = slice(i * step, i * step + height)
            columns = slice(j * step, j * step + width)
            other_light, other_point, other_normal, other_bright = (
                array[rows, columns] for array in padded
            )
            cosine = np.maximum(np.einsum("ijk,ijk->ij", normals, other_normal), 0.0)
            off_plane = np.abs(np.einsum("ijk,ijk->ij", normals, other_point - points))
            exponent = off_plane / _PLANE_TOLERANCE
            exponent += np.abs(other_bright - brightness) / tolerance
            weight = weight_i * weight_j * np.exp(-exponent) * cosine**_NORMAL_POWER
            weight += 1e-12 if i == j == 2 else 0.0  # never 0 / 0 where nothing was hit
            total += weight[..., None] * other_light
            weights += weight
    return total / weights[..., None]


def _without_outliers(light: Image) -> Image:
    """Bound every pixel's brightness by the second brightest of its 8 neighbours' (x 1.5)."""
    brightness = light.mean(axis=-1)
    height, width = brightness.shape
    padded = np.pad(brightness, 1, mode="edge")
    around = [
        padded[i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
        if (i, j) != (1, 1)
    ]
    bound = 1.5 * np.sort(np.stack(around), axis=0)[-2]
    return light * np.minimum(1.0, bound / np.maximum(brightness, 1e-6))[..., None]
