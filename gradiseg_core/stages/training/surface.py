"""Depth of the surface of stage `geometry`, for the loss terms that read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import ConfigError
from gradiseg_core.files.geometry import load_geometry


def load_depth(
    config: TrainConfig, geometry_dir: Path | None
) -> Callable[[str, tuple[int, int]], torch.Tensor]:
    """Return what reads the depth of a view, given its stem and its size (width, height) in px.

    Depth is [height, width] float32, world units along the optical axis, 0: nothing there. Each
    pixel takes the depth of the nearest one in the file, as a mean over an edge lies on neither
    side.

    Args:
        config: Training parameters.
        geometry_dir: Output of stage `geometry`; None where it does not run.

    Raises:
        ConfigError: If there is no surface.
    """
    names = ", ".join(f"train.terms.{term}" for term in config.terms_on_geometry)
    out = "leave the term out (null)"
    if geometry_dir is None:
        raise ConfigError(
            f"{names} reads the surface of stage `geometry`, which does not run here; write "
            f"`tracking: {{backend: geometry}}`, or {out}"
        )
    geometry = load_geometry(geometry_dir)
    if not geometry.found:
        raise ConfigError(
            f"{names} reads the surface of stage `geometry` (`tracking: {{backend: geometry}}`), "
            f"which found none to rely on in {geometry_dir}: {geometry.reason}; {out} for this "
            "scene"
        )

    def depth_of(stem: str, size: tuple[int, int]) -> torch.Tensor:
        depth = geometry.depth(stem)
        rows, columns = (_nearest(*pair) for pair in zip(depth.shape, size[::-1], strict=True))
        return torch.from_numpy(depth[rows[:, None], columns])

    return depth_of


def _nearest(have: int, want: int) -> NDArray[np.int64]:
    """Return for each of ``want`` pixels the index of the one at its centre among ``have``."""
    return ((np.arange(want) + 0.5) * have / want).astype(np.int64)
