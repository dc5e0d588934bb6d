"""What training does for a GPU, as far as a machine without one can tell."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
import torch

from gradiseg_core.compute import triton_runtime
from gradiseg_core.compute.placement import loss_backends
from gradiseg_core.config.parts import Densification, NearPruning
from gradiseg_core.config.train import Gsplat, LaKnn, Losses, TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.errors import BackendUnavailableError, GradisegError, InputError
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.neighbours.knn import searches_a_tree
from gradiseg_core.splatting.neighbours.la_knn import la_knn
from gradiseg_core.splatting.parts import Iteration, Schedule
from gradiseg_core.splatting.rasterization import reference
from gradiseg_core.splatting.rasterization.gsplat import GsplatRasterizer
from gradiseg_core.splatting.rasterization.registry import make_rasterizer
from gradiseg_core.splatting.terms import spatial as spatial_term
from gradiseg_core.splatting.terms.spatial import SpatialTerm
from gradiseg_core.splatting.trainer import WATCH_EVERY, LossWatch, Trainer
from gradiseg_core.splatting.views import Prefetcher, Views
from gradiseg_core.stages.training.data import load_training_data
from tests.splatting.gaussians.made import make
from tests.splatting.rasterization.scenes import relative_error
from tests.synthetic import write_scene

CPU = torch.device("cpu")
CONFIG = TrainConfig(iterations=120, num_classes="auto", losses=Losses(samples=50), device="cpu")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_scene(tmp_path_factory.mktemp("balls"))


@pytest.mark.parametrize(("device", "copied"), [("cpu", True), ("cuda", False)])
def test_only_who_searches_a_tree_copies_centres(monkeypatch, device: str, copied: bool) -> None:
    """The GPU's search of Eq. 4 goes over all centres: a tree would be copied for nothing."""
    gaussians = make(40)
    gaussians.params["means"].square().sum().backward()
    gaussians.optimizer.step()
    needed = searches_a_tree(torch.device(device), 8)
    monkeypatch.setattr("gradiseg_core.splatting.terms.spatial.searches_a_tree", lambda *_: needed)
    given: list[int] = []

    def search(means, sample, directions, k, *, candidates, knn):
        given.append(len(knn))
        return la_knn(means, sample, directions, k, candidates="all")

    monkeypatch.setattr("gradiseg_core.splatting.terms.spatial.neighbours_ahead", search)
    loss = SpatialTerm(
        Losses(samples=10, spatial_every=1), LaKnn(start=0, candidates=8), Schedule(100),
        torch.Generator(),
    )  # fmt: skip
    now = Iteration(10, None, None, gaussians, IdentityClassifier(4))  # type: ignore[arg-type]
    assert loss.value(now) is not None
    assert given == [40 if copied else 0]
    assert (loss.state_dict()["tree_means"] is not None) == copied


def test_views_beyond_the_budget_are_read_again_and_are_the_same(scene) -> None:
    data = load_training_data(*scene, CONFIG)
    one = data.train[0].bytes
    some = load_training_data(*scene, CONFIG.model_copy(update={"views_gb": (3.5 * one) / 1e9}))
    kept = [some.train.kept(index) for index in range(len(some.train))]
    assert kept == [True] * 3 + [False] * (len(kept) - 3)
    assert some.fingerprint() == data.fingerprint()
    assert [camera.name for camera in some.train.cameras] == [v.camera.name for v in data.train]
    assert torch.equal(some.train[-1].image, data.train[-1].image)
    assert data.train[0].labels.dtype == torch.int16
    height, width = data.train[0].labels.shape
    # 3 bytes of colour and 2 of label a pixel; a camera; the labels' IDs
    assert one == height * width * 5 + 25 * 4 + 8 * data.train[0].ids.numel()
    trained = []
    for views in (data, some):
        trainer = Trainer(views, CONFIG, 1)
        for _ in range(12):
            trainer.iterate()
        trained.append(trainer.gaussians.params["means"].detach())
        trainer.prefetcher.close()
    assert torch.equal(*trained)


