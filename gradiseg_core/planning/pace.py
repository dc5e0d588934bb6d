"""How a run goes compared with its plan, by the jobs that have ended in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gradiseg_core.config.root import Settings
from gradiseg_core.planning import costs
from gradiseg_core.planning.estimate import job_of
from gradiseg_core.planning.rates import Rates, was_otherwise
from gradiseg_core.stages.report import status

#: Seconds that count as gone as planned, so that short jobs say little.
_AS_PLANNED_S = 20.0
_FARTHEST = 4.0  # a pace beyond this, or below its inverse, says nothing of what is to come
#: How often cameras are searched for depends on the photographs, not on the machine.
_OWN_PACE = {"colmap"}
_WORTH_SAYING = 1.25


def pace(
    settings: Settings, known: Iterable[status.Job], cores: int, rates: Rates, since: float
) -> float:
    """Return how many times as long as planned the jobs of a run have taken.

    Other programs make a machine slower or let it be faster than when the plan was made. What is
    to come is then expected to take so much longer, too.

    Args:
        settings: The configuration.
        known: Its jobs and their states.
        cores: That the workflow may use.
        rates: By which it was planned.
        since: When the run began, s since 1970.
    """
    took = planned = _AS_PLANNED_S
    for done in known:
        if done.state != "done" or done.seconds is None or done.stage in _OWN_PACE:
            continue
        job = job_of(done, settings)
        folder = costs.results_folder(settings, job)
        if _modified(folder / "benchmarks" / f"{job.stage}.tsv") < since:
            continue
        if was_otherwise(folder / "logs" / f"{job.stage}.log"):
            continue
        scene = costs.scene_of(settings, job.scene or next(iter(settings.scenes)))
        device = "cuda" if costs.on_gpu(settings, job) else "cpu"
        expected = costs.wall(settings, job, scene, cores) * rates.factor(job.stage, device)
        took, planned = took + done.seconds, planned + expected
    return min(_FARTHEST, max(1 / _FARTHEST, took / planned))


def in_words(found: float) -> str:
    """Return what is said of a pace beside the time that is left; empty where it is as planned."""
    if 1 / _WORTH_SAYING < found < _WORTH_SAYING:
        return ""
    return f" (so far {found:.1f} times as long as planned)"


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
