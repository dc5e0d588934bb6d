"""The one interface between training and whichever rasterizer runs on this machine.

Semantics are gsplat 1.5's classic mode: ``eps2d`` 0.3 px added to the projected covariance,
opacity-aware bounds (at most 3.33 sigma), alpha at most 0.999, contributions with alpha below 1/255
skipped, a pixel stops before its transmittance would fall to 1e-4. Colour and identity are blended
with the same weights in one pass (Gaussian Grouping; GradiSeg Eq. 1 and 2), and gradients of both
reach every geometric parameter; ``identity_geometry`` scales that of the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass
class Rendering:
    """What one view's rasterization returns.

    Attributes:
        color: [H, W, 3], blended over the background; not clamped.
        identity: [H, W, D], blended encodings (Eq. 2); the background contributes zero.
        alpha: [H, W], one minus the final transmittance.
        means2d: [N, 2], projected centres, px. Part of the graph: after ``backward`` its ``grad``
            holds dL/d(means2d) for densification (zero where culled).
        radii: [N] int32, bounding radius, px; 0 where the Gaussian was culled.
        depth: [H, W], blended camera-space z over alpha (0 where alpha is 0); None if not asked
            for.
    """

    color: Tensor
    identity: Tensor
    alpha: Tensor
    means2d: Tensor
    radii: Tensor
    depth: Tensor | None = None


class Rasterizer(Protocol):
    """A differentiable rasterizer of coloured Gaussians with identities."""

    def __call__(
        self,
        means: Tensor,  # [N, 3]
        quats: Tensor,  # [N, 4] wxyz, need not be normalised
        scales: Tensor,  # [N, 3] activated (positive), world units
        opacities: Tensor,  # [N] activated, 0..1
        sh0: Tensor,  # [N, 1, 3]
        shN: Tensor,  # [N, 15, 3]
        identities: Tensor,  # [N, D]
        *,
        viewmat: Tensor,  # [4, 4] cam_from_world
        K: Tensor,  # [3, 3] px
        width: int,
        height: int,
        sh_degree: int,
        background: Tensor | None = None,  # [3]; None is black
        with_depth: bool = False,
        identity_geometry: float = 1.0,  # share of dL/d(identity image) that reaches the weights
    ) -> Rendering:
        """Render one view. See :class:`Rendering` for the shapes.

        ``identity_geometry`` (0 to 1) changes no image. It scales the gradient that reaches the
        blending weights, and so centres, rotations, scales, opacities and ``means2d``. The gradient
        of ``identities`` is not scaled.
        """
        ...
