"""A few iterations of a training, timed before there is anything to train on.

A made scene stands in for the user's: a table with balls on it inside a sphere, as many Gaussians
and as large images as the training will have, and IDs in blocks. What an iteration costs depends on
these numbers more than on what is seen.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.cpu_runtime import get_threads, is_cold, set_threads
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.planning.trainings import Iterations, grown, late_from
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.splatting.views import TrainingData, TrainingView, Views

_CLASSES = 24
_VIEWS = 4
_WARM = 5  # iterations that compile, read, allocate and build trees
_SECONDS = 3.0  # of each part
_MOST, _LEAST = 40, 5  # the 3D loss comes every fifth time
#: Measured: seconds that the kernels of a stage take.
_COMPILING_S = {"geometry": 9.0, "tracking": 2.0}
#: Shares of a run at which it is timed: before all losses are on; after that, and after IGD.
_EARLY, _LATE = 0.2, 0.6


def time_iterations(
    config: TrainConfig,
    size: tuple[int, int],
    gaussians: int,
    threads: int,
    device: torch.device | None = None,
) -> Iterations:
    """Return how long an iteration takes, the mean of some.

    Args:
        config: Of the training.
        size: Width and height of its images, px.
        gaussians: Their number after densification.
        threads: Of the kernels on a CPU.
        device: Where it runs; None: the CPU.

    Raises:
        BackendUnavailableError: If the device cannot be used.
    """
    device = device or torch.device("cpu")
    before, of_torch = get_threads(), torch.get_num_threads()
    set_threads(threads)
    # Their number stays as it is.
    still = config.densification.model_copy(update={"until": 0})
    config = config.model_copy(
        update={"longest_side": None, "downsample": None, "densification": still}
    )
    try:
        early = _timed(config, size, gaussians, _EARLY, device)
        if late_from(config) == 1:
            return Iterations(early, early)
        late = _timed(config, size, round(grown(config, gaussians)), _LATE, device)
        return Iterations(early, late)
    finally:
        set_threads(before)
        torch.set_num_threads(of_torch)


def compiling() -> dict[str, float]:
    """Return what stages take to compile their own kernels, seconds; nothing where that was done.

    Those of the training are compiled when it is timed.
    """
    from gradiseg_core.geometry import outlines, stereo

    first = {"geometry": stereo._search, "tracking": outlines._round}
    return {stage: _COMPILING_S[stage] for stage, kernel in first.items() if is_cold(kernel)}


def _timed(
    config: TrainConfig, size: tuple[int, int], gaussians: int, share: float, device: torch.device
) -> float:
    """Return how long an iteration takes when a share of the run is done."""
    data = _made(*size, gaussians, depth=config.needs_geometry)
    trainer = Trainer(data, config, 0, device=device)
    try:
        trainer.step = round(share * config.iterations)
        for _ in range(_WARM):
            trainer.iterate()
        begun, done = time.perf_counter(), 0
        while done < _LEAST or (time.perf_counter() - begun < _SECONDS and done < _MOST):
            trainer.iterate()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            done += 1
        return (time.perf_counter() - begun) / done
    finally:
        trainer.prefetcher.close()


def _made(width: int, height: int, gaussians: int, *, depth: bool = False) -> TrainingData:
    generator = np.random.default_rng(0)
    cameras = [_camera(index, width, height) for index in range(_VIEWS)]
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    ids = ((row * 5 // height) * 5 + column * 5 // width) % _CLASSES
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)

    def load(index: int) -> TrainingView:
        camera = cameras[index]
        return TrainingView(
            camera,
            torch.from_numpy(image),
            torch.from_numpy(ids.astype(np.int16)),
            torch.from_numpy(camera.cam_from_world.astype(np.float32)),
            torch.from_numpy(camera.K.astype(np.float32)),
            torch.from_numpy(np.unique(ids).astype(np.int64)),
            surface_depth=torch.full((height, width), 3.0) if depth else None,
        )

    colours = generator.integers(0, 256, (gaussians, 3), dtype=np.uint8)
    return TrainingData(
        train=Views(cameras, load, 2_000_000_000),
        test=Views([], load, 0),
        points=_points(gaussians, generator),
        colors=colours,
        num_classes=_CLASSES,
    )


def _points(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return points [P, 3] of a table, of balls on it, and of a sphere around both."""
    far, balls = count // 10, 4 * count // 10
    angle = generator.uniform(0, 2 * np.pi, count - far - balls)
    radius = 2 * np.sqrt(generator.uniform(0, 1, len(angle)))
    height = generator.normal(0, 0.01, len(angle))
    table = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    directions = generator.normal(size=(far + balls, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centres = np.concatenate([generator.uniform(-1, 1, (12, 2)), np.full((12, 1), 0.25)], axis=1)
    on_balls = 0.25 * directions[far:] + centres[generator.integers(0, 12, balls)]
    return np.concatenate([table, on_balls, 8 * directions[:far]])


def _camera(index: int, width: int, height: int) -> Camera:
    """Return a camera on a circle that looks at the middle of the table."""
    angle = 2 * np.pi * index / _VIEWS
    place = np.array([3 * np.cos(angle), 3 * np.sin(angle), 2.0])
    forward = -place / np.linalg.norm(place)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ place
    focal = 0.9 * max(width, height)
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return Camera(
        name=f"{index}.png", width=width, height=height, K=intrinsics, cam_from_world=pose
    )
