"""Which Gaussians a page keeps where there are more than it may hold."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.rendering import rasterized, rasterizer_for
from gradiseg_core.files.trained import TrainedScene

#: Views that are looked through; more hardly change the order.
_VIEWS = 24
#: Longest side that they are drawn at, px.
_SIDE = 480


def kept(trained: TrainedScene, cameras: list[Camera], budget: int) -> NDArray[np.int64]:
    """Return the Gaussians to show, by index, those that contribute most to the views.

    What a Gaussian contributes is the sum of its blending weights over all pixels of the views. It
    is the gradient of a blended feature that is 1 everywhere. Those whose alpha
    reaches 1/255 nowhere are never drawn, nor are those with values that are not finite.

    Args:
        trained: The Gaussians.
        cameras: Views in the training frame.
        budget: Most Gaussians to keep.
    """
    finite = torch.stack(
        [
            value.isfinite().reshape(len(value), -1).all(dim=1)
            for value in (trained.means, trained.quats, trained.scales, trained.opacities)
        ]
    ).all(dim=0)
    drawn = (finite & (trained.opacities.sigmoid() >= 1.0 / 255.0)).cpu().numpy()
    index = np.flatnonzero(drawn)
    if len(index) <= budget:
        return index
    weight = contributions(trained, cameras)[index]
    return np.sort(index[np.argsort(-weight, kind="stable")[:budget]])


def contributions(trained: TrainedScene, cameras: list[Camera]) -> NDArray[np.float64]:
    """Return the blending weights of every Gaussian, summed over pixels of evenly spread views."""
    rasterizer = rasterizer_for(trained)
    total = np.zeros(len(trained.means))
    places = np.linspace(0, len(cameras) - 1, min(_VIEWS, len(cameras))).round()
    for place in places:
        camera = cameras[int(place)]
        shrink = min(1.0, _SIDE / max(camera.width, camera.height))
        size = (max(1, round(camera.width * shrink)), max(1, round(camera.height * shrink)))
        ones = torch.ones_like(trained.means[:, :1]).requires_grad_()
        with torch.enable_grad():
            image = rasterized(trained, camera.resized(*size), rasterizer, ones).identity
            image.sum().backward()  # type: ignore[no-untyped-call]
        assert ones.grad is not None
        total += ones.grad[:, 0].double().cpu().numpy()
    return total
