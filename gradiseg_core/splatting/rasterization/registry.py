"""Rasterization of Gaussians behind one interface, :class:`.interface.Rasterizer`."""

from __future__ import annotations

from typing import Any

from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.splatting.rasterization.interface import Rasterizer, Rendering

__all__ = ["Rasterizer", "Rendering", "get_rasterizer"]


def get_rasterizer(name: str, **options: Any) -> Rasterizer:
    """Return a rasterizer by its name; kernels are imported only now.

    Args:
        name: ``"cpu"`` (numba, fast), ``"cuda"`` (gsplat) or ``"reference"`` (plain PyTorch, slow,
            any precision).
        **options: Of ``"cuda"`` alone: those of :class:`.gsplat.GsplatRasterizer`.

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
