"""The compact binary form of Gaussians that the page holds; ``web/format.js`` reads it.

Gaussians are sorted along a space-filling curve and cut into chunks of :data:`CHUNK`. The bytes are
columns, one value of every Gaussian after the other, so that deflate sees what is alike together:

    boxes        6 x float32 a chunk: the corner and the size of its positions' box
    position     x, y, z: 16 bits in the chunk's box, low bytes and high bytes apart
    scale        3 x 8 bits of the logarithm
    quaternion   the three smaller components (w, x, y, z without the largest, which is made
                 positive), 8 bits each over +-1/sqrt(2), and which one is the largest
    opacity      8 bits
    sh0, shN     8 bits; shN basis by basis, red, green and blue of each
    object       16 bits, the place in the table of objects, low bytes and high bytes apart
    confidence   8 bits, the probability of that object
    identity     3 x 8 bits, colour of the encoding (PCA)

All is compressed as gzip. In large scenes (:data:`LEAN_ABOVE`) harmonics end at degree 1 and the
low bits of some columns are rounded away, which deflate turns into fewer bytes: about 18 a
Gaussian.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.exporting.morton import spread_bits

CHUNK = 256
#: Number of Gaussians above which less is kept of what the eye hardly sees.
LEAN_ABOVE = 150_000
#: Highest degree of harmonics in a large scene.
LEAN_DEGREE = 1
_SQRT_HALF = float(np.sqrt(0.5))
_QUANTILE = 2e-4  # of values, clipped at each end except the upper one of scales


@dataclass(frozen=True)
class _Bits:
    """Upper bits that are kept of each column, and the smallest step of a harmonic's coefficient.

    A step of 0.02 is at most 1.3 levels of 255 in the colour, half of it either way.
    """

    position: int = 16
    scale: int = 8
    sh0: int = 8
    confidence: int = 8
    identity: int = 8
    sh_step: float = 0.005


_FULL = _Bits()
_LEAN = _Bits(position=12, scale=7, sh0=7, confidence=4, identity=5, sh_step=0.02)


@dataclass(frozen=True)
class Splats:
    """What the page shows of N Gaussians.

    Attributes:
        means: [N, 3], world units.
        quats: [N, 4] wxyz, any length.
        scales: [N, 3], log.
        opacities: [N], 0..1.
        sh0: [N, 3].
        shN: [N, K, 3], K = 0, 3, 8 or 15.
        objects: [N] int, place in the table of objects; 0 is none.
        confidences: [N], 0..1.
        identities: [N, 3] uint8, colours of the encodings.
    """

    means: NDArray[np.float32]
    quats: NDArray[np.float32]
    scales: NDArray[np.float32]
    opacities: NDArray[np.float32]
    sh0: NDArray[np.float32]
    shN: NDArray[np.float32]  # noqa: N815
    objects: NDArray[np.int32]
    confidences: NDArray[np.float32]
    identities: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.means)

    def taken(self, rows: NDArray[Any]) -> Splats:
        """Return the Gaussians of some rows, in their order."""
        return Splats(**{name: values[rows] for name, values in vars(self).items()})


def encode(splats: Splats, level: int = 6) -> tuple[bytes, dict[str, Any]]:
    """Return the compressed bytes, and what the page must know to read them.

    Args:
        splats: At least one Gaussian, all values finite.
        level: Of deflate.

    Raises:
        ValueError: If there is no Gaussian.
    """
    count = len(splats)
    if count == 0:
        raise ValueError("there is no Gaussian to encode")
    lean = count > LEAN_ABOVE
    keep = _LEAN if lean else _FULL
    splats = splats.taken(curve_order(splats.means))
    bases = min(splats.shN.shape[1], (LEAN_DEGREE + 1) ** 2 - 1 if lean else 15)
    boxes, positions, top = _positions(splats.means, keep.position)
    scales, scale_range = _linear(splats.scales, keep.scale, clip_above=False)
    sh0, sh0_range = _linear(splats.sh0, keep.sh0)
    shN, sh_step = _steps(splats.shN[:, :bases], keep.sh_step)
    columns = [
        *_halves(positions),
        *scales.T,
        *_quaternions(splats.quats),
        _rounded(splats.opacities * 255, 8),
        *sh0.T,
        *shN.reshape(count, 3 * bases).T,
        *_halves(splats.objects[:, None].astype(np.uint16)),
        _rounded(splats.confidences * 255, keep.confidence),
        *_rounded(splats.identities.astype(np.float32), keep.identity).T,
    ]
    body = b"".join([boxes.astype("<f4").tobytes(), *(c.tobytes() for c in columns)])
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)  # 31: gzip, with no date in its header
    header = {
        "count": count,
        "chunk": CHUNK,
        "bases": bases,
        "bytes": len(body),
        "top": top,
        "scale": scale_range,
        "sh0": sh0_range,
        "sh_step": sh_step,
    }
    return packer.compress(body) + packer.flush(), header


def decode(packed: bytes, header: dict[str, Any]) -> Splats:
    """Return what the page shows of :func:`encode`'s bytes, in the order of the curve.

    It is the reader of ``web/format.js`` in Python: for tests, and for what the page sends back.
    """
    body = np.frombuffer(zlib.decompress(packed, 31), np.uint8)
    count, bases = header["count"], header["bases"]
    chunks = -(-count // CHUNK)
    boxes = body[: 24 * chunks].view("<f4").reshape(chunks, 6)
    columns = body[24 * chunks :].reshape(-1, count)
    at = iter(columns)

    def take(number: int) -> NDArray[np.float32]:
        return np.stack([next(at) for _ in range(number)], axis=1).astype(np.float32)

    low_high = take(6)
    box = boxes[np.arange(count) // CHUNK]
    share = (low_high[:, 0::2] + 256 * low_high[:, 1::2]) / header["top"]
    means = box[:, :3] + share * box[:, 3:]
    scales = _from_range(take(3), header["scale"])
    quats = _whole_quaternions(take(3), take(1)[:, 0].astype(np.int64))
    opacities = take(1)[:, 0] / np.float32(255)
    sh0 = _from_range(take(3), header["sh0"])
    shN = ((take(3 * bases) - 128) * header["sh_step"]).reshape(count, bases, 3) if bases else None
    objects = take(2) @ np.array([1, 256], np.float32)
    return Splats(
        means,
        quats,
        scales,
        opacities,
        sh0,
        np.zeros((count, 0, 3), np.float32) if shN is None else shN.astype(np.float32),
        objects.astype(np.int32),
        take(1)[:, 0] / np.float32(255),
        take(3).astype(np.uint8),
    )


def curve_order(means: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the order of points [N, 3] along a Z-order curve (Morton 1966) of 16 bits an axis.

    The curve's box holds the middle 98 % of each axis; what is outside is sorted with its border.
    """
    low, high = np.quantile(means, [0.01, 0.99], axis=0)
    cells = np.clip((means - low) / np.maximum(high - low, 1e-12), 0, 1) * 65535
    code = np.zeros(len(means), np.uint64)
    for axis in range(3):
        code |= spread_bits(cells[:, axis].astype(np.uint64)) << np.uint64(axis)
    return np.argsort(code, kind="stable")


