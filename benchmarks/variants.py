"""What an iteration of ``gradiseg_plus`` costs beside one of ``baseline``.

``python benchmarks/variants.py``. Both train on the CPU on the same scene, 15,000 Gaussians
at 320 x 240 with 16 classes, which is about what the demo ends with. They take turns in this one
process, and what is compared is CPU time, on one thread unless asked otherwise, as other processes
bend wall time. Nothing is due in the iterations that are timed: no densification, no split. Every
fifth runs the 3D loss.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu_parts.iteration import made_up_views  # noqa: E402
from benchmarks.gpu_parts.kernels import parameters  # noqa: E402
from benchmarks.gpu_parts.scenes import GpuScene, synthetic  # noqa: E402
from gradiseg_core.compute.cpu_runtime import set_threads  # noqa: E402
from gradiseg_core.config.parts import Igd  # noqa: E402
from gradiseg_core.config.train import TrainConfig  # noqa: E402
from gradiseg_core.config.variants import with_variant  # noqa: E402
from gradiseg_core.splatting.trainer import Trainer  # noqa: E402
from gradiseg_core.splatting.views import TrainingData, Views  # noqa: E402

VARIANTS = ("baseline", "gradiseg", "gradiseg_plus")
CLASSES, STEPS = 16, 10
HELD, LATE = 5_000, 20_000  # before and after identity_geometry_start


def make_trainer(scene: GpuScene, variant: str, step: int) -> Trainer:
    """Return a trainer of the scene that has done ``step`` iterations of 30,000."""
    config = with_variant(TrainConfig(num_classes=CLASSES, igd=Igd(max_growth=0)), variant)
    views = made_up_views(scene, CLASSES)
    points = np.random.default_rng(0).random((16, 3))
    colors = (255 * points).astype(np.uint8)
    data = TrainingData(views, Views([], views.__getitem__, 0), points, colors, CLASSES)
    trainer = Trainer(data, config, 0)
    trainer.gaussians = parameters(scene)  # whose rates leave them as they are
    trainer.extent = 1e-9  # times the rate of the centres, which the trainer sets itself
    trainer.step = step
    return trainer


def iterate(trainer: Trainer, step: int) -> float:
    """Run the iterations after ``step`` once more; return the milliseconds of one."""
    trainer.step = step
    start = time.process_time()
    for _ in range(STEPS):
        trainer.iterate()
    return 1e3 * (time.process_time() - start) / STEPS


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    set_threads(options.threads)
    scene = synthetic(15_000, 320, 240, torch.device("cpu"))
    for step, phase in ((HELD, "geometry held"), (LATE, "after that")):
        trainers = {name: make_trainer(scene, name, step) for name in VARIANTS}
        times: dict[str, list[float]] = {name: [] for name in trainers}
        for index in range(options.rounds + 1):
            for name, trainer in trainers.items():
                elapsed = iterate(trainer, step)
                if index:  # the first compiles and fills caches
                    times[name].append(elapsed)
        for trainer in trainers.values():
            trainer.prefetcher.close()
        middle = {name: median(values) for name, values in times.items()}
        for name, ms in middle.items():
            print(f"{phase}: {name} {ms:.2f} ms, {ms / middle['baseline']:.2f} x baseline")


if __name__ == "__main__":
    main()
