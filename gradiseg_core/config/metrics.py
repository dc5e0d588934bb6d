"""Configuration of the metrics."""

from __future__ import annotations

from typing import Literal

from gradiseg_core.config.base import Section, option


class MetricsConfig(Section):
    """How cached predictions are scored."""

    aggregation: Literal["gg", "strict"] = option(
        "strict",
        "Aggregation of the headline numbers; both are always computed. `gg` repeats Gaussian "
        "Grouping's script with its traps, `strict` skips nothing.",
    )
    boundary_ratio: float = option(
        0.02,
        "Width of the boundary as a share of the image diagonal.",
        gt=0,
        lt=0.5,
        source="Gaussian Grouping (eval_lerf_mask.py), Boundary IoU (Cheng 2021)",
    )
    lpips: bool = option(
        True, "Compute LPIPS (VGG) where its weights are on this machine; nothing is downloaded."
    )
    lpips_range: Literal["3dgs", "authors"] = option(
        "3dgs",
        "Input range of LPIPS: 3DGS's script feeds 0..1, the LPIPS authors -1..1; the numbers "
        "differ.",
        source="3DGS (metrics.py)",
    )
