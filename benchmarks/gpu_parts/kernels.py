"""What gsplat lacks: the identity head, SSIM, neighbours; and Adam and densification."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.gpu_parts.scenes import GpuScene
from benchmarks.gpu_parts.timing import Limit, Results
from gradiseg_core.compute.placement import loss_backends
from gradiseg_core.compute.triton_runtime import runs_on
from gradiseg_core.config.parts import Densification
from gradiseg_core.splatting.gaussians import PARAMETERS, Gaussians
from gradiseg_core.splatting.losses.identity import IdentityClassifier, identity_loss
from gradiseg_core.splatting.losses.photometric import photometric_loss
from gradiseg_core.splatting.neighbours.cuda import columns, nearest_by_torch
from gradiseg_core.splatting.neighbours.knn import make_knn, neighbours_ahead
from gradiseg_core.splatting.neighbours.la_knn import la_knn
from gradiseg_core.splatting.parts import Schedule
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.strategies.densification import DensificationStrategy
from gradiseg_core.splatting.strategies.mcmc import McmcStrategy
from gradiseg_core.splatting.terms.spatial import neighbour_kl

CLASSES, DIMS, SAMPLES, K = 256, 16, 1000, 5
NAIVE_PAIRS = 3e8  # a matrix of more distances than this is not made


def measure_losses(results: Results, width: int, height: int) -> None:
    """Measure the losses of one picture, and those that take what is rendered."""
    device = results.device
    name = f"{width} x {height}"
    pixels = width * height
    ours = loss_backends(device)
    features = torch.randn(height, width, DIMS, device=device).requires_grad_()
    labels = torch.randint(0, CLASSES, (height, width), dtype=torch.int32, device=device)
    head = IdentityClassifier(CLASSES, DIMS).to(device)
    inputs = [features, *head.parameters()]

    def classify(backend: str) -> Callable[[], object]:
        def run() -> object:
            return torch.autograd.grad(
                identity_loss(features, labels, head, backend=backend), inputs
            )

        return run

    limit = Limit(
        pixels * (2 * DIMS * 4 + 4),
        3 * 2 * pixels * CLASSES * DIMS,
        "encodings read, their gradients written, labels read; three products of 16 x 256",
    )
    codes = {"naive PyTorch": "torch", f"ours ({ours.identity})": ours.identity}
    for code, backend in codes.items():
        results.measure("identity head", name, code, classify(backend), limit)

    target = torch.rand(height, width, 3, device=device)
    rendered = (target + 0.1 * torch.randn_like(target)).requires_grad_()

    def compare(backend: str) -> Callable[[], object]:
        def run() -> object:
            loss = photometric_loss(rendered, target, 0.2, backend=backend).total
            return torch.autograd.grad(loss, rendered)

        return run

    limit = Limit(
        pixels * 3 * 4 * 3,
        pixels * 3 * 2 * 11 * 2 * 8,
        "two pictures read, a gradient written; 8 separable blurs",
    )
    codes = {"PyTorch": "torch", f"ours ({ours.photometric})": ours.photometric}
    for code, backend in codes.items():
        results.measure("L1 + SSIM", name, code, compare(backend), limit)


def measure_neighbours(results: Results, scene: GpuScene) -> None:
    """Measure both searches and the loss over what they find."""
    device = results.device
    means = scene.gaussians["means"]
    count = len(means)
    sample = torch.randperm(count, device=device)[:SAMPLES]
    directions = torch.nn.functional.normalize(torch.randn(len(sample), 3, device=device), dim=1)
    limit = Limit(
        count * 12,
        7 * count * len(sample),
        "all centres read once; three differences, products and sums a pair",
    )
    knn = make_knn(device)
    knn.update(means)
    nearest: dict[str, Callable[[], object]] = {}
    ahead: dict[str, Callable[[], object]] = {}
    nearest[f"ours ({type(knn).__name__})"] = lambda: knn.query(sample, K)
    ahead["ours"] = lambda: neighbours_ahead(
        means, sample, directions, K, candidates="all", knn=knn
    )
    if device.type == "cuda" or count < 10_000:
        nearest["chunked PyTorch"] = lambda: nearest_by_torch(means, sample, K)
        ahead["chunked PyTorch"] = lambda: la_knn(means, sample, directions, K, backend="torch")
    if count * len(sample) <= NAIVE_PAIRS:
        nearest["naive PyTorch"] = lambda: torch.cdist(means[sample], means).topk(
            K + 1, largest=False
        )
    for searches, found in zip((nearest, ahead), keops(means, sample, directions), strict=False):
        searches["pykeops"] = found
    if runs_on(device):
        ahead |= tiles(means, sample, directions)
    for code, run in nearest.items():
        results.measure("global KNN, query", scene.name, code, run, limit)
    for code, run in ahead.items():
        results.measure("LA-KNN, all", scene.name, code, run, limit)
    results.measure("global KNN, update", scene.name, "ours", lambda: knn.update(means))

    def local() -> object:
        return neighbours_ahead(means, sample, directions, K, candidates=32, knn=knn)

    results.measure("LA-KNN, 32", scene.name, "ours", local, limit)
    identities = scene.gaussians["identities"].clone().requires_grad_()
    head = IdentityClassifier(CLASSES, DIMS).to(device)
    near = torch.randint(0, count, (len(sample), K), device=device)

    def spatial() -> object:
        inputs = [identities, *head.parameters()]
        return torch.autograd.grad(neighbour_kl(identities, head, sample, near), inputs)

    results.measure("L_3d", scene.name, "ours", spatial)


def tiles(means: Tensor, sample: Tensor, directions: Tensor) -> dict[str, Callable[[], object]]:
    """Return LA-KNN's kernel with the work divided in other ways than the default."""
    from gradiseg_core.splatting.neighbours import _stream_triton

    points = columns(means)

    def code(tile: _stream_triton.Tile) -> Callable[[], object]:
        return lambda: _stream_triton.search(points, sample, K, directions, tile)

    shapes = [(2, 128, 1), (4, 128, 1), (4, 256, 1), (8, 64, 1), (8, 128, 1), (8, 256, 4)]
    return {
        f"kernel, {m} x {n}, {w} warps": code(_stream_triton.Tile(m, n, w)) for m, n, w in shapes
    }


