"""Colours of groups of Gaussians changed by one affine map, which holds for every direction.

Notation: a Gaussian's colour along d is c(d) = 1/2 + sum_k basis_k(d) h_k, with coefficients h_k
[3]. An affine map A c + b of colours is one of coefficients: the constant one, basis_0 = C0,
becomes (A (1/2 + C0 h_0) + b - 1/2) / C0, and all others A h_k. So shading, and what changes with
the direction, go through the same map as the colour itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.splatting.rasterization.reference import SH_C0

#: Rec. 709: how bright red, green and blue look.
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
#: A group darker than this is shaded as if it were this bright, or its noise would be blown up.
_DARK = 0.25
#: Share of a group that is darker than its lit side.
_LIT = 0.8


def base_colours(sh0: Tensor) -> NDArray[np.float64]:
    """Return the colours of the constant band, [n, 3], in 0..1 but for what training overshot."""
    return (0.5 + SH_C0 * sh0[:, 0]).cpu().numpy().astype(np.float64)


def mapped(
    values: dict[str, Tensor], matrix: NDArray[np.float64], offset: NDArray[np.float64]
) -> dict[str, Tensor]:
    """Return parameters with colours A c + b.

    Args:
        values: Parameters as stored, each [n, ...].
        matrix: A, [3, 3].
        offset: b, [3].
    """
    sh0, shN = values["sh0"], values["shN"]
    A = torch.from_numpy(matrix.T.copy()).to(sh0)
    base = (0.5 + SH_C0 * sh0) @ A + torch.from_numpy(offset).to(sh0)
    return values | {"sh0": (base - 0.5) / SH_C0, "shN": shN @ A}


def recolouring(
    colours: NDArray[np.float64], weights: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the map (A, b) that gives a group one colour and keeps how bright its parts are.

    A Gaussian as bright as the group's lit side becomes the target; others are brighter or darker
    by the same factor. Were it the median, half of the group would be clipped at a bright target.

    Args:
        colours: [n, 3] base colours.
        weights: [n] how much of the group each makes.
        target: [3] in 0..1.
    """
    lit = weighted_quantile(colours @ LUMINANCE, weights, _LIT)
    gain = 1.0 / max(lit, _DARK)
    return gain * np.outer(target, LUMINANCE), target * (1.0 - gain * lit)


def transport(
    colours: NDArray[np.float64],
    weights: NDArray[np.float64],
    picture: NDArray[np.float64],
    strength: float = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the map (A, b) that gives colours the mean and covariance of a picture's.

    Of all such maps it moves colours least. Source: Pitie and Kokaram 2007, "The linear
    Monge-Kantorovitch linear colour mapping for example-based colour transfer".

    Args:
        colours: [n, 3].
        weights: [n], not all zero.
        picture: [P, 3] in 0..1.
        strength: 0 changes nothing, 1 goes all the way.
    """
    mean, covariance = _moments(colours, weights)
    target, wanted = _moments(picture, np.ones(len(picture)))
    root, inverse = _root(covariance, 0.5), _root(covariance, -0.5)
    matrix = inverse @ _root(root @ wanted @ root, 0.5) @ inverse
    matrix = (1.0 - strength) * np.eye(3) + strength * matrix
    return matrix, strength * target + (1.0 - strength) * mean - matrix @ mean


def weighted_quantile(
    values: NDArray[np.float64], weights: NDArray[np.float64], share: float
) -> float:
    """Return the value that a share of the weight lies below."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, share * total[-1])]])


def _moments(
    colours: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    share = weights / weights.sum()
    mean = share @ colours
    offsets = colours - mean
    return mean, (offsets * share[:, None]).T @ offsets + 1e-6 * np.eye(3)


def _root(matrix: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-9) ** power) @ vectors.T
