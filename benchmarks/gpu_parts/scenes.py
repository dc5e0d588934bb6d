"""Scenes of any size: synthetic ones, and Gaussians on the garden's points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SH_C0 = 0.28209479177387814


@dataclass
class GpuScene:
    """Gaussians (activated) and one camera, on a device.

    Attributes:
        name: For the table.
        gaussians: Arguments of the rasterizer.
        viewmat: [4, 4].
        K: [3, 3], px.
        width: px.
        height: px.
    """

    name: str
    gaussians: dict[str, Tensor]
    viewmat: Tensor
    K: Tensor
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.gaussians["means"])

    @property
    def pixels(self) -> int:
        """Pixels of the image."""
        return self.width * self.height

    @property
    def camera(self) -> dict:
        """Arguments of the rasterizer."""
        return {"viewmat": self.viewmat, "K": self.K, "width": self.width, "height": self.height}

    def leaves(self) -> dict[str, Tensor]:
        """Fresh leaves that want gradients."""
        return {name: value.clone().requires_grad_() for name, value in self.gaussians.items()}


def _features(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "quats": normal(count, 4),
        # As in trained scenes: many faint ones, few opaque ones.
        "opacities": torch.sigmoid(1.5 * normal(count) - 0.5),
        "sh0": 0.5 * normal(count, 1, 3),
        "shN": 0.1 * normal(count, 15, 3),
        "identities": normal(count, 16),
    }


def synthetic(count: int, width: int, height: int, device: torch.device) -> GpuScene:
    """Return Gaussians in front of a camera, their size such that any number covers alike.

    Widths in the image fall with the square root of the number, so that a pixel meets about as many
    Gaussians (some 30) in every scene, as in scenes trained to different sizes.
    """
    generator = torch.Generator().manual_seed(0)
    focal = 0.9 * width
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    z = 1.5 + 6.5 * torch.rand(count, generator=generator)
    x = (torch.rand(count, generator=generator) - 0.5) * 1.2 * width / focal * z
    y = (torch.rand(count, generator=generator) - 0.5) * 1.2 * height / focal * z
    sigma_px = math.sqrt(2.0 * width * height / count)
    size = sigma_px * z / focal
    scales = size[:, None] * torch.exp(0.6 * torch.randn(count, 3, generator=generator))
    gaussians = {
        "means": torch.stack([x, y, z], dim=1),
        "scales": scales,
        **_features(count, generator),
    }
    return GpuScene(
        f"{count / 1e6:g} M, {width} x {height}",
        {name: value.to(device) for name, value in gaussians.items()},
        torch.eye(4, device=device),
        K.to(device),
        width,
        height,
    )


def garden(path: Path, count: int, device: torch.device) -> GpuScene:
    """Return Gaussians scattered about the points of Mip-NeRF 360's garden.

    Args:
        path: ``garden_points.npz`` of gsplat's tests.
        count: Gaussians: each point several times, moved by its neighbours' distance.
        device: Where to.
    """
    generator = torch.Generator().manual_seed(0)
    with np.load(path) as data:
        points = torch.from_numpy(data["means3d"]).float()
        colors = torch.from_numpy(data["colors"]).float() / 255
        viewmat = torch.from_numpy(data["viewmats"][0]).float()
        K = torch.from_numpy(data["Ks"][0]).float()
        width, height = int(data["width"]), int(data["height"])
    pick = torch.arange(count) % len(points)
    spacing = 0.02 * math.sqrt(len(points) / max(count, len(points)))
    gaussians = {
        "means": points[pick] + spacing * torch.randn(count, 3, generator=generator),
        "scales": spacing * torch.exp(0.6 * torch.randn(count, 3, generator=generator)),
        **_features(count, generator),
        "sh0": ((colors[pick] - 0.5) / SH_C0)[:, None],
    }
    return GpuScene(
        f"garden, {count / 1e6:g} M, {width} x {height}",
        {name: value.to(device) for name, value in gaussians.items()},
        viewmat.to(device),
        K.to(device),
        width,
        height,
    )
