"""Gaussians moved, turned, scaled: parameters and colours, exactly.

Notation: x' = s R (x - p) + p + t, in the training frame. A Gaussian's own rotation is multiplied
by R, its scales by s, and its spherical harmonics c become those of the turned function:
f'(d) = f(R^T d). Each band turns within itself, so that c' = M_l c with a matrix M_l of size
2 l + 1 that depends on R alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.errors import InputError
from gradiseg_core.splatting.rasterization.reference import sh_basis

_BANDS = (1, 2, 3)


def turned_harmonics(shN: Tensor, rotation: NDArray[np.float64]) -> Tensor:
    """Return the coefficients of bands 1 to 3 of functions that were turned.

    M_l solves B_l(d) M_l = B_l(R^T d) for many directions d, which has an exact solution because a
    turned function of a band is a function of this band.

    Args:
        shN: [n, 15, 3].
        rotation: R, [3, 3].
    """
    directions = torch.from_numpy(_directions())
    R = torch.from_numpy(np.ascontiguousarray(rotation, dtype=np.float64))
    before, after = sh_basis(directions @ R, 3), sh_basis(directions, 3)  # d @ R = R^T d
    result = shN.clone()
    for band in _BANDS:
        columns = slice(band * band, (band + 1) ** 2)
        matrix = torch.linalg.lstsq(after[:, columns], before[:, columns]).solution
        rows = slice(columns.start - 1, columns.stop - 1)
        result[:, rows] = torch.einsum("ij,njc->nic", matrix.to(shN), shN[:, rows])
    return result


def _directions() -> NDArray[np.float64]:
    """Return 64 directions all over the sphere, [64, 3]."""
    index = np.arange(64) + 0.5
    z, angle = 1.0 - 2.0 * index / 64, np.pi * (1.0 + 5.0**0.5) * index
    radius = np.sqrt(1.0 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quaternion wxyz, [4], of a rotation [3, 3]."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return np.array([w, x, y, z])


def product(left: NDArray[np.float64], right: Tensor) -> Tensor:
    """Return the quaternions [n, 4] wxyz of the rotations right, then left."""
    a, b, c, d = (float(value) for value in left)
    w, x, y, z = right.unbind(1)
    return torch.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        dim=1,
    )


@torch.no_grad()
def transformed(
    values: dict[str, Tensor],
    *,
    rotation: NDArray[np.float64] | None = None,
    scale: float = 1.0,
    pivot: NDArray[np.float64] | None = None,
    shift: NDArray[np.float64] | None = None,
) -> dict[str, Tensor]:
    """Return parameters of Gaussians after a similarity.

    Args:
        values: Parameters as stored, each [n, ...].
        rotation: R, [3, 3]; None: none.
        scale: s.
        pivot: p, [3], the point that stays where it is but for ``shift``; None: the origin.
        shift: t, [3]; None: none.

    Raises:
        InputError: If Gaussians would come to lie, or grow, beyond what float32 holds.
    """
    result = dict(values)
    means = values["means"]
    origin = means.new_zeros(3) if pivot is None else torch.as_tensor(pivot).to(means)
    offsets = means - origin
    if rotation is not None:
        offsets = offsets @ torch.from_numpy(rotation.T.copy()).to(means)
        unit = torch.nn.functional.normalize(values["quats"], dim=1)
        result["quats"] = product(quaternion(rotation), unit)
        result["shN"] = turned_harmonics(values["shN"], rotation)
    result["means"] = scale * offsets + origin
    if shift is not None:
        result["means"] = result["means"] + torch.as_tensor(shift).to(means)
    result["scales"] = values["scales"] + math.log(scale)
    for name in ("means", "scales"):
        # Squares of lengths are taken everywhere.
        lengths = result[name].exp() if name == "scales" else result[name]
        if not bool((lengths.square().isfinite() | ~values[name].isfinite()).all()):
            raise InputError(
                "what is moved would come to lie too far away, or grow too large, for numbers to "
                "hold; give smaller by_m, at_m or factor"
            )
    return result
