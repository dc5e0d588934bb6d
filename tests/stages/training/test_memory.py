"""The memory model against what PyTorch allocates, as far as a CPU can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_parts.iteration import made_up_views
from benchmarks.gpu_parts.scenes import synthetic
from gradiseg_core.cameras import Camera
from gradiseg_core.compute.placement import LossBackends
from gradiseg_core.config.parts import Densification, Mcmc
from gradiseg_core.config.train import Gsplat, Losses, TrainConfig
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.losses.blended import GROUP, PADDED, blended_loss
from gradiseg_core.splatting.losses.identity import IdentityClassifier, identity_loss
from gradiseg_core.splatting.losses.photometric import photometric_loss
from gradiseg_core.splatting.parts import Iteration
from gradiseg_core.splatting.rasterization.gsplat import GsplatRasterizer, Operations
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.strategies.surgery import clone, split_by_sampling
from gradiseg_core.splatting.terms.surface_depth import SurfaceDepthTerm
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.splatting.views import TrainingData, TrainingView, Views
from gradiseg_core.stages.training.memory import (
    TILES,
    MemoryModel,
    check_memory,
    limit_of,
    memory_model,
    model_of,
    room_on,
)
from tests.splatting.gaussians.made import make

CPU = torch.device("cpu")
FUSED, PLAIN = LossBackends("triton", "triton"), LossBackends("torch", "torch")
COUNT = 20_000
SMALL = {"classes": 8, "pixels": 0, "views_bytes": 0}


MARK = 7_654_321  # bytes of a tensor that marks a place among the allocator's events


def peak(run: Callable[..., object], prepare: Callable[[], object] | None = None) -> int:
    """Return the bytes that PyTorch's allocator of main memory gave at most, above the start.

    The profiler sees only what is given back of what it saw taken, so that ``run`` works on what
    ``prepare`` returns.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        prepared = () if prepare is None else (prepare(),)
        torch.empty(MARK, dtype=torch.uint8)
        run(*prepared)
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    steps = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    held = np.cumsum(steps)
    start = steps.index(MARK)
    return int(held[start + 1 :].max() - (held[start] - MARK))