def test_the_next_view_is_read_meanwhile(scene) -> None:
    data = load_training_data(*scene, CONFIG)
    asked: list[tuple[int, str]] = []

    def load(index: int):
        asked.append((index, threading.current_thread().name))
        return data.train[index]

    feed = Prefetcher(Views(data.train.cameras, load, 0), CPU, 0)
    assert feed.get(2, upcoming=0).camera.name == data.train[2].camera.name
    assert feed.get(0, upcoming=1).camera.name == data.train[0].camera.name
    assert feed.get(3).camera.name == data.train[3].camera.name  # 1 was brought for nothing
    feed.close()
    assert [index for index, _ in asked] == [2, 0, 1, 3]
    assert all(name.startswith("views") for _, name in asked)


def test_an_error_of_the_reading_thread_arrives(scene) -> None:
    def load(index: int):
        raise InputError("gone.png is missing")

    feed = Prefetcher(Views([None, None], load, 0), CPU, 0)  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"gone\.png"):
        feed.get(0)
    feed.close()


def on_device() -> LossWatch:
    """A watch that behaves as on a GPU."""
    watch = LossWatch(CPU)
    watch._on_device = True
    return watch


def test_a_gpus_losses_are_looked_at_now_and_then() -> None:
    watch = on_device()
    for step in range(1, WATCH_EVERY):
        value = math.nan if step >= 7 else 1.0
        watch.observe(step, torch.tensor(value), f"view_{step}.png", 10 * step)
    with pytest.raises(GradisegError, match=r"not finite at iteration 7 on view_7\.png \(70 "):
        watch.observe(WATCH_EVERY, torch.tensor(math.nan), "later.png", 1)
    watch = on_device()
    watch.observe(1, torch.tensor(math.inf), "a.png", 5)
    with pytest.raises(GradisegError, match=r"iteration 1 on a\.png"):
        watch.check(1)
    watch = on_device()
    for step in range(1, 3 * WATCH_EVERY):
        watch.observe(step, torch.tensor(1.0), "a.png", 5)
    watch.check(3 * WATCH_EVERY)


def spatial(samples: int) -> SpatialTerm:
    generator = torch.Generator().manual_seed(0)
    return SpatialTerm(Losses(samples=samples), None, Schedule(100), generator)


def test_sampling_without_waiting_takes_the_eligible_once_each() -> None:
    eligible = torch.rand(500, generator=torch.Generator().manual_seed(1)) < 0.4
    sample, valid = spatial(100)._sample_without_waiting(500, eligible)
    assert valid is not None
    assert valid.all()
    assert eligible[sample].all()
    assert len(sample.unique()) == 100
    few = torch.zeros(500, dtype=torch.bool)
    few[[3, 77]] = True
    sample, valid = spatial(100)._sample_without_waiting(500, few)
    assert valid is not None
    assert sorted(sample[valid].tolist()) == [3, 77]
    sample, valid = spatial(100)._sample_without_waiting(40, None)
    assert valid is None
    assert sorted(sample.tolist()) == list(range(40))
    counts = torch.zeros(20)
    loss = spatial(5)
    for _ in range(2000):
        counts[loss._sample_without_waiting(20, None)[0]] += 1
    assert (counts / 2000 - 0.25).abs().max() < 0.05  # 5 sigma


