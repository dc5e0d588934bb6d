"""Small files, by gsply: PlayCanvas's compressed PLY, and Niantic's SPZ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.exporting.cloud import Cloud
from gradiseg_core.exporting.morton import spread_bits

_CHUNK = 256  # Gaussians that a compressed PLY quantizes together
_BLOCK = 256 * _CHUNK  # that are compressed at once, so that little is in memory twice
#: SPZ holds positions as 24 bits, sign included.
_SPZ_MOST = float((1 << 23) - 1)
_SPZ_BITS = (1, 20)  # of a fraction
#: Opacities have 8 bits in both formats; readers turn 0 and 255 into infinite logits.
_MOST_LOGIT = 5.5  # 0.0041 to 0.9959: 1 to 254 of 255


def write_compressed_ply(path: Path, cloud: Cloud) -> None:
    """Write PlayCanvas's compressed PLY.

    It holds positions, scales and colours of 256 Gaussians at a time as 8 to 11 bits between the
    least and the largest, so Gaussians are sorted along a space-filling curve first: their order
    is not that of the scene.

    Args:
        path: File to write; programs know the format by the name's end, ``.compressed.ply``.
        cloud: The Gaussians, at least one.

    Raises:
        InputError: If there is no Gaussian.
        BackendUnavailableError: Without the package gsply.
    """
    gsply = _gsply()
    _not_empty(cloud, "a compressed PLY")
    path.parent.mkdir(parents=True, exist_ok=True)
    order = morton_order(cloud.means)
    parts = []
    for start in range(0, len(cloud), _BLOCK):
        block = cloud.take(order[start : start + _BLOCK])
        parts.append(gsply.compress_to_arrays(_data(gsply, block)))
    counts = {b"chunk": -(-len(cloud) // _CHUNK), b"vertex": len(cloud), b"sh": len(cloud)}
    header = re.sub(
        rb"element (\w+) \d+", lambda m: b"element %s %d" % (m[1], counts[m[1]]), parts[0][0]
    )
    with path.open("wb") as file:
        file.write(header)
        for section in (1, 2, 3):  # bounds of chunks, packed values, harmonics
            for part in parts:
                if part[section] is not None:
                    file.write(np.ascontiguousarray(part[section]).data)


def write_spz(path: Path, cloud: Cloud) -> None:
    """Write an SPZ file, version 3 (gzip), in the axes that its specification asks for.

    SPZ is stored with y up and z back; programs that follow the specification turn it when they
    read, and so does this function when it writes. Positions have as many fractional bits as the
    size of the scene leaves.

    Args:
        path: File to write.
        cloud: The Gaussians, in the user's axes, at least one.

    Raises:
        InputError: If there is no Gaussian, or one is too far from the origin.
        BackendUnavailableError: Without the package gsply.
    """
    gsply = _gsply()
    _not_empty(cloud, "an SPZ file")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("ab").close()  # fails as other formats do, not with an error of gsply's
    bits = fractional_bits(cloud.means)
    before = gsply.active_backend()
    gsply.use_backend("auto")  # compiled where the wheel has it: half the time, less memory
    try:
        gsply.write_spz(path, _data(gsply, cloud.y_up()), version=3, fractional_bits=bits)
    finally:
        gsply.use_backend(before)


def fractional_bits(means: NDArray[np.float32]) -> int:
    """Return how many of a position's 24 bits SPZ can use for the fraction.

    Raises:
        InputError: If a position does not fit even with the fewest.
    """
    least, most = _SPZ_BITS
    far = float(np.abs(means).max(initial=0.0))
    if not far * 2**least <= _SPZ_MOST:  # NaN as well
        raise InputError(
            f"a Gaussian lies {far:g} units from the origin; SPZ holds at most "
            f"{_SPZ_MOST / 2**least:.0f}: export PLY or GLB, or leave the Gaussian out"
        )
    return max(bits for bits in range(least, most + 1) if far * 2**bits <= _SPZ_MOST)


def morton_order(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the indices [N] that sort points [N, 3] along Morton's curve, 21 bits an axis."""
    low = points.min(axis=0)
    size = float((points.max(axis=0) - low).max())
    cells = ((points - low) * ((2**21 - 1) / size if size > 0 else 0.0)).astype(np.uint64)
    codes = np.zeros(len(points), np.uint64)
    for axis in range(3):
        codes |= spread_bits(cells[:, axis]) << np.uint64(axis)
    return np.argsort(codes, kind="stable")


def _data(gsply: Any, cloud: Cloud) -> Any:
    return gsply.GSData.from_arrays(
        means=cloud.means,
        scales=cloud.scales,
        quats=cloud.unit_quats(),
        opacities=np.clip(cloud.opacities, -_MOST_LOGIT, _MOST_LOGIT),
        sh0=cloud.sh0,
        shN=cloud.used_shn if cloud.degree else None,
        format="ply",
    )


def _not_empty(cloud: Cloud, what: str) -> None:
    if len(cloud) == 0:
        raise InputError(f"no Gaussian is left to write, and {what} cannot be empty")


def _gsply() -> Any:
    try:
        import gsply
    except ImportError as error:
        raise BackendUnavailableError(
            "compressed PLY and SPZ are written by the package gsply, which is not installed: "
            "pip install gsply"
        ) from error
    return gsply
