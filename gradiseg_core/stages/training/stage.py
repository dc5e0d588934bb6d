"""One training job: load, resume, iterate, save."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
from collections.abc import Container
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from gradiseg_core.compute.cpu_runtime import get_threads, set_threads
from gradiseg_core.compute.placement import memory_advice, training_device
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.files.trained import save_run
from gradiseg_core.splatting.trainer import Throughput, Trainer
from gradiseg_core.stages.training.data import load_training_data
from gradiseg_core.stages.training.progress import (
    Journal,
    forget_checkpoint,
    load_checkpoint,
    save_checkpoint,
    stop_asked,
)
from gradiseg_core.version import __version__

logger = logging.getLogger(__name__)

_ADVICE = (
    "set train.densification.max_gaussians, train.downsample or train.gsplat.packed, or lower "
    "train.gpu_views_gb (docs/cuda_core.md has the memory model)"
)


@dataclass(frozen=True)
class Training:
    """One job of this stage: its inputs, its parameters and its working folder.

    Attributes:
        scene_dir: Output of stage 1.
        colmap_dir: Output of stage 2.
        tracking_dir: Output of stage 4.
        config: Training parameters.
        variant: What the run is called; what it does is all in ``config``.
        seed: Seed of all randomness.
        threads: CPU threads.
        checkpoint_dir: Working folder that survives a kill.
        geometry_dir: Output of stage `geometry`, for loss terms that read it.
    """

    scene_dir: Path
    colmap_dir: Path
    tracking_dir: Path
    config: TrainConfig
    variant: str
    seed: int
    threads: int
    checkpoint_dir: Path
    geometry_dir: Path | None = None


def train(job: Training, out_dir: Path) -> None:
    """Train one variant from one seed and write the scene.

    Writes ``point_cloud.ply``, ``identities.safetensors``, ``identities.json``, ``config.json``,
    ``versions.json``, ``metrics.jsonl`` and ``tensorboard/`` to ``out_dir``. A run that was killed
    resumes from the working folder, which is emptied at the end.

    Args:
        job: Inputs and parameters.
        out_dir: Folder of the results.

    Raises:
        InputError: If inputs are missing or inconsistent.
        ConfigError: If a loss term reads a surface that is not there.
        GradisegError: If training diverges.
        BackendUnavailableError: If a GPU is asked for and cannot be used, or memory runs out.
    """
    set_threads(job.threads)
    device = training_device(job.config.device, "train.device")
    data = load_training_data(
        job.scene_dir, job.colmap_dir, job.tracking_dir, job.config, job.geometry_dir
    )
    trainer = Trainer(data, job.config, job.seed, device=device)
    fingerprint = job.config.digest(job.seed, data.fingerprint())
    _resume(trainer, job.checkpoint_dir, fingerprint)
    _announce(trainer, job.variant, device)
    if job.config.init_from is not None and trainer.step == 0:
        from gradiseg_core.stages.training.given import check_looks

        check_looks(trainer, job.config.init_from)
    if device.type == "cuda":
        from gradiseg_core.stages.training.memory import check_memory, limit_of, model_of, room_on

        model = model_of(data, job.config, device)
        check_memory(model, len(trainer.gaussians), limit_of(job.config), room_on(device))
    journal = Journal(
        job.checkpoint_dir,
        first_step=trainer.step,
        iterations=job.config.iterations,
        label=f"{job.scene_dir.parent.name} {job.variant} seed {job.seed}",
    )
    try:
        with memory_advice("training", _ADVICE):
            _loop(trainer, journal, job.checkpoint_dir, fingerprint)
    except BaseException:
        journal.close()
        raise
    finally:
        trainer.prefetcher.close()
    save_run(trainer, out_dir, job.variant)
    resolved = {
        "variant": job.variant,
        "seed": job.seed,
        "train": job.config.model_dump(mode="json"),
    }
    (out_dir / "config.json").write_text(json.dumps(resolved, indent=1) + "\n")
    (out_dir / "versions.json").write_text(json.dumps(library_versions(device), indent=1) + "\n")
    journal.publish(out_dir)
    forget_checkpoint(job.checkpoint_dir)


def _resume(trainer: Trainer, checkpoint_dir: Path, fingerprint: str) -> None:
    """Resume from the checkpoint of a killed run, if it left one."""
    state = load_checkpoint(checkpoint_dir, fingerprint)
    if state is not None:
        trainer.load_state_dict(state["trainer"])
        logger.info("resuming at iteration %d of %d", trainer.step, trainer.config.iterations)


def _announce(trainer: Trainer, variant: str, device: torch.device) -> None:
    """Log what is trained, and where."""
    data = trainer.data
    logger.info(
        "%s, seed %d, %s: %d training views, %d points, %d classes, scene extent %.3g",
        variant,
        trainer.seed,
        device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
        len(data.train),
        len(data.points),
        data.num_classes,
        trainer.extent,
    )


def _loop(trainer: Trainer, journal: Journal, checkpoint_dir: Path, fingerprint: str) -> None:
    config, total = trainer.config, trainer.config.iterations
    evaluate_at = {round(total * (i + 1) / config.evaluations) for i in range(config.evaluations)}
    throughput = Throughput(trainer.step)

    def save() -> None:
        trainer.watch.check(trainer.step)  # a diverged state must not overwrite a finite one
        noted = {"iteration": trainer.step, "digest": config.digest(trainer.seed)}
        state = {"fingerprint": fingerprint, "trainer": trainer.state_dict()}
        save_checkpoint(checkpoint_dir, state, noted)

    with stop_asked() as asked:
        while trainer.step < total:
            _iterate(trainer, journal, evaluate_at, throughput)
            if asked.is_set() and trainer.step < total:
                save()
                raise KeyboardInterrupt(
                    f"stopped at iteration {trainer.step} of {total}; the next run goes on there"
                )
            if trainer.step % config.checkpoint_every == 0 and trainer.step < total:
                save()


def _iterate(
    trainer: Trainer, journal: Journal, evaluate_at: Container[int], throughput: Throughput
) -> None:
    """Run one iteration, and log it where that is due."""
    config, total = trainer.config, trainer.config.iterations
    parts = trainer.iterate()
    step = trainer.step
    journal.advance()
    if step % config.log_every != 0 and step not in evaluate_at and step != total:
        return
    trainer.watch.check(step)
    record: dict[str, float | int | None] = {"iteration": step}
    # SSIM is not computed when its weight is 0, and NaN is not JSON.
    values = {k: None if v is None else float(v) for k, v in parts.items()}
    record |= {k: None if v is None or math.isnan(v) else v for k, v in values.items()}
    record["num_gaussians"] = len(trainer.gaussians)
    record["it_per_s"] = throughput.measure(step)
    if step in evaluate_at:
        record["eval_psnr"] = trainer.evaluate()
        throughput.measure(step)
    journal.write(record)


def library_versions(device: torch.device) -> dict[str, str | int | None]:
    """Versions of everything that can change numbers, the machine, and the GPU's peak memory."""
    names = ("torch", "numpy", "numba", "scipy", "pycolmap", "scikit-image", "safetensors")
    found: dict[str, str | int | None] = {"gradiseg": __version__}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    if device.type == "cuda":
        from gradiseg_core.compute.gsplat_build import installed_version

        found |= {
            "gsplat": installed_version(),
            "cuda": torch.version.cuda,
            "gpu": torch.cuda.get_device_name(device),
            "gpu_peak_bytes": torch.cuda.max_memory_allocated(device),
        }
    return found | {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": get_threads(),
    }
