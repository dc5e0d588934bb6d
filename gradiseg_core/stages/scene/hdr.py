"""HDR pictures (HLG or PQ, BT.2020), and others of wide primaries, in sRGB.

Signal to display light (BT.2100: PQ's EOTF; HLG's inverse OETF and OOTF for a display of 1000
nits), relative to reference white at 203 nits (BT.2408); primaries of BT.2020 to those of BT.709;
what is brighter than three quarters of white is compressed without a kink (:func:`compressed`);
sRGB's transfer function.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.srgb import encoded, linear_light

PQ, HLG, LINEAR = 16, 18, 8
"""Transfer characteristics (H.273)."""
BT2020, P3 = 9, 12
"""Primaries (H.273)."""

_WHITE_NITS = 203.0
_HLG_PEAK_NITS = 1000.0
_HLG_GAMMA = 1.2  # of the OOTF at that peak
_KNEE = 0.75  # of white
_ROWS = 256  # at a time: memory

_BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
#: Linear BT.2020 to linear BT.709 (BT.2087, D65).
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)


#: Linear light of wide primaries to linear BT.709; P3 with the white of D65 (SMPTE EG 432-1).
WIDE = {
    BT2020: _TO_BT709,
    P3: np.array(
        [[1.2249, -0.2249, 0.0], [-0.0420, 1.0420, 0.0], [-0.0197, -0.0786, 1.0983]], np.float32
    ),
}


def wide_to_srgb(picture: NDArray[np.uint8], primaries: int) -> NDArray[np.uint8]:
    """Return a picture of sRGB's transfer function and wide primaries in sRGB, clipped to it.

    Args:
        picture: [H, W, 3].
        primaries: One of :data:`WIDE`.
    """
    light = linear_light(np.linspace(0.0, 1.0, 256)).astype(np.float32)
    result = np.empty_like(picture)
    for top in range(0, len(picture), _ROWS):
        rows = slice(top, top + _ROWS)
        linear = np.clip(light[picture[rows]] @ WIDE[primaries].T, 0.0, 1.0)
        result[rows] = (255.0 * encoded(linear) + 0.5).astype(np.uint8)
    return result


def hdr_to_srgb(signal: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Return a picture in 8-bit sRGB.

    Args:
        signal: [H, W, 3], R'G'B' of BT.2020 in full range, 0..65535.
        transfer: :data:`PQ` or :data:`HLG`.
    """
    picture = np.empty(signal.shape, np.uint8)
    light = _light_of(transfer)
    for top in range(0, len(signal), _ROWS):
        rows = slice(top, top + _ROWS)
        linear = light[signal[rows]]  # [h, W, 3] relative to white
        if transfer == HLG:
            luma = np.maximum(linear @ _BT2020_LUMA, 1e-6)
            linear *= (_HLG_PEAK_NITS / _WHITE_NITS) * luma[..., None] ** (_HLG_GAMMA - 1.0)
        linear = np.maximum(linear @ _TO_BT709.T, 0.0)
        brightest = np.maximum(linear.max(axis=-1), 1e-6)
        linear *= (compressed(brightest) / brightest)[..., None]
        picture[rows] = (255.0 * encoded(linear) + 0.5).astype(np.uint8)
    return picture


def compressed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return light below 1: unchanged up to the knee, with slope 1 there, and towards 1 beyond.

    Args:
        light: Relative to white, at least 0.
    """
    room = 1.0 - _KNEE
    beyond = np.maximum(light - _KNEE, 0.0) / room
    return np.where(light <= _KNEE, light, _KNEE + room * -np.expm1(-beyond)).astype(np.float32)


@cache
def _light_of(transfer: int) -> NDArray[np.float32]:
    """Return [65536] light by signal: for PQ relative to white, for HLG of the scene, 0..1."""
    signal = np.linspace(0.0, 1.0, 65536)
    if transfer == PQ:
        root = signal ** (32 / 2523)  # 1 / m2
        above = np.maximum(root - 3424 / 4096, 0.0) / (2413 / 128 - 2392 / 128 * root)
        nits = 10_000.0 * above ** (8192 / 1305)  # 1 / m1
        return (nits / _WHITE_NITS).astype(np.float32)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        return light.astype(np.float32)
    raise ValueError(f"transfer {transfer} is neither PQ (16) nor HLG (18)")