def _positions(
    means: NDArray[np.float32], bits: int
) -> tuple[NDArray[np.float32], NDArray[np.uint16], int]:
    """Return the chunks' boxes [C, 6], positions in them [N, 3], and what the far end has."""
    starts = np.arange(0, len(means), CHUNK)
    low = np.minimum.reduceat(means, starts).astype(np.float32)
    size = (np.maximum.reduceat(means, starts) - low).astype(np.float32)
    chunk = np.arange(len(means)) // CHUNK
    share = (means - low[chunk]) / np.where(size[chunk] > 0, size[chunk], 1)
    levels = np.floor(np.clip(share, 0, 1) * (2**bits - 1) + 0.5).astype(np.int64)
    # Upper bits of the sixteen, so that low bytes have few values.
    return (
        np.hstack([low, size]),
        (levels << (16 - bits)).astype(np.uint16),
        65536 - (1 << (16 - bits)),
    )


def _linear(
    values: NDArray[np.float32], bits: int, clip_above: bool = True
) -> tuple[NDArray[np.uint8], list[float]]:
    """Return values in steps, and the least value and the greatest that a step stands for."""
    low, high = np.quantile(values, [_QUANTILE, 1 - _QUANTILE])
    high = high if clip_above else values.max()
    low, high = float(low), float(max(high, low + 1e-6))
    return _rounded((values - low) * (255 / (high - low)), bits), [low, high]


def _from_range(levels: NDArray[np.float32], ends: list[float]) -> NDArray[np.float32]:
    return (ends[0] + levels * ((ends[1] - ends[0]) / 255)).astype(np.float32)


def _steps(values: NDArray[np.float32], least: float) -> tuple[NDArray[np.uint8], float]:
    """Return values in steps around 128, and the size of a step."""
    if values.size == 0:
        return values.astype(np.uint8), least
    step = max(float(np.quantile(np.abs(values), 1 - _QUANTILE)) / 127, least)
    return _rounded(values / step + 128, 8), step


def _rounded(values: NDArray[np.floating[Any]], bits: int) -> NDArray[np.uint8]:
    """Return values of 0..255 as bytes of 2^bits levels, 0 and 255 among them."""
    most = 2**bits - 1
    levels = np.clip(np.floor(values * (most / 255) + 0.5), 0, most)
    return np.floor(levels * (255 / most) + 0.5).astype(np.uint8)


def _halves(values: NDArray[np.uint16]) -> list[NDArray[np.uint8]]:
    """Return columns of 16 bits as low and high bytes."""
    return [
        half
        for column in values.T
        for half in ((column & 255).astype(np.uint8), (column >> 8).astype(np.uint8))
    ]


def _quaternions(quats: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Return the three smaller components, and which one is the largest."""
    unit = quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    largest = np.abs(unit).argmax(axis=1)
    rows = np.arange(len(unit))
    unit = unit * np.where(unit[rows, largest] < 0, -1, 1)[:, None]
    others = np.array([[j for j in range(4) if j != i] for i in range(4)])[largest]
    smaller = np.take_along_axis(unit, others, axis=1)
    return [*_rounded((smaller / _SQRT_HALF + 1) * 127.5, 8).T, largest.astype(np.uint8)]


def _whole_quaternions(
    smaller: NDArray[np.float32], largest: NDArray[np.int64]
) -> NDArray[np.float32]:
    values = (smaller / 127.5 - 1) * _SQRT_HALF
    rest = np.sqrt(np.maximum(1 - (values**2).sum(axis=1), 0))
    others = np.array([[j for j in range(4) if j != i] for i in range(4)])[largest]
    quats = np.empty((len(values), 4), np.float32)
    np.put_along_axis(quats, others, values, axis=1)
    np.put_along_axis(quats, largest[:, None], rest[:, None], axis=1)
    return quats