def bytes_of(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.nbytes if value.dim() else 0
    if isinstance(value, dict):
        return sum(bytes_of(item) for item in value.values())
    return sum(bytes_of(item) for item in value) if isinstance(value, list | tuple) else 0


def as_gsplat_allocates() -> Operations:
    """Return functions that keep and give tensors of the sizes of gsplat's, of zeros."""

    class Project(torch.autograd.Function):
        @staticmethod
        def forward(ctx, means, quats, scales):
            ctx.shapes = means.shape, quats.shape, scales.shape
            n = len(means)
            radii = torch.ones(1, n, 2, dtype=torch.int32)
            results = (
                radii,
                means.new_zeros(1, n, 2),
                means.new_ones(1, n),
                means.new_zeros(1, n, 3),
            )
            ctx.mark_non_differentiable(radii)
            ctx.save_for_backward(*results)
            return results

        @staticmethod
        def backward(ctx, *gradients):
            return tuple(torch.zeros(shape) for shape in ctx.shapes)

    class Harmonics(torch.autograd.Function):
        @staticmethod
        def forward(ctx, directions, coefficients):
            ctx.save_for_backward(directions, coefficients)
            return torch.zeros_like(directions)

        @staticmethod
        def backward(ctx, gradient):
            return tuple(torch.zeros_like(value) for value in ctx.saved_tensors)

    class Blend(torch.autograd.Function):
        @staticmethod
        def forward(ctx, means2d, conics, features, opacities, shape):
            ctx.save_for_backward(means2d, conics, features, opacities)
            channels = features.shape[-1]
            return torch.zeros(1, *shape, channels), torch.zeros(1, *shape, 1)

        @staticmethod
        def backward(ctx, *gradients):
            return *(torch.zeros_like(value) for value in ctx.saved_tensors), None

    def project(means, covars, quats, scales, *rest, **options):
        return (*Project.apply(means, quats, scales), None)

    def isect_tiles(means2d, radii, depths, *rest, **options):
        n = means2d.shape[1]
        torch.cumsum(torch.ones(n, dtype=torch.int32), 0)
        keys = torch.zeros(TILES * n, dtype=torch.int64)
        flat = torch.zeros(TILES * n, dtype=torch.int32)
        return None, keys.clone(), flat.clone()

    def blend(means2d, conics, features, opacities, width, height, *rest, **options):
        channels = features.shape[-1]
        if channels == 19:  # gsplat's wrapper pads
            features = torch.cat([features, features.new_zeros(1, features.shape[1], 13)], dim=-1)
        images, alphas = Blend.apply(means2d, conics, features, opacities, (height, width))
        return images[..., :channels], alphas

    return Operations(
        project,
        lambda degree, directions, coefficients, masks: Harmonics.apply(directions, coefficients),
        isect_tiles,
        lambda keys, images, x, y: torch.zeros(1, y, x, dtype=torch.int32),
        blend,
        device="cpu",
    )


def trainer_of(config: TrainConfig) -> Trainer:
    views = made_up_views(synthetic(4, 24, 16, CPU))
    generator = np.random.default_rng(0)
    points = generator.random((COUNT, 3))
    colors = generator.integers(0, 255, (COUNT, 3), dtype=np.uint8)
    data = TrainingData(views, Views([], views.__getitem__, 0), points, colors, 256)
    channels = config.gsplat.channels
    rasterizer = GsplatRasterizer(operations=as_gsplat_allocates(), channels=channels)
    return Trainer(data, config, 0, rasterizer)


@pytest.mark.parametrize("channels", ["split", "padded"])
def test_state_and_iteration_are_what_pytorch_allocates(channels) -> None:
    config = TrainConfig(num_classes=256, gsplat=Gsplat(channels=channels))
    trainer = trainer_of(config)
    trainer.iterate()
    model = memory_model(config, FUSED, **SMALL)
    state = bytes_of(trainer.gaussians.state_dict())
    floats = 59 + config.identity_dim
    assert bytes_of(trainer.gaussians.state_dict()["params"]) == 4 * floats * COUNT
    statistics = bytes_of(trainer.gaussians.statistics)
    assert state == 12 * floats * COUNT + statistics
    assert statistics > 0
    assert 0.95 * model.state * COUNT < state <= model.state * COUNT
    used = peak(trainer.iterate)
    assert 0.85 * model.iteration * COUNT < used < 1.03 * model.iteration * COUNT
    trainer.prefetcher.close()


def test_so_is_an_iteration_that_blends_probabilities() -> None:
    losses = Losses(blended="probabilities", identity_geometry_start=12_000)
    config = TrainConfig(num_classes=256, losses=losses)
    trainer = trainer_of(config)
    trainer.iterate()
    model = memory_model(config, FUSED, **{**SMALL, "classes": 256})
    used = peak(trainer.iterate)
    assert 0.85 * model.iteration * COUNT < used < 1.03 * model.iteration * COUNT
    trainer.prefetcher.close()


def test_densification_is_what_pytorch_allocates() -> None:
    few = torch.arange(COUNT) % 20 == 0
    generator = torch.Generator().manual_seed(0)

    def prepare() -> Gaussians:
        gaussians = make(COUNT)
        for parameter in gaussians.params.values():
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            gaussians.optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
        gaussians.statistics = {"grad2d": torch.zeros(COUNT), "seen": torch.zeros(COUNT)}
        return gaussians

    def grow(gaussians: Gaussians) -> None:
        cloned = clone(gaussians, few)
        split_by_sampling(gaussians, torch.cat([few, few.new_zeros(cloned)]), 1.6, generator)
        assert len(gaussians) == 1.1 * COUNT

    used = peak(grow, prepare)
    model = memory_model(TrainConfig(), FUSED, **SMALL)
    expected = COUNT * (0.1 * model.state + 1.1 * model.densification)
    assert 0.85 * expected < used < 1.03 * expected


def test_pixels_of_the_losses_that_pytorch_computes() -> None:
    height, width, classes = 96, 120, 40
    rendered = torch.rand(height, width, 3).requires_grad_()
    target = torch.rand(height, width, 3)
    features = torch.rand(height, width, 16).requires_grad_()
    labels = torch.zeros(height, width, dtype=torch.int16)
    head = IdentityClassifier(classes)
    used = peak(lambda: photometric_loss(rendered, target, 0.2, backend="torch").total.backward())
    used += peak(lambda: identity_loss(features, labels, head, backend="torch").backward())
    sizes = {"classes": classes, "views_bytes": 0, "pixels": height * width}
    plain, fused = (memory_model(TrainConfig(), losses, **sizes) for losses in (PLAIN, FUSED))
    common = fused.view - (84 + 80) * height * width
    assert used == pytest.approx(plain.view - common, rel=0.05)
    assert fused.view < 0.5 * plain.view


@pytest.mark.parametrize("classes", [20, 70])
def test_pixels_of_blended_probabilities(classes: int) -> None:
    height, width = 96, 120
    labels = torch.arange(height * width).reshape(height, width) % classes
    ids = torch.arange(classes)

    def run() -> None:
        counts = [len(group) for group in ids.split(GROUP)]
        images = [
            torch.rand(height, width, count + -count % PADDED).requires_grad_() for count in counts
        ]
        parts = [image[..., :count] for image, count in zip(images, counts, strict=True)]
        blended = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        blended_loss(blended, labels, ids, classes, exponent=0.5, width_px=2).backward()

    config = TrainConfig(losses=Losses(blended="probabilities"))
    sizes = {"classes": classes, "views_bytes": 0, "pixels": height * width}
    model = memory_model(config, FUSED, **sizes).view / (height * width)
    # Photographs, L1 + SSIM, and each group's colours and coverage.
    common = 3 * 4 + 2 * 5 + 8 + 84 + 4 * (10 * -(-classes // GROUP) + 2)
    used = peak(run) / (height * width)
    assert 0.85 * (model - common) < used < 1.03 * (model - common)


def test_three_million_gaussians_fit_24_gb() -> None:
    sizes = {"classes": 256, "pixels": 1600 * 1064, "views_bytes": 300 * 5 * 1600 * 1064}
    for channels in ("split", "padded"):
        config = TrainConfig(gsplat=Gsplat(channels=channels))
        model = memory_model(config, FUSED, **sizes)
        assert model.peak(3_000_000) < 24e9
        most = model.most(24e9)
        assert model.peak(most) <= 24e9 < model.peak(most + 2)
        assert most > 3_000_000
    assert model.most(1e9) == 0


def test_views_stay_on_the_device_up_to_their_budget() -> None:
    sizes = {"classes": 8, "pixels": 100}
    config = TrainConfig(gpu_views_gb=0.5)
    resident = [
        memory_model(config, FUSED, views_bytes=b, **sizes).resident for b in (10**6, 10**9)
    ]
    assert resident == [10**6, 5 * 10**8]


def test_limits() -> None:
    assert limit_of(TrainConfig()) is None
    # IGD grows beyond densification's own limit.
    config = TrainConfig(densification=Densification(max_gaussians=1000))
    assert config.igd is not None
    assert limit_of(config) == round(1000 * (1 + config.igd.max_growth))
    assert limit_of(config.model_copy(update={"igd": None})) == 1000
    assert limit_of(TrainConfig(densification=Densification(kind="mcmc", mcmc=Mcmc()))) >= 1_000_000


def test_what_is_said(caplog) -> None:
    caplog.set_level("INFO")
    model = MemoryModel(state=1000, iteration=800, densification=400, view=0, resident=0)
    room = model.peak(2_000_000) + 1
    check_memory(model, 1_000_000, None, room)
    assert "about 2.7 GB taken at 1,000,000 Gaussians; about 2.0 million fit" in caplog.text
    assert not [r for r in caplog.records if r.levelname == "WARNING"]
    check_memory(model, 1_000_000, 5_000_000, room)
    assert "allows 5,000,000 Gaussians, but only about 2.0 million fit" in caplog.text
    with pytest.raises(BackendUnavailableError, match=r"3,000,000 Gaussians of the start take"):
        check_memory(model, 3_000_000, None, room)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", ["split", "padded"])
def test_gpu_peak_stays_below_the_estimate(channels, tmp_path: Path) -> None:
    from benchmarks.gpu_parts.iteration import make_trainer
    from gradiseg_core.splatting.rasterization.gsplat import published

    device = torch.device("cuda")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    trainer = make_trainer(
        synthetic(500_000, 986, 728, device), published(), device, channels, "gradiseg"
    )
    torch.cuda.reset_peak_memory_stats()
    for _ in range(10):
        trainer.iterate()
    used = torch.cuda.max_memory_allocated() - before
    model = model_of(trainer.data, trainer.config, device)
    tensors = model.view + model.resident + len(trainer.gaussians) * (model.state + model.iteration)
    assert 0.6 * tensors < used < tensors, f"{used / 1e6:.0f} MB, model {tensors / 1e6:.0f}"
    assert room_on(device) > used
    trainer.prefetcher.close()


def test_pixels_of_a_term_that_reads_depth() -> None:
    height, width = 96, 120
    config = TrainConfig(terms={"surface_depth": {}})
    sizes = {"classes": 8, "views_bytes": 0, "pixels": height * width}
    plain, deep = (memory_model(one, FUSED, **sizes) for one in (TrainConfig(), config))
    assert deep.iteration > plain.iteration
    camera = Camera("0", width, height, np.eye(3), np.eye(4))
    images = [torch.zeros(height, width), torch.zeros(height, width, 3), torch.eye(4), torch.eye(3)]

    def run() -> None:
        surface, following = torch.full((height, width), 2.0), torch.ones(height, width)
        view = TrainingView(camera, images[1], None, images[2], images[3], surface_depth=surface)
        blended = torch.ones(1, height, width, 1).requires_grad_()
        alpha = torch.ones(height, width).requires_grad_()
        depth = torch.where(alpha > 0, blended[0, ..., 0] / alpha.clamp(min=1e-10), 0.0)
        rendering = Rendering(images[1], images[1], alpha, images[0], images[0], depth)
        now = Iteration(1, view, rendering, None, None)  # type: ignore[arg-type]
        SurfaceDepthTerm("surface_depth", 0.2).value(now).backward()
        assert blended.grad is not None
        del following

    used = peak(run) / (height * width) - 4  # alpha is rendered without the term, too
    assert used == pytest.approx((deep.view - plain.view) / (height * width), rel=0.05)


def test_views_count_with_the_tensors_that_they_have() -> None:
    trainer = trainer_of(TrainConfig())
    view = trainer.data.train[0]
    sizes = sum(camera.width * camera.height for camera in trainer.data.train.cameras)
    assert model_of(trainer.data, trainer.config, CPU).resident == pytest.approx(
        sizes * view.bytes / (view.camera.width * view.camera.height)
    )
    trainer.prefetcher.close()