@pytest.mark.parametrize("stop_target", [False, True])
def test_spatial_term_without_waiting_is_the_same(stop_target) -> None:
    generator = torch.Generator().manual_seed(2)
    identities = torch.randn(60, 16, generator=generator, dtype=torch.float64).requires_grad_()
    classifier = IdentityClassifier(9, generator=generator).double()
    sample = torch.randperm(60, generator=generator)[:20]
    neighbours = torch.randint(-1, 60, (20, 5), generator=generator)
    neighbours[4] = -1
    inputs = [identities, *classifier.parameters()]
    arguments = (identities, classifier, sample, neighbours)
    expected = spatial_term.neighbour_kl(*arguments, stop_target=stop_target)
    got = spatial_term._without_waiting(*arguments, stop_target)
    torch.testing.assert_close(got, expected)
    pairs = (torch.autograd.grad(value, inputs) for value in (got, expected))
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs)
    nothing = spatial_term._without_waiting(
        identities, classifier, sample, torch.full_like(neighbours, -1), stop_target
    )
    assert nothing == 0


@pytest.mark.parametrize("gsplat", [Gsplat(), Gsplat(packed=True)])
def test_training_through_the_adapter_is_training_through_the_reference(scene, gsplat) -> None:
    pytest.importorskip("gsplat", reason="needs gsplat (Python part): pip install gsplat")
    from benchmarks.gsplat_on_cpu import operations

    config = CONFIG.model_copy(update={"gsplat": gsplat, "iterations": 30_000})
    data = load_training_data(*scene, config)
    adapter = GsplatRasterizer(packed=gsplat.packed, operations=operations())
    trained = []
    for rasterizer in (adapter, reference.rasterize):
        trainer = Trainer(data, config, 1, rasterizer)
        for _ in range(3):
            trainer.iterate()
        trained.append(trainer)
    ours, theirs = (trainer.gaussians for trainer in trained)
    assert (ours.statistics["seen"] != theirs.statistics["seen"]).float().mean() < 0.01
    assert relative_error(ours.statistics["grad2d"], theirs.statistics["grad2d"]) < 2e-3
    assert ours.statistics["grad2d"].max() > 0
    # Adam's first steps go by signs, which rounding turns where gradients vanish.
    rate = config.learning_rates.means * trained[0].extent
    difference = (ours.params["means"] - theirs.params["means"]).abs()
    assert (difference > 0.1 * rate).float().mean() < 0.02


def test_absgrad_is_taken_where_asked_for() -> None:
    from gradiseg_core.splatting.strategies.densification import DensificationStrategy
    from tests.splatting.gaussians.made import make, rendering_with

    rendering = rendering_with([[1e-4, 0.0]], [1])
    rendering.means2d.absgrad = torch.tensor([[3e-4, 4e-4]])
    sums = []
    for absgrad in (False, True):
        strategy = DensificationStrategy(
            Densification(absgrad=absgrad),
            Schedule(30_000),
            max_gaussians=None,
            extent=1.0,
            generator=torch.Generator(),
        )
        gaussians = make(1)
        strategy.step_post_backward(1, gaussians, rendering)
        sums.append(gaussians.statistics["grad2d"].item())
    height, width = rendering.alpha.shape
    expected = [1e-4 * width / 2, math.hypot(3e-4 * width / 2, 4e-4 * height / 2)]
    assert sums == pytest.approx(expected)


def test_absgrad_on_a_cpu_says_what_to_do() -> None:
    config = TrainConfig(
        densification=Densification(absgrad=True), gsplat=Gsplat(channels="padded")
    )
    with pytest.raises(BackendUnavailableError, match=r"train\.device to cuda"):
        make_rasterizer(config, CPU)


def test_losses_of_a_device() -> None:
    assert loss_backends(CPU).identity == loss_backends(CPU).photometric == "cpu"


@pytest.mark.parametrize(
    ("installed", "capability", "expected"),
    [(True, (9, 0), "triton"), (True, (7, 5), "torch"), (False, (9, 0), "torch")],
)
def test_losses_of_a_gpu_are_pytorchs_where_triton_cannot_compile_ours(
    monkeypatch, installed, capability, expected
) -> None:
    monkeypatch.setattr(triton_runtime, "is_installed", lambda: installed)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    backends = loss_backends(torch.device("cuda"))
    assert backends.identity == backends.photometric == expected


