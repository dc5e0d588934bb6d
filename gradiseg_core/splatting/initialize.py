"""Initial Gaussians from the points of structure from motion (3DGS, Gaussian Grouping)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

SH_C0 = 0.28209479177387814  # the constant order-0 spherical harmonic, 1 / (2 sqrt(pi))

#: Opacity of the initial Gaussians (3DGS).
INITIAL_OPACITY = 0.1


def gaussians_from_points(
    xyz: NDArray[np.float64],  # [P, 3] world units
    rgb: NDArray[np.uint8],  # [P, 3]
    *,
    identity_dim: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return one isotropic Gaussian a point.

    Scales are the root mean square distance to the three nearest points (3DGS), colours are the
    points', rotations are the identity, and Identity Encodings are uniform in +-0.5 / SH_C0
    (Gaussian Grouping stores them as order-0 harmonics of uniform random colours).

    Raises:
        ValueError: If there are fewer than four points.
    """
    count = xyz.shape[0]
    if count < 4:
        raise ValueError(f"need at least 4 points to start from, got {count}")
    distances, _ = cKDTree(xyz).query(xyz, k=4)
    spacing = np.sqrt(np.maximum((distances[:, 1:] ** 2).mean(axis=1), 1e-7))
    quats = torch.zeros(count, 4)
    quats[:, 0] = 1.0
    return {
        "means": torch.from_numpy(xyz.astype(np.float32)),
        "quats": quats,
        "scales": torch.from_numpy(np.log(spacing).astype(np.float32))[:, None].repeat(1, 3),
        "opacities": torch.logit(torch.full((count,), INITIAL_OPACITY)),
        "sh0": ((torch.from_numpy(rgb.astype(np.float32)) / 255.0 - 0.5) / SH_C0)[:, None],
        "shN": torch.zeros(count, 15, 3),
        "identities": (torch.rand(count, identity_dim, generator=generator) - 0.5) / SH_C0,
    }
