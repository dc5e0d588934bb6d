"""Configuration of the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from gradiseg_core.config.base import InputPath, Section, constant, option


class MetricsConfig(Section):
    """How cached predictions are scored."""

    removed: ClassVar[dict[str, str]] = {
        "fine_boundary_ratio": constant("FINE_BOUNDARY_RATIO", "stages/metrics/objects.py"),
    }

    aggregation: Literal["gg", "strict"] = option(
        "strict",
        "Headline numbers: `gg` repeats Gaussian Grouping's script, `strict` skips nothing. Both "
        "are computed.",
    )
    boundary_ratio: float = option(
        0.02,
        "Width of the boundary, as a share of the image diagonal.",
        gt=0,
        lt=0.5,
        source="GG (eval_lerf_mask.py), Boundary IoU (Cheng 2021)",
    )
    lpips: bool = option(True, "Compute LPIPS (VGG) if its weights are there.")
    lpips_range: Literal["3dgs", "authors"] = option(
        "3dgs",
        "Input range of the headline LPIPS: `3dgs` 0..1, `authors` -1..1.",
        source="3DGS (metrics.py)",
    )
    lpips_weights: Literal["cache", "download"] | InputPath = option(
        "cache",
        "VGG-16's weights: in torch hub's `cache`, fetched (`download`, 0.6 GB), or a path.",
    )

    def weights(self) -> dict[str, Path | None]:
        """Return the backbone of LPIPS where it is not looked up in torch hub's cache."""
        if not self.lpips or self.lpips_weights == "cache":
            return {}
        return {"lpips_vgg": None if self.lpips_weights == "download" else Path(self.lpips_weights)}
