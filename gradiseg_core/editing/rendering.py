"""Pictures of trained Gaussians, and how much of a pixel each Gaussian makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera
from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.gaussians import PARAMETERS
from gradiseg_core.splatting.labels import most_probable
from gradiseg_core.splatting.losses.identity import label_map
from gradiseg_core.splatting.rasterization.interface import Rasterizer, Rendering
from gradiseg_core.splatting.rasterization.registry import get_rasterizer


@dataclass(frozen=True)
class Picture:
    """One view of a scene.

    Attributes:
        color: [H, W, 3] float32 in 0..1.
        ids: [H, W] int32, most probable IDs.
        depth: [H, W] float32, user's units; 0 where nothing was hit.
        alpha: [H, W] float32, how opaque the scene is.
    """

    color: NDArray[np.float32]
    ids: NDArray[np.int32]
    depth: NDArray[np.float32]
    alpha: NDArray[np.float32]


def with_values(trained: TrainedScene, values: Mapping[str, Tensor]) -> TrainedScene:
    """Return a scene of other Gaussians, of the same classifier and metadata."""
    return TrainedScene(classifier=trained.classifier, metadata=trained.metadata, **values)


def surface(values: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """Return how much surface each Gaussian covers, [N]: its largest face, times its opacity."""
    sizes = values["scales"].exp().sort(dim=1).values
    area = values["opacities"].sigmoid() * sizes[:, 1] * sizes[:, 2]
    return area.cpu().numpy().astype(np.float64) + 1e-12


@torch.no_grad()
def in_sight(trained: TrainedScene, camera: Camera) -> Tensor:
    """Return the rows [n] of the Gaussians that a view may show, and of few others.

    A cut-out shows a small part of a scene; what is far from it need not be projected.
    """
    means = trained.means
    pose = torch.as_tensor(camera.cam_from_world).to(means)
    x, y, z = (means @ pose[:3, :3].T + pose[:3, 3]).unbind(1)
    # More than the 3.33 standard deviations that are drawn: perspective stretches a Gaussian.
    reach = 5.0 * trained.scales.amax(dim=1).exp()
    depth = z.clamp(min=1e-6)
    shown = z > 0.0
    for across, focal, centre, size in (
        (x, camera.K[0, 0], camera.K[0, 2], camera.width),
        (y, camera.K[1, 1], camera.K[1, 2], camera.height),
    ):
        place = float(focal) * across / depth + float(centre)
        margin = float(focal) * reach / depth + 2.0
        shown &= (place > -margin) & (place < size + margin)
    return shown.nonzero().squeeze(1)


def part_of(trained: TrainedScene, rows: Tensor) -> TrainedScene:
    """Return the scene of some of its Gaussians, [n] int64."""
    return with_values(trained, {name: getattr(trained, name)[rows] for name in PARAMETERS})


def rasterizer_for(trained: TrainedScene) -> Rasterizer:
    """Return the compiled rasterizer of the device that the Gaussians are on."""
    return get_rasterizer(trained.means.device.type)


def rasterized(
    trained: TrainedScene,
    camera: Camera,
    rasterizer: Rasterizer,
    features: Tensor | None = None,
    *,
    with_depth: bool = False,
) -> Rendering:
    """Rasterize one view.

    Args:
        trained: The Gaussians.
        camera: View in the training frame, at the size to render.
        rasterizer: Any implementation of the interface.
        features: [N, D] blended in the place of the encodings; None: the encodings.
        with_depth: Whether depth is rendered.
    """
    means = trained.means
    white = trained.metadata.get("background", "black") == "white"
    return rasterizer(
        means,
        trained.quats,
        trained.scales.exp(),
        trained.opacities.sigmoid(),
        trained.sh0,
        trained.shN,
        trained.identities if features is None else features,
        viewmat=torch.as_tensor(camera.cam_from_world).to(means),
        K=torch.as_tensor(camera.K).to(means),
        width=camera.width,
        height=camera.height,
        sh_degree=int(trained.metadata["sh_degree"]),
        background=means.new_ones(3) if white else None,
        with_depth=with_depth,
    )


@torch.no_grad()
def picture(
    trained: TrainedScene, camera: Camera, rasterizer: Rasterizer, unit: float = 1.0
) -> Picture:
    """Return one view of a scene; its labels are read as the scene was trained for.

    Args:
        trained: The Gaussians.
        camera: View in the training frame, at the size to render.
        rasterizer: Any implementation of the interface.
        unit: User's units in one of the training frame.
    """
    result = rasterized(trained, camera, rasterizer, with_depth=True)
    if result.depth is None:
        raise TypeError("the rasterizer returned no depth although it was asked for it")
    if trained.metadata.get("labels") == "probabilities":

        def blend(values: Tensor) -> tuple[Tensor, Tensor]:
            rendering = rasterized(trained, camera, rasterizer, values)
            return rendering.identity, rendering.alpha

        ids = most_probable(trained.identities, trained.classifier, blend)[0][..., 0]
    else:
        ids = label_map(result.identity, trained.classifier)
    return Picture(
        color=result.color.nan_to_num(0.0).clamp(0.0, 1.0).float().cpu().numpy(),
        ids=ids.cpu().numpy().astype(np.int32),
        depth=(unit * result.depth).float().cpu().numpy(),
        alpha=result.alpha.float().cpu().numpy(),
    )
