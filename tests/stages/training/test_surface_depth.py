"""Loss term `surface_depth`: a training is held to the surface of stage `geometry`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradiseg_core.cameras import Camera, Frame
from gradiseg_core.config.root import load
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import ConfigError
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.geometry import depth_unit, save_depth, save_facts
from gradiseg_core.planning.probe import _timed
from gradiseg_core.splatting.gaussians import Gaussians, gaussians_from_points
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.parts import Iteration
from gradiseg_core.splatting.rasterization.interface import Rendering
from gradiseg_core.splatting.rasterization.registry import get_rasterizer
from gradiseg_core.splatting.terms.surface_depth import SurfaceDepthTerm
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.splatting.views import TrainingData, TrainingView
from gradiseg_core.stages.training.data import load_training_data
from gradiseg_core.stages.training.stage import Training, train
from tests.synthetic import balls, write_scene

SIZE = 32
FACTS: dict[str, Any] = {"verdict": "found", "reason": None, "support": None, "views": []}


def settings(**values: Any) -> TrainConfig:
    usual = {"iterations": 60, "num_classes": "auto", "device": "cpu", "log_every": 10}
    usual |= {"losses": {"samples": 100}, "terms": {"surface_depth": {}}}
    return TrainConfig.model_validate(usual | values)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_scene(tmp_path_factory.mktemp("balls"))


@pytest.fixture(scope="module")
def geometry(scene: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The depth of the scene's Gaussians in its training views."""
    folder = tmp_path_factory.mktemp("geometry")
    depths = {}
    for camera in load_cameras(scene[1]).values():
        rendering = render_balls(camera)
        assert rendering.depth is not None
        depths[camera.stem] = np.where(rendering.alpha > 0.5, rendering.depth, 0).astype("float32")
    unit = depth_unit(max(float(depth.max()) for depth in depths.values()))
    for stem, depth in depths.items():
        save_depth(folder, stem, depth, unit)
    save_facts(folder, FACTS | {"depth_unit": unit}, Frame())
    return folder


def render_balls(camera: Camera) -> Rendering:
    points, _ = balls()
    count = len(points)
    with torch.no_grad():
        return get_rasterizer("reference")(
            torch.tensor(points, dtype=torch.float32),
            torch.eye(4)[[0] * count],
            torch.full((count, 3), 0.06),
            torch.full((count,), 0.95),
            torch.zeros(count, 1, 3),
            torch.zeros(count, 15, 3),
            torch.zeros(count, 8),
            viewmat=torch.tensor(camera.cam_from_world, dtype=torch.float32),
            K=torch.tensor(camera.K, dtype=torch.float32),
            width=camera.width,
            height=camera.height,
            sh_degree=0,
            with_depth=True,
        )


def two_gaussians(opacity: float, surface: torch.Tensor, rasterizer: str) -> Iteration:
    """A wide Gaussian in each half of a view, 2 units before the camera at the origin."""
    means = np.array([[-1.0, 0.0, 2.0], [1.0, 0.0, 2.0]])
    values = gaussians_from_points(
        np.tile(means, (2, 1)), np.full((4, 3), 128, np.uint8), identity_dim=8,
        generator=torch.Generator(),
    )  # fmt: skip
    values = {name: value[:2].clone() for name, value in values.items()}
    values["means"] = torch.tensor(means, dtype=torch.float32)
    values["scales"].fill_(float(np.log(0.2)))
    values["opacities"].fill_(float(np.log(opacity / (1.0 - opacity))))
    gaussians = Gaussians(values, dict.fromkeys(values, 0.0))
    K = np.array([[SIZE / 4, 0, SIZE / 2], [0, SIZE / 4, SIZE / 2], [0, 0, 1.0]]) * [[2], [2], [1]]
    K[:2, 2] = SIZE / 2
    camera = Camera("a.png", SIZE, SIZE, K, np.eye(4))
    view = TrainingView(
        camera, torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8), None, torch.eye(4),
        torch.tensor(K, dtype=torch.float32), surface_depth=surface,
    )  # fmt: skip
    rendering = get_rasterizer(rasterizer)(
        *gaussians.drawn, gaussians.params["identities"], viewmat=view.viewmat, K=view.K,
        width=SIZE, height=SIZE, sh_degree=0, with_depth=True,
    )  # fmt: skip
    return Iteration(1, view, rendering, gaussians, IdentityClassifier(2, 8))


