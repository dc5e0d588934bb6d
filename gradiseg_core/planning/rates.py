"""How fast this machine is: iterations that were timed, and what jobs of former runs took.

Both are factors on the formulas of :mod:`.costs`, kept in a small file of the user's cache folder.
A timed training gives one factor for all that a device computes, and each stage has one of its own
on top, the median of the last jobs and the formula.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gradiseg_core.config.root import Settings
from gradiseg_core.planning import costs
from gradiseg_core.stages.report.timing import read_benchmark

FOLDER_VARIABLE = "GRADISEG_CACHE_DIR"
"""Environment variable that names the folder in place of the user's cache folder."""

_VERSION = 1
_KEPT = 5  # jobs of a stage that the median is of
_SHORTEST_S = 5.0  # jobs that took less say more about starting than about the machine
_NEW_S = 600.0  # a timed training this old is repeated
_FARTHEST = 50.0  # a factor beyond this, or below its inverse, is a mistake
#: What the log of a job says whose time is not that of its formula.
_OTHERWISE = ("compiling CPU kernels", "resuming at iteration", "cannot be cached")


@dataclass
class Rates:
    """Factors of this machine on the formulas.

    Attributes:
        machine: By device (`cpu`, `cuda`): a timed training compared with its formula.
        timed: By device, when that was, s since 1970.
        stages: By stage and device, such as `train cpu`: the last jobs, compared with formula and
            machine.
    """

    machine: dict[str, float] = field(default_factory=dict)
    timed: dict[str, float] = field(default_factory=dict)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def factor(self, stage: str, device: str) -> float:
        """Return how much longer than by its formula a stage takes here.

        The formula counts as one more job: what a stage takes depends on the photographs as well,
        so that a single job says little about the next one.
        """
        jobs = self.stages.get(f"{stage} {device}", [])
        return self.machine.get(device, 1.0) * statistics.median([1.0, *jobs])

    def measured(self, stage: str, device: str) -> bool:
        """Tell whether anything is known of this machine."""
        return device in self.machine or f"{stage} {device}" in self.stages

    def is_new(self, device: str) -> bool:
        """Tell whether a training was timed a short while ago."""
        return 0 <= time.time() - self.timed.get(device, 0.0) < _NEW_S

    def time(self, device: str, factor: float) -> None:
        """Take a timed training."""
        self.machine[device] = _bounded(factor)
        self.timed[device] = time.time()

    def learn(self, stage: str, device: str, factor: float) -> None:
        """Take a job that has ended: its time compared with its formula."""
        own = _bounded(factor / self.machine.get(device, 1.0))
        self.stages.setdefault(f"{stage} {device}", []).append(round(own, 3))
        del self.stages[f"{stage} {device}"][:-_KEPT]

    def save(self) -> None:
        """Write them down."""
        path = _file()
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"version": _VERSION, "machine": self.machine, "timed": self.timed}
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(content | {"stages": self.stages}, indent=1) + "\n")
        partial.replace(path)


def load() -> Rates:
    """Return what is known of this machine; nothing where the file is missing or of no use."""
    try:
        content = json.loads(_file().read_text())
        if content["version"] != _VERSION:
            return Rates()
        machine = {str(key): float(value) for key, value in content["machine"].items()}
        timed = {str(key): float(value) for key, value in content["timed"].items()}
        stages = {
            str(key): [float(value) for value in values]
            for key, values in content["stages"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Rates()  # estimates are then the reference machine's
    return Rates(machine, timed, stages)


def learn_from(settings: Settings, jobs: Iterable[costs.Job], cores: int, since: float) -> None:
    """Learn from the times of jobs that have ended, and write that down.

    Args:
        settings: The configuration that they ran with.
        jobs: Any jobs of it.
        cores: That the workflow could use.
        since: Only of files written after this, s since 1970.
    """
    rates = load()
    for job in jobs:
        folder = costs.results_folder(settings, job)
        path = folder / "benchmarks" / f"{job.stage}.tsv"
        measured = read_benchmark(path)
        if measured is None or measured.seconds < _SHORTEST_S or path.stat().st_mtime < since:
            continue
        if was_otherwise(folder / "logs" / f"{job.stage}.log"):
            continue
        scene = costs.scene_of(settings, job.scene or next(iter(settings.scenes)))
        device = "cuda" if costs.on_gpu(settings, job) else "cpu"
        rates.learn(job.stage, device, measured.seconds / costs.wall(settings, job, scene, cores))
    rates.save()


def was_otherwise(log: Path) -> bool:
    """Tell whether a job compiled kernels first, or did the rest of one that was stopped.

    Args:
        log: Its log file.
    """
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(words in text for words in _OTHERWISE)


def _bounded(factor: float) -> float:
    return min(_FARTHEST, max(1 / _FARTHEST, factor))


def _file() -> Path:
    given = os.environ.get(FOLDER_VARIABLE)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(given) if given else Path(cache) / "gradiseg") / "rates.json"
