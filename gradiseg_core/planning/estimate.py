"""What a run will take: time by stage, memory, disk; and whether this machine has that."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gradiseg_core.compute import machine
from gradiseg_core.config.root import Settings
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import GradisegError, InputError
from gradiseg_core.planning import costs, trainings
from gradiseg_core.planning.costs import Job
from gradiseg_core.planning.rates import Rates
from gradiseg_core.stages.report import plan, status

#: What a user calls the stages, in their order; those that are not named are `_REST`.
_NAMES = {
    "scene": "photographs",
    "colmap": "cameras",
    "geometry": "objects",
    "masks": "objects",
    "tracking": "objects",
    "train": "training",
}
_REST = "pictures and scores"
_MOST_TIMED = 300_000  # Gaussians
_LEFT_FREE = 200e6  # bytes of a disk
_BUSY = 1.5  # programs that want a core, for each core
#: How :mod:`gradiseg_core.progress` says how far a job is, and what is left of it.
_SAID = re.compile(r"(?:(\d+) %, .*)?(?<![\d.])([\d.]+) (s|min|h) left")
#: Stages after whose change a training starts afresh.
_BEFORE_TRAINING = {"scene", "colmap", "geometry", "masks", "tracking"}
_BEGUN = ("failed", "running", "stopped")  # whose outputs may be there in part
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_LEAST_LEFT = 0.1  # of a job that has run longer than was expected


@dataclass(frozen=True)
class Estimate:
    """What jobs will take.

    Attributes:
        seconds: By what a user calls the stages, in their order.
        memory: Most that is held at a time, bytes.
        disk: What is written, bytes.
        cores: That work.
        gpu: Whether a GPU trains.
        measured: Whether anything of it was measured on this machine.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: float = 0.0
    disk: float = 0.0
    cores: int = 1
    gpu: bool = False
    measured: bool = False

    @property
    def total(self) -> float:
        """All of the time, seconds."""
        return sum(self.seconds.values())

    @property
    def line(self) -> str:
        """It in one line."""
        if not self.seconds:
            return "nothing is left to do"
        parts = [f"{name} {duration(seconds)}" for name, seconds in self.seconds.items()]
        where = f"{self.cores} core{'' if self.cores == 1 else 's'}"
        source = "" if self.measured else " (by another machine's times)"
        return (
            f"about {duration(self.total)} on {where}{' and a GPU' if self.gpu else ''}{source}: "
            f"{', '.join(parts)}; memory {self.memory / 1e9:.1f} GB; disk {_size(self.disk)}"
        )


