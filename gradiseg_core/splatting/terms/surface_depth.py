"""A term that holds rendered depth to the surface that stage `geometry` fused from colour alone."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gradiseg_core.config.base import option
from gradiseg_core.config.parts import PartOptions
from gradiseg_core.splatting.parts import Iteration, LossTerm, Run

#: Pixels of less opacity than this have no depth yet, as after an opacity reset.
_SOLID = 0.5


class Options(PartOptions):
    """Options of the depth term."""

    needs_geometry: ClassVar[bool] = True

    weight: float = option(
        0.2,
        "Weight of the mean relative error of depth.",
        source="measured on one scene (docs/objects.md)",
        ge=0,
    )


class SurfaceDepthTerm(LossTerm):
    """The mean of ``|z - z_surface| / z_surface`` over the pixels that show the surface.

    Pixels that are ignored, or that the surface leaves empty, do not count. Those that are not yet
    solid count with an error of 0: their depth is blended from what little there is.
    """

    needs_depth = True

    def value(self, now: Iteration) -> Tensor:
        """Return the term; 0 where the view shows nothing of the surface."""
        surface, depth = now.view.surface_depth, now.rendering.depth
        assert surface is not None
        assert depth is not None
        shown = surface > 0
        if now.view.ignored is not None:
            shown = shown & ~now.view.ignored
        error = (depth - surface).abs() / torch.where(shown, surface, 1.0)
        counted = shown & (now.rendering.alpha.detach() > _SOLID)
        return torch.where(counted, error, 0.0).sum() / shown.sum().clamp(min=1)


def make(options: Options, run: Run) -> LossTerm:
    """Return the term for a training."""
    return SurfaceDepthTerm("surface_depth", options.weight)
