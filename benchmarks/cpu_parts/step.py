"""A whole training iteration at 10,000 Gaussians, 320 x 240, against the same all in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import gsplat_reference, tile_dense
from benchmarks.cpu_parts.raster import HEIGHT, WIDTH, scene
from benchmarks.timing import Part
from gradiseg_core.splatting.losses.identity import IdentityClassifier, identity_loss
from gradiseg_core.splatting.losses.photometric import photometric_loss
from gradiseg_core.splatting.neighbours.knn import GlobalKnn
from gradiseg_core.splatting.rasterization import cpu, reference
from gradiseg_core.splatting.terms.spatial import neighbour_kl

SAMPLES, K = 1000, 5
BY_GSPLAT = "all-PyTorch, gsplat's reference"
BY_TILES = "all-PyTorch, tile-dense"

Renderer = Callable[[dict[str, Tensor]], tuple[Tensor, Tensor]]


def _render_by_kernels(leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return colour and identity by the CPU core."""
    data = scene()
    rendering = cpu.rasterize(
        **leaves, viewmat=data.viewmat, K=data.K, width=WIDTH, height=HEIGHT, sh_degree=3
    )
    return rendering.color, rendering.identity


def _project_by_autograd(leaves: dict[str, Tensor]) -> tuple[reference.Projection, Tensor]:
    """Return projected Gaussians and all their features."""
    data = scene()
    geometry = (leaves[name] for name in ("means", "quats", "scales", "opacities"))
    projected = reference.project(*geometry, data.viewmat, data.K, WIDTH, HEIGHT)
    color = reference.colors_from_sh(leaves["means"], leaves["sh0"], leaves["shN"], data.viewmat, 3)
    return projected, torch.cat([color, leaves["identities"]], dim=1)


def _render_by_gsplat(leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return colour and identity by autograd projection and gsplat's PyTorch blending."""
    p, features = _project_by_autograd(leaves)
    geometry = (p.means2d, p.conics, leaves["opacities"])
    pairs = gsplat_reference.find_pairs(*geometry, p.depths, p.radii, WIDTH, HEIGHT)
    image, _ = gsplat_reference.blend(*geometry, features, *pairs, WIDTH, HEIGHT)
    return image[..., :3], image[..., 3:]


def _render_by_tiles(leaves: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return colour and identity by autograd projection and tile-dense blending."""
    p, features = _project_by_autograd(leaves)
    geometry = (p.means2d, p.conics, leaves["opacities"])
    image, _ = tile_dense.blend(*geometry, features, p.depths, p.radii, WIDTH, HEIGHT)
    return image[..., :3], image[..., 3:]


def _neighbours_by_pytorch(means: Tensor, sample: Tensor) -> Tensor:
    """Return the nearest others of each sample from the matrix of distances."""
    distances = torch.cdist(means[sample], means)
    distances[torch.arange(SAMPLES), sample] = torch.inf
    return distances.topk(K, dim=1, largest=False).indices


def _codes(classes: int, *, spatial: bool) -> Callable[[], dict[str, Callable[[], object]]]:
    """Compare render, losses, backward and Adam."""

    def make() -> dict[str, Callable[[], object]]:
        generator = torch.Generator().manual_seed(1)
        target = torch.rand(HEIGHT, WIDTH, 3, generator=generator)
        labels = torch.randint(0, classes, (HEIGHT, WIDTH), generator=generator)
        sample = torch.randperm(len(scene().gaussians["means"]), generator=generator)[:SAMPLES]
        knn = GlobalKnn(scene().gaussians["means"])

        def iteration(render: Renderer, backend: str) -> Callable[[], object]:
            head = IdentityClassifier(classes, generator=generator)
            leaves = {k: v.clone().requires_grad_() for k, v in scene().gaussians.items()}
            # A rate of 0 does Adam's whole work and leaves the scene as it is for the next round.
            optimizer = torch.optim.Adam(
                [*leaves.values(), *head.parameters()], lr=0.0, eps=1e-15, fused=True
            )

            def step() -> None:
                color, identity = render(leaves)
                loss = photometric_loss(color, target, 0.2, backend=backend).total
                loss = loss + identity_loss(identity, labels, head, backend=backend)
                if spatial:
                    if backend == "cpu":
                        near = knn.query(sample, K)
                    else:
                        near = _neighbours_by_pytorch(leaves["means"].detach(), sample)
                    loss = loss + 2.0 * neighbour_kl(leaves["identities"], head, sample, near)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

            return step

        return {
            "ours": iteration(_render_by_kernels, "cpu"),
            BY_GSPLAT: iteration(_render_by_gsplat, "torch"),
            BY_TILES: iteration(_render_by_tiles, "torch"),
        }

    return make


PARTS = [
    Part(
        name="whole step, 16 classes",
        make=_codes(16, spatial=False),
        targets={BY_GSPLAT: 40.0},
        note="render, L1 + SSIM, identity loss, backward, Adam; four iterations of five. The "
        "target is read against the step that renders by gsplat's PyTorch reference, pairs found "
        "in the step: the target's source calls a step of 2.5 s all-PyTorch, of which that takes "
        "2.35. Tile by tile is the quicker way in PyTorch.",
        packages=("gsplat",),
        quick=False,
        max_rounds=5,
    ),
    Part(
        name="whole step, 256 classes, with L_3d",
        make=_codes(256, spatial=True),
        note="as above with the global neighbours (tree kept) and Eq. 3: every fifth iteration",
        packages=("gsplat",),
        quick=False,
        max_rounds=5,
    ),
]