def duration(seconds: float) -> str:
    """Return a time as roughly as it is known."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 5 * 60:
        return f"{round(seconds / 30) / 2:g} min"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.{1 if seconds < 36_000 else 0}f} h"


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def estimate(
    settings: Settings,
    jobs: Iterable[Job],
    cores: int,
    rates: Rates,
    compiling: Mapping[str, float] | None = None,
) -> Estimate:
    """Return what jobs will take together.

    Jobs of a stage run side by side as far as there are cores, and stages one after the other.

    Args:
        settings: The configuration.
        jobs: What is to be done.
        cores: That the workflow may use.
        rates: Of this machine.
        compiling: What stages take before they begin, seconds.
    """
    stages: dict[str, list[Job]] = {}
    for job in jobs:
        stages.setdefault(job.stage, []).append(job)
    changed = {job.scene for stage in _BEFORE_TRAINING for job in stages.get(stage, [])}
    order = _ordered(stages)
    seconds: dict[str, float] = {}
    memory, disk = 0.0, 0.0
    scenes = {name: costs.scene_of(settings, name) for name in settings.scenes}
    any_scene = next(iter(scenes.values()))
    measured = gpu = False
    for stage in sorted(stages, key=order.index):
        times, room = [], []
        for job in stages[stage]:
            scene = any_scene if job.scene is None else scenes[job.scene]
            device = "cuda" if costs.on_gpu(settings, job) else "cpu"
            gpu |= device == "cuda"
            measured |= rates.measured(stage, device)
            done = 0.0 if job.scene in changed else costs.done_before(settings, job)
            usual = costs.wall(settings, job, scene, cores, done)
            times.append(usual * rates.factor(stage, device))
            room.append(costs.memory(settings, job, scene, cores))
            disk += costs.disk(settings, job, scene)
        at_once = max(1, cores // costs.threads(settings, stages[stage][0], cores))
        name = _NAMES.get(stage, _REST)
        first = (compiling or {}).get(stage, 0.0)
        seconds[name] = seconds.get(name, 0.0) + first + max(max(times), sum(times) / at_once)
        memory = max(memory, sum(sorted(room, reverse=True)[:at_once]))
    return Estimate(seconds, memory, disk, cores, gpu, measured)


def _ordered(stages: Iterable[str]) -> list[str]:
    return [*_NAMES, *(stage for stage in stages if stage not in _NAMES)]


def named(stages: Iterable[str]) -> list[str]:
    """Return what a user calls stages, in their order, each name once."""
    stages = list(stages)
    return list(dict.fromkeys(_NAMES.get(s, _REST) for s in _ordered(stages) if s in stages))


def jobs_to_do(settings: Settings, *, views: bool) -> list[Job]:
    """Return the jobs of a configuration whose results are not there, by files alone.

    What would be made again because something changed only Snakemake knows.

    Args:
        settings: The configuration.
        views: Whether the pages in 3D are made as well.
    """
    known = known_jobs(settings, views=views)
    return [job_of(job, settings) for job in known if job.state != "done"]


def all_jobs(settings: Settings) -> list[Job]:
    """Return the jobs of a configuration, those included that geometry may make necessary."""
    known = known_jobs(settings, views=True)
    masks = [Job("masks", name) for name in settings.scenes]
    return list(dict.fromkeys([*(job_of(job, settings) for job in known), *masks]))


def unfinished_jobs(settings: Settings) -> list[Job]:
    """Return the jobs that failed or were stopped, whose outputs may be there in part.

    `snakemake --summary` takes such outputs as done, and a run makes them again.

    Args:
        settings: The configuration.
    """
    known = known_jobs(settings, views=True)
    return [job_of(job, settings) for job in known if job.state in _BEGUN]


def known_jobs(settings: Settings, *, views: bool) -> list[status.Job]:
    """Return the state of every job of a configuration, as `gradiseg status` does."""
    results = Path(settings.root.results)
    planned = plan.planned(settings, results)
    if views:
        planned = {
            folder: [*stages, "view"] if folder.name.startswith("seed") else stages
            for folder, stages in planned.items()
        }
    scenes = {*settings.scenes, None}
    wanted = {(folder, stage) for folder, stages in planned.items() for stage in stages}
    found = status.examine(results, planned)
    return [job for job in found if job.scene in scenes and _place(job, results) in wanted]


def _place(job: status.Job, results: Path) -> tuple[Path, str]:
    """Return folder and stage of a job as a plan has them."""
    if job.scene is None:
        return results / ("paper_tables" if job.stage == "paper_tables" else "tables"), job.stage
    folder = results / job.scene / (job.variant or "")
    return (folder if job.seed is None else folder / f"seed{job.seed}"), job.stage


def job_of(known: status.Job, settings: Settings) -> Job:
    """Return a job as its costs need it; other variants are not the settings'.

    Args:
        known: The job and its state.
        settings: The configuration.
    """
    trainings = {} if known.scene is None else settings.trainings[known.scene]
    return Job(
        known.stage, known.scene, known.variant if known.variant in trainings else None, known.seed
    )


def remaining(
    settings: Settings,
    known: Iterable[status.Job],
    cores: int,
    rates: Rates,
    pace: float = 1.0,
) -> float:
    """Return how long the rest will take, seconds, while a run goes on.

    Args:
        settings: The configuration.
        known: Its jobs and their states (:func:`known_jobs`).
        cores: That the workflow may use.
        rates: Of this machine.
        pace: How many times as long as planned what has ended took (:mod:`.pace`).
    """
    known = list(known)
    waiting = [job_of(job, settings) for job in known if job.state not in ("done", "running")]
    left = pace * estimate(settings, waiting, cores, rates).total
    running = [job for job in known if job.state == "running"]
    return left + max((_rest(settings, job, cores, rates, pace) for job in running), default=0.0)


def _rest(settings: Settings, running: status.Job, cores: int, rates: Rates, pace: float) -> float:
    """Return how long a job will still run: as its log says, or as it was expected to."""
    job, said = job_of(running, settings), _SAID.search(running.message or "")
    if said is None:
        whole = pace * estimate(settings, [job], cores, rates).total
        return max(_LEAST_LEFT * whole, whole - (running.seconds or 0.0))
    left = float(said[2]) * _UNITS[said[3]]
    if said[1] is not None and job.stage == "train" and job.variant is not None:
        config = settings.section(job.scene or "", "train", job.variant)
        assert isinstance(config, TrainConfig)
        each = costs.iterations(settings, job, costs.scene_of(settings, job.scene or ""))
        left = trainings.rest_of(config, each, int(said[1]) / 100, left)
    try:
        since = 0.0 if running.log is None else time.time() - running.log.stat().st_mtime
    except FileNotFoundError:  # the job has just ended, or begins anew
        since = 0.0
    return max(0.0, left - max(0.0, since))


def time_training(settings: Settings, jobs: Iterable[Job], cores: int, rates: Rates) -> str | None:
    """Time a few iterations of the longest training that is to be done, unless just done.

    Args:
        settings: The configuration.
        jobs: What is to be done.
        cores: That the workflow may use.
        rates: Takes the result.

    Returns:
        Why it could not be timed; None where it was, or where nothing is trained.
    """
    longest = _longest(settings, jobs, cores)
    if longest is None:
        return None
    device = "cuda" if costs.on_gpu(settings, longest) else "cpu"
    if rates.is_new(device):
        return None
    scene = costs.scene_of(settings, longest.scene or "")
    config = settings.section(longest.scene or "", "train", longest.variant)
    assert isinstance(config, TrainConfig)
    try:
        from gradiseg_core.compute.placement import training_device
        from gradiseg_core.planning.probe import time_iterations

        size = scene.resized(config.longest_side, config.downsample)
        count = int(min(_MOST_TIMED, costs.gaussians(config, scene)))
        threads = costs.threads(settings, longest, cores)
        where = training_device(config.device, "train.device")
        measured = time_iterations(config, size, count, threads, where)
    except ImportError as error:  # a Snakemake whose stages have environments of their own
        return str(error)
    except GradisegError as error:
        return str(error)
    formula = trainings.by_formula(config, size, count, gpu=device == "cuda").mean(config)
    if device == "cpu":
        formula /= costs.speedup(threads)
    rates.time(device, measured.mean(config) / formula)
    return None


def to_compile(jobs: Iterable[Job]) -> dict[str, float]:
    """Return what stages of jobs take before they begin, as their kernels are new here, seconds."""
    stages = {job.stage for job in jobs}
    if not stages & {"geometry", "tracking"}:
        return {}
    try:
        from gradiseg_core.planning.probe import compiling
    except ImportError:  # a Snakemake whose stages have environments of their own
        return {}
    return {stage: seconds for stage, seconds in compiling().items() if stage in stages}


def _longest(settings: Settings, jobs: Iterable[Job], cores: int) -> Job | None:
    """Return the longest training of some jobs."""
    scenes = {name: costs.scene_of(settings, name) for name in settings.scenes}
    return max(
        (job for job in jobs if job.stage == "train" and job.variant is not None),
        key=lambda job: costs.wall(settings, job, scenes[job.scene or ""], cores),
        default=None,
    )


def check(made: Estimate, results: Path) -> list[str]:
    """Compare an estimate with this machine.

    Args:
        made: The estimate.
        results: Folder of the results.

    Returns:
        Warnings, a line each; none where nothing is to be done.

    Raises:
        InputError: If the disk has not enough room.
    """
    if not made.seconds:
        return []
    place = next(
        path for path in (results.absolute(), *results.absolute().parents) if path.exists()
    )
    free = shutil.disk_usage(place).free
    warnings = []
    whole, now = machine.memory_bytes(), machine.free_memory_bytes()
    if made.memory > whole:
        warnings.append(
            f"the run needs about {made.memory / 1e9:.1f} GB of memory, and this machine has "
            f"{whole / 1e9:.1f}: lower train.longest_side and colmap.max_image_size, or use fewer "
            "cores"
        )
    elif made.memory > now:
        warnings.append(
            f"the run needs about {made.memory / 1e9:.1f} GB of memory, of which {now / 1e9:.1f} "
            "are free: close other programs"
        )
    if free < made.disk + _LEFT_FREE:
        full = (
            f"the run writes about {_size(made.disk)} to {results}, and the disk has "
            f"{_size(free)} free: make room, or set `results` to another disk"
        )
        raise InputError("; and ".join([full, *warnings]))
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > _BUSY * machine.cores():
        warnings.append(
            f"other programs are at work here ({os.getloadavg()[0]:.0f} want one of "
            f"{machine.cores()} cores), which the times contain"
        )
    return warnings
