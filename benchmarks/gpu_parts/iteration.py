"""Whole iterations: the trainer's own, one of colour alone, and one in two passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_parts import raster
from benchmarks.gpu_parts.kernels import CLASSES, parameters
from benchmarks.gpu_parts.scenes import GpuScene
from benchmarks.gpu_parts.timing import Results
from gradiseg_core.cameras import Camera
from gradiseg_core.compute.placement import loss_backends
from gradiseg_core.config.parts import Igd
from gradiseg_core.config.train import Gsplat, TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.splatting.losses.identity import IdentityClassifier, identity_loss
from gradiseg_core.splatting.losses.photometric import photometric_loss
from gradiseg_core.splatting.rasterization.gsplat import GsplatRasterizer, Operations
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.splatting.views import TrainingData, TrainingView, Views

ITERATIONS = 5  # a call: one of them with L_3d
VIEWS = 8


def measure(results: Results, run: Operations, scene: GpuScene) -> None:
    """Measure iterations of the four kinds at the scene's size."""
    for channels in ("split", "padded"):
        for variant in ("baseline", "gradiseg"):
            trainer = make_trainer(scene, run, results.device, channels, variant)

            def iterate(trainer: Trainer = trainer) -> None:
                for _ in range(ITERATIONS):
                    trainer.iterate()

            code = f"ours, {variant}, {channels}"
            record = results.measure("iteration", scene.name, code, iterate)
            record.ms, record.best_ms = record.ms / ITERATIONS, record.best_ms / ITERATIONS
            record.note = f"mean of {ITERATIONS}, L_3d in every fifth"
            trainer.prefetcher.close()
            del trainer, iterate  # lest the next one's memory be counted on top
    for code, step in _by_hand(results, run, scene).items():
        results.measure("iteration", scene.name, code, step)


def make_trainer(
    scene: GpuScene, run: Operations, device: torch.device, channels: str, variant: str
) -> Trainer:
    """Return a trainer past densification, with the scene's Gaussians and made-up views."""
    config = TrainConfig(
        iterations=30_000,
        num_classes=CLASSES,
        igd=Igd(max_growth=0.0),
        gsplat=Gsplat(channels=channels),  # type: ignore[arg-type]
    )
    points = np.random.default_rng(0).random((16, 3))
    views = made_up_views(scene)
    data = TrainingData(
        views, Views([], views.__getitem__, 0), points, (255 * points).astype(np.uint8), CLASSES
    )
    rasterizer = GsplatRasterizer(operations=run, channels=channels)  # type: ignore[arg-type]
    trainer = Trainer(data, with_variant(config, variant), 0, rasterizer, device)
    held = parameters(scene)
    trainer.gaussians = held
    trainer.extent = 1e-9  # times the rate of the centres, which the trainer sets in each iteration
    trainer.step = 20_000
    return trainer


def made_up_views(scene: GpuScene, classes: int = CLASSES) -> Views:
    """Return views of the scene's camera with random pictures and blocks of random labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (scene.height, scene.width)
    pose = scene.viewmat.cpu().double().numpy()
    cameras, views = [], []
    for index in range(VIEWS):
        moved = pose.copy()
        moved[0, 3] += 0.02 * index  # an extent of the scene that is not 0
        camera = Camera(
            f"view_{index}.png", scene.width, scene.height, scene.K.cpu().double().numpy(), moved
        )
        blocks = torch.randint(
            0, classes, (shape[0] // 32 + 1, shape[1] // 32 + 1), generator=generator
        )
        labels = blocks.repeat_interleave(32, 0).repeat_interleave(32, 1)[: shape[0], : shape[1]]
        image = torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8)
        view = TrainingView(
            camera,
            image,
            labels.to(torch.int16).contiguous(),
            torch.from_numpy(moved).float(),
            scene.K.cpu().float(),
            labels.unique(),
        )
        cameras.append(camera)
        views.append(view)
    return Views(cameras, views.__getitem__, 1 << 40)


def _by_hand(results: Results, run: Operations, scene: GpuScene) -> dict[str, Callable[[], object]]:
    """Return the iterations that ours is compared with, written as short as they can be."""
    device = results.device
    backends = loss_backends(device)
    target = torch.rand(scene.height, scene.width, 3, device=device)
    labels = torch.randint(
        0, CLASSES, (scene.height, scene.width), dtype=torch.int32, device=device
    )

    def code(with_identity: bool) -> Callable[[], object]:
        held = parameters(scene)
        head = IdentityClassifier(CLASSES).to(device)
        if not with_identity:
            groups = held.optimizer.param_groups
            groups[:] = [group for group in groups if group["name"] != "identities"]

        def step() -> None:
            leaves: dict[str, Tensor] = dict(held.params)
            leaves |= {"scales": held.scales, "opacities": held.opacities}
            color = raster.colour_pass(run, scene, leaves)
            loss = photometric_loss(color, target, 0.2, backend=backends.photometric).total
            if with_identity:
                encodings = raster.identity_pass(run, scene, leaves)
                loss = loss + identity_loss(encodings, labels, head, backend=backends.identity)
            loss.backward()
            held.optimizer.step()
            held.optimizer.zero_grad(set_to_none=True)

        return step

    return {"colour alone, gsplat": code(False), "two passes, gsplat": code(True)}
