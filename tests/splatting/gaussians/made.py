"""Gaussians and renderings made by hand."""

from __future__ import annotations

import torch

from gradiseg_core.splatting.gaussians import PARAMETERS, Gaussians
from gradiseg_core.splatting.rasterization.interface import Rendering


def make(count: int = 5, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "means": (3,),
        "quats": (4,),
        "scales": (3,),
        "opacities": (),
        "sh0": (1, 3),
        "shN": (15, 3),
        "identities": (16,),
    }
    values = {
        name: torch.randn(count, *shape, generator=generator) for name, shape in shapes.items()
    }
    return Gaussians(values, dict.fromkeys(PARAMETERS, 1e-2))


def step(gaussians: Gaussians) -> None:
    """One Adam step under a loss that gives every Gaussian another gradient."""
    loss = sum(
        (p * torch.arange(1.0, p.numel() + 1).reshape(p.shape)).sum()
        for p in gaussians.params.values()
    )
    loss.backward()
    gaussians.optimizer.step()
    gaussians.optimizer.zero_grad(set_to_none=True)


def rendering_with(gradient: list[list[float]], visible: list[int]) -> Rendering:
    """A view of 200 x 100 px in which projected centres got ``gradient``."""
    means2d = torch.zeros(len(gradient), 2, requires_grad=True)
    means2d.grad = torch.tensor(gradient)
    empty = torch.zeros(100, 200)
    return Rendering(
        empty[..., None], empty[..., None], empty, means2d, torch.tensor(visible, dtype=torch.int32)
    )
