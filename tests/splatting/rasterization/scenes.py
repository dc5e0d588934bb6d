"""Random and adversarial scenes that the rasterizer tests share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.rasterization.reference import rotation_matrices
from gradiseg_core.splatting.rasterization.registry import get_rasterizer

PARAMETERS = ("means", "quats", "scales", "opacities", "sh0", "shN", "identities")


@dataclass
class Scene:
    """Gaussians (float64) and one camera."""

    gaussians: dict[str, Tensor]
    camera: dict[str, object]
    background: Tensor

    def render(self, name: str, dtype: torch.dtype, **changes: object):
        """Render with fresh leaf parameters; return the rendering and the leaves."""
        leaves = {k: v.to(dtype).clone().requires_grad_() for k, v in self.gaussians.items()}
        camera = {k: v.to(dtype) if torch.is_tensor(v) else v for k, v in self.camera.items()}
        options = {"background": self.background.to(dtype), "with_depth": True, **changes}
        return get_rasterizer(name)(**leaves, **camera, **options), leaves


def make_camera(width: int, height: int) -> dict[str, object]:
    """Return a tilted camera with an off-centre principal point."""
    focal = 0.9 * width
    K = torch.tensor(
        [[focal, 0, width / 2 + 1.3], [0, 1.02 * focal, height / 2 - 0.7], [0, 0, 1]],
        dtype=torch.float64,
    )
    viewmat = torch.eye(4, dtype=torch.float64)
    viewmat[:3, :3] = rotation_matrices(torch.tensor([1.0, 0.1, -0.2, 0.05], dtype=torch.float64))
    viewmat[:3, 3] = torch.tensor([0.1, -0.2, 0.3])
    return {"viewmat": viewmat, "K": K, "width": width, "height": height, "sh_degree": 3}


def make_scene(
    n: int = 150,
    *,
    width: int = 53,
    height: int = 37,
    dims: int = 16,
    scale: float = 0.08,
    seed: int = 0,
) -> Scene:
    """Return random Gaussians, some outside the image, 1.5 to 6 units in front of the camera."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    camera = make_camera(width, height)
    K, viewmat = camera["K"], camera["viewmat"]
    z = 1.5 + 4.5 * uniform(n)
    x = (uniform(n) - 0.5) * 1.3 * width / K[0, 0] * z
    y = (uniform(n) - 0.5) * 1.3 * height / K[1, 1] * z
    in_camera = torch.stack([x, y, z], dim=-1)
    gaussians = {
        "means": (in_camera - viewmat[:3, 3]) @ viewmat[:3, :3],
        "quats": normal(n, 4),
        "scales": scale * torch.exp(0.6 * normal(n, 3)),
        "opacities": torch.sigmoid(1.5 * normal(n)),
        "sh0": 0.5 * normal(n, 1, 3),
        "shN": 0.2 * normal(n, 15, 3),
        "identities": normal(n, dims),
    }
    # float32 values, so that both precisions see the same scene
    gaussians = {k: v.float().double() for k, v in gaussians.items()}
    camera = {k: v.float().double() if torch.is_tensor(v) else v for k, v in camera.items()}
    return Scene(gaussians, camera, torch.tensor([0.25, 0.5, 0.125], dtype=torch.float64))


def place(scene: Scene, index: slice, in_camera: Tensor) -> None:
    """Move some Gaussians to positions [n, 3] in the camera's frame."""
    viewmat = scene.camera["viewmat"]
    moved = (in_camera - viewmat[:3, 3]) @ viewmat[:3, :3]
    scene.gaussians["means"][index] = moved.float().double()


def weighted_sum(rendering: Rendering) -> Tensor:
    """Return a scalar that depends on every output with fixed random weights."""
    generator = torch.Generator().manual_seed(7)
    result = 0
    # depth times alpha: depth alone divides rounding errors by alpha where hardly anything is seen
    depth = rendering.depth * rendering.alpha
    for image in (rendering.color, rendering.identity, rendering.alpha, depth):
        weights = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        result = result + (image * weights.to(image.dtype)).sum()
    return result


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Return the L2 norm of the difference over that of the truth."""
    difference = (value.detach().double() - truth.detach().double()).norm()
    return float(difference / truth.detach().double().norm().clamp(min=1e-12))