def keops(means: Tensor, sample: Tensor, directions: Tensor) -> list[Callable[[], object]]:
    """Return global KNN and LA-KNN by pykeops, or nothing where it is not installed."""
    try:
        from pykeops.torch import LazyTensor
    except ImportError:
        return []
    others = LazyTensor(means[None])  # [1, N, 3]
    own = LazyTensor(means[sample][:, None])  # [M, 1, 3]
    along = LazyTensor(directions[:, None])

    def nearest() -> object:
        return ((others - own) ** 2).sum(dim=2).argKmin(K + 1, dim=1)  # the sample is the first

    def ahead() -> object:
        d = ((others - own) * along).sum(dim=2)
        return (-d).ifelse(1e30, d).argKmin(K, dim=1)  # where -d >= 0, infinitely far

    return [nearest, ahead]


def parameters(scene: GpuScene) -> Gaussians:
    """Return the scene's Gaussians as training holds them."""
    values = {name: scene.gaussians[name] for name in PARAMETERS}
    values |= {"scales": values["scales"].log(), "opacities": values["opacities"].logit()}
    # A rate that does all of the work and leaves the scene as it is for the next round.
    return Gaussians(values, dict.fromkeys(PARAMETERS, 1e-12))


def measure_optimizer(results: Results, scene: GpuScene) -> None:
    """Measure Adam's step and each densifier, with everything that grows or moves."""
    gaussians = parameters(scene)
    floats = sum(value[0].numel() for value in gaussians.params.values())
    gradients = {name: torch.randn_like(value) for name, value in gaussians.params.items()}

    def adam() -> None:
        for name, value in gaussians.params.items():
            value.grad = gradients[name]
        gaussians.optimizer.step()
        gaussians.optimizer.zero_grad(set_to_none=True)

    limit = Limit(
        len(scene) * floats * 4 * 7,
        note=f"{floats} floats a Gaussian: value and moments read and written, gradient read",
    )
    results.measure("Adam", scene.name, "torch, fused", adam, limit)

    generator = torch.Generator().manual_seed(0)
    on_device = torch.Generator(results.device).manual_seed(0)
    schedule = Schedule(30_000)
    common = {"max_gaussians": None, "generator": generator}
    adc = DensificationStrategy(Densification(), schedule, extent=5.0, **common)
    mcmc = McmcStrategy(Densification(kind="mcmc"), schedule, noise_generator=on_device, **common)

    def densify() -> None:
        nonlocal gaussians
        statistics = {
            "grad2d": torch.rand(len(gaussians), device=results.device) * 2.1e-4,
            "seen": torch.ones(len(gaussians), device=results.device),
        }
        gaussians.statistics = statistics
        adc.step_post_optimizer(600, gaussians)
        keep = torch.arange(len(scene), device=results.device)  # back to where it was
        gaussians.rebuild(keep.clamp(max=len(gaussians) - 1))

    def statistics() -> None:
        means2d = torch.zeros(len(gaussians), 2, device=results.device).requires_grad_()
        means2d.grad = torch.ones_like(means2d)
        image = torch.empty(scene.height, scene.width, device=results.device)
        radii = torch.ones(len(gaussians), dtype=torch.int32, device=results.device)
        adc.step_post_backward(600, gaussians, Rendering(image, image, image, means2d, radii))

    def relocate() -> None:
        gaussians.params["opacities"].data[::20] = -9.0  # dead
        mcmc.relocate(gaussians)

    results.measure("densify (once in 100)", scene.name, "adc, 5 % grow", densify)
    gaussians.statistics = {}
    results.measure("densify, statistics", scene.name, "adc", statistics)
    results.measure("densify (once in 100)", scene.name, "mcmc, 5 % relocated", relocate)
    results.measure("densify, noise", scene.name, "mcmc", lambda: mcmc.shake(gaussians))