def test_cuda_without_a_gpu_says_what_to_do(scene, tmp_path, monkeypatch) -> None:
    from gradiseg_core.stages.training.stage import Training, train

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = CONFIG.model_copy(update={"device": "cuda"})
    with pytest.raises(BackendUnavailableError, match=r"train\.device: cuda was asked for, but"):
        train(
            Training(*scene, config, variant="igd", seed=0, threads=1, checkpoint_dir=tmp_path),
            tmp_path,
        )


def test_a_gpu_without_gsplat_is_left_alone_with_a_warning(monkeypatch, caplog) -> None:
    from gradiseg_core.compute import gsplat_build
    from gradiseg_core.compute import placement as device

    monkeypatch.setattr(device, "check_cuda", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gsplat_build, "installed_version", lambda: None)
    assert device.training_device("auto", "train.device") == CPU
    assert "needs gsplat, which is not installed" in caplog.text
    with pytest.raises(BackendUnavailableError, match=r"pip install \"gsplat==1\.5\.3\"") as error:
        device.training_device("cuda", "train.device")
    assert "`train.device: auto`" in str(error.value)
    assert "`train.device: cpu`" in str(error.value)
    monkeypatch.setattr(gsplat_build, "load_kernels", lambda: None)
    assert device.training_device("auto", "train.device").type == "cuda"
    assert device.training_device("cpu", "train.device") == CPU


@pytest.mark.gpu
@pytest.mark.parametrize("variant", ["baseline", "gradiseg"])
def test_gpu_learns_and_waits_once_an_iteration(scene, variant) -> None:
    """gsplat learns the length of its lists from the device; nothing else may wait."""
    import warnings

    config = CONFIG.model_copy(update={"near_pruning": NearPruning(ratio=1.0)})
    data = load_training_data(*scene, config)
    trainer = Trainer(data, with_variant(config, variant), 0, device=torch.device("cuda"))
    first = trainer.evaluate()
    for _ in range(60):
        trainer.iterate()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.iterate()  # 61: densification, pruning and the spatial loss are not due
        waits = [w for w in caught if "synchroniz" in str(w.message)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) <= 2, [str(w.message) for w in waits]
    for _ in range(59):
        trainer.iterate()
    assert trainer.evaluate() > first + 3


@pytest.mark.gpu
def test_gpu_checkpoints_move_to_the_cpu_and_back(scene, tmp_path) -> None:
    from gradiseg_core.stages.training.progress import load_checkpoint, save_checkpoint

    data = load_training_data(*scene, CONFIG)
    devices = [torch.device(name) for name in ("cpu", "cuda", "cpu", "cuda", "cuda")]
    state = None
    for device in devices:
        trainer = Trainer(data, CONFIG, 0, device=device)
        if state is not None:
            trainer.load_state_dict(state)
            for name, value in trainer.gaussians.params.items():
                assert value.device.type == device.type
                assert torch.equal(value.cpu(), state["gaussians"]["params"][name])
        for _ in range(20):
            trainer.iterate()
        save_checkpoint(tmp_path, {"fingerprint": "x", "trainer": trainer.state_dict()})
        loaded = load_checkpoint(tmp_path, "x")
        assert loaded is not None
        state = loaded["trainer"]
    assert trainer.step == 100


@pytest.mark.gpu
def test_gpu_copies_views_beyond_its_budget(scene) -> None:
    data = load_training_data(*scene, CONFIG)
    device = torch.device("cuda")
    feed = Prefetcher(data.train, device, int(2.5 * data.train[0].bytes))
    order = [0, 1, 2, 3, 0, 3, 2, 1, 2, 3]
    for now, after in zip(order, [*order[1:], None], strict=True):
        view = feed.get(now, after)
        assert view.image.device.type == "cuda"
        assert torch.equal(view.image.cpu(), data.train[now].image)
        assert torch.equal(view.labels.cpu(), data.train[now].labels)
    assert sorted(feed._resident) == [0, 1]
    feed.close()