def gradients(now: Iteration) -> torch.Tensor:
    """The derivative of the term by the depth of both Gaussians."""
    SurfaceDepthTerm("surface_depth", 1.0).value(now).backward()
    gradient = now.gaussians.params["means"].grad
    assert gradient is not None
    assert all(
        bool(p.grad.isfinite().all()) for p in now.gaussians.params.values() if p.grad is not None
    )
    return gradient[:, 2]


@pytest.mark.parametrize("rasterizer", ["cpu", "reference"])
def test_gaussians_are_pulled_to_the_surface(rasterizer: str) -> None:
    surface = torch.full((SIZE, SIZE), 2.5)
    surface[:, : SIZE // 2] = 1.5
    left, right = gradients(two_gaussians(0.99, surface, rasterizer))
    assert left > 1e-3  # descent brings it nearer
    assert right < -1e-3


@pytest.mark.parametrize("rasterizer", ["cpu", "reference"])
def test_where_the_surface_has_no_depth_nothing_is_pulled(rasterizer: str) -> None:
    surface = torch.full((SIZE, SIZE), 2.5)
    surface[:, : SIZE // 2] = 0.0
    left, right = gradients(two_gaussians(0.99, surface, rasterizer))
    assert left == 0.0
    assert right < -1e-3
    now = two_gaussians(0.99, torch.full((SIZE, SIZE), 2.5), rasterizer)
    ignored = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    ignored[:, SIZE // 2 :] = True
    left, right = gradients(replace(now, view=replace(now.view, ignored=ignored)))
    assert left < -1e-3
    assert right == 0.0


@pytest.mark.parametrize("rasterizer", ["cpu", "reference"])
@pytest.mark.parametrize(("opacity", "depth"), [(0.01, 2.5), (0.99, 0.0)])
def test_neither_what_is_transparent_nor_an_empty_view(
    rasterizer: str, opacity: float, depth: float
) -> None:
    now = two_gaussians(opacity, torch.full((SIZE, SIZE), depth), rasterizer)
    assert not gradients(now).any()


def test_the_mean_is_over_the_pixels_of_the_surface() -> None:
    now = two_gaussians(0.99, torch.full((SIZE, SIZE), 2.5), "cpu")
    surface = torch.tensor([[2.0, 4.0, 0.0, 5.0]])
    rendering = replace(
        now.rendering,
        depth=torch.tensor([[3.0, 3.0, 3.0, 0.0]]),
        alpha=torch.tensor([[0.9, 0.8, 1.0, 0.0]]),
    )
    now = replace(now, view=replace(now.view, surface_depth=surface), rendering=rendering)
    assert SurfaceDepthTerm("surface_depth", 1.0).value(now) == pytest.approx((0.5 + 0.25) / 3)


def read(
    scene: tuple[Path, Path, Path], geometry: Path | None, **values: Any
) -> tuple[TrainingData, TrainConfig]:
    config = settings(**values)
    return load_training_data(*scene, config, geometry), config


def test_training_views_hold_the_depth(scene: tuple[Path, Path, Path], geometry: Path) -> None:
    data, _ = read(scene, geometry)
    for view in data.train:
        exact = render_balls(view.camera)
        assert exact.depth is not None
        assert view.surface_depth is not None
        solid = exact.alpha > 0.5
        assert torch.equal(view.surface_depth > 0, solid)
        assert torch.allclose(view.surface_depth[solid], exact.depth[solid], atol=1e-3)
        again = view.to(torch.device("cpu")).surface_depth
        assert again is not None
        assert torch.equal(again, view.surface_depth)
    assert all(view.surface_depth is None for view in data.test)
    whole, half = data.train[0], read(scene, geometry, downsample=2)[0].train[0]
    assert half.surface_depth is not None
    assert whole.surface_depth is not None
    assert torch.equal(half.surface_depth, whole.surface_depth[1::2, 1::2])
    without, _ = read(scene, None, terms={})
    assert without.train[0].surface_depth is None
    pixels = whole.camera.width * whole.camera.height
    assert whole.bytes == without.train[0].bytes + 4 * pixels
    assert data.fingerprint() != without.fingerprint()


def test_a_training_comes_nearer_to_the_surface(
    scene: tuple[Path, Path, Path], geometry: Path, tmp_path: Path
) -> None:
    last = []
    for weight in (0.0, 2.0):
        out = tmp_path / str(weight)
        config = settings(iterations=150, terms={"surface_depth": {"weight": weight}})
        job = Training(
            *scene, config=config, variant="gradiseg", seed=0, threads=1,
            checkpoint_dir=tmp_path / "work", geometry_dir=geometry,
        )  # fmt: skip
        train(job, out)
        records = [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]
        last.append(np.mean([record["surface_depth_loss"] for record in records[-5:]]))
    assert last[1] < 0.8 * last[0]


def test_depth_is_rendered_only_for_a_term_that_reads_it(
    scene: tuple[Path, Path, Path], geometry: Path
) -> None:
    cpu = get_rasterizer("cpu")
    asked: list[bool] = []

    def recording(*arguments: Any, **options: Any) -> Rendering:
        asked.append(options["with_depth"])
        return cpu(*arguments, **options)

    logged = []
    for blended in ("encodings", "probabilities"):
        losses = {"samples": 100, "blended": blended}
        # 40 classes are blended in two calls, of which one needs depth.
        data, config = read(scene, geometry, losses=losses, num_classes=40)
        trainer = Trainer(data, config, 0, recording)
        trainer.gaussians.params["opacities"].data.fill_(3.0)
        logged.append(float(trainer.iterate()["surface_depth_loss"]))  # type: ignore[arg-type]
        trainer.evaluate()
        trainer.prefetcher.close()
        assert asked[0]
        assert sum(asked) == 1
        asked.clear()
    assert 0.0 < logged[0] == pytest.approx(logged[1])
    data, config = read(scene, None, terms={})
    trainer = Trainer(data, config, 0, recording)
    assert "surface_depth_loss" not in trainer.iterate()
    trainer.prefetcher.close()
    assert asked == [False]


def test_a_plan_times_it() -> None:
    assert _timed(settings(), (64, 48), 200, 0.5, torch.device("cpu")) > 0.0


def test_without_a_surface_it_is_said(scene: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"train\.terms\.surface_depth .*does not run here; write `tr"
    ):
        read(scene, None)
    save_facts(tmp_path, FACTS | {"verdict": "failed", "reason": "no texture"}, Frame())
    with pytest.raises(ConfigError, match=r"surface_depth .*`tracking: .*no texture; leave the"):
        read(scene, tmp_path)


def test_a_tracker_without_a_surface_is_named_before_any_job(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    term = {"terms": {"surface_depth": {}}}
    raw: dict[str, Any] = {"scenes": {"a": {"path": "photos"}}, "train": term}
    training = load(raw, tmp_path).section("a", "train", "gradiseg")
    assert isinstance(training, TrainConfig)
    assert training.terms_on_geometry == ["surface_depth"]
    wrong = r"train\.terms\.surface_depth: reads .* write `tracking: \{backend: geometry\}`"
    for trackers in ({"tracking": {"backend": "sfm"}}, {"masks": {"backend": "graph"}}):
        with pytest.raises(ConfigError, match=wrong):
            load(raw | trackers, tmp_path)
        load(raw | trackers | {"train": {"terms": {"surface_depth": None}}}, tmp_path)
    own = {"variants": ["held"], "own_variants": {"held": {"train": term}}}
    with pytest.raises(ConfigError, match=r"a\.train\.terms\.surface_depth: reads"):
        load(raw | own | {"train": {}, "tracking": {"backend": "sfm"}}, tmp_path)
