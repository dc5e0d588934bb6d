"""Rasterization of Gaussians behind one interface, :class:`.interface.Rasterizer`."""

from __future__ import annotations

from typing import Any

import torch

from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.splatting.rasterization.interface import Rasterizer, Rendering

__all__ = ["Rasterizer", "Rendering", "get_rasterizer", "make_rasterizer"]


def get_rasterizer(name: str, **options: Any) -> Rasterizer:
    """Return a rasterizer by its name; kernels are imported only now.

    Args:
        name: ``"cpu"`` (numba, fast), ``"cuda"`` (gsplat) or ``"reference"`` (plain PyTorch, slow,
            any precision).
        **options: For ``"cuda"`` only: those of :class:`.gsplat.GsplatRasterizer`.

    Raises:
        BackendUnavailableError: If there is no such rasterizer on this machine.
    """
    if name == "cpu":
        from gradiseg_core.splatting.rasterization import cpu

        return cpu.rasterize
    if name == "reference":
        from gradiseg_core.splatting.rasterization import reference

        return reference.rasterize
    if name == "cuda":
        from gradiseg_core.splatting.rasterization.gsplat import GsplatRasterizer, published

        published()
        return GsplatRasterizer(**options)
    raise BackendUnavailableError(
        f"no rasterizer is called {name!r}: use 'cpu', 'cuda' or 'reference'"
    )


def make_rasterizer(config: TrainConfig, device: torch.device) -> Rasterizer:
    """Return the compiled rasterizer of a device, as configured.

    Raises:
        BackendUnavailableError: If it cannot run here, or lacks what the configuration asks for.
    """
    absgrad = config.densification.absgrad
    if device.type == "cpu":
        if absgrad:
            raise BackendUnavailableError(
                "train.densification.absgrad needs gsplat's rasterizer, so a GPU; set it to false "
                "or train.device to cuda"
            )
        return get_rasterizer("cpu")
    return get_rasterizer("cuda", absgrad=absgrad, **config.gsplat.model_dump())
