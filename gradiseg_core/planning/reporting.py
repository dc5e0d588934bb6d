"""How long a run will still take, while it goes on, and what a plain `snakemake` says first."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from gradiseg_core.compute import machine
from gradiseg_core.config.root import Settings
from gradiseg_core.errors import GradisegError
from gradiseg_core.planning import rates
from gradiseg_core.planning.costs import Job
from gradiseg_core.planning.estimate import all_jobs, duration, estimate, known_jobs, remaining
from gradiseg_core.planning.pace import in_words, pace
from gradiseg_core.stages.report.status import Job as Known

PLANNED = "GRADISEG_PLANNED"
"""Environment variable by which a Snakemake knows that its plan was said already."""

_LOOK_S = 10.0
_APART_S = 30.0
_STEADY_S = 600.0  # a line at least this often
_LONG_S = 2 * 3600.0


@contextlib.contextmanager
def reporting(settings: Settings, cores: int, again: Collection[Path] = ()) -> Iterator[None]:
    """Print now and then, while the body runs, how long the rest will take.

    Args:
        settings: The configuration that runs, with the pages in 3D.
        cores: That the workflow may use.
        again: Outputs that may be there, and are made again.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_report, args=(settings, cores, again, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_LOOK_S)


def _report(
    settings: Settings, cores: int, again: Collection[Path], ended: threading.Event
) -> None:
    known_rates = rates.load()
    begun = time.time()
    said, before = time.monotonic(), -1
    while not ended.wait(_LOOK_S):
        try:
            known = not_yet(known_jobs(settings, views=True), again, begun)
        except (GradisegError, OSError):
            continue  # files come and go while it looks
        done = sum(job.state == "done" for job in known)
        passed = time.monotonic() - said
        if before < 0:
            before = done
        if not ((done != before and passed > _APART_S) or passed > _STEADY_S):
            continue
        if done < len(known) and not ended.is_set():  # looking takes a while
            print(f"[plan] {left(settings, known, cores, known_rates, begun)}", flush=True)
        said, before = time.monotonic(), done


def not_yet(known: Iterable[Known], again: Collection[Path], begun: float) -> list[Known]:
    """Return jobs with those as missing whose results are there from before, and made again.

    Args:
        known: Jobs and their states.
        again: Outputs that are made again.
        begun: When the run began, s since 1970.

    Raises:
        OSError: If an output goes while it is looked at.
    """
    return [
        replace(job, state="missing")
        if job.state == "done" and job.output in again and job.output.stat().st_mtime < begun
        else job
        for job in known
    ]


def left(
    settings: Settings,
    known: Iterable[Known],
    cores: int | None = None,
    known_rates: rates.Rates | None = None,
    begun: float | None = None,
) -> str:
    """Return in words how many jobs are done and how long the others will take.

    Args:
        settings: The configuration.
        known: Jobs and their states; those of other configurations are left out.
        cores: That the workflow may use; None: all of this machine.
        known_rates: Of this machine; None: as written down.
        begun: When the run began, s since 1970; None: it is not known how it goes.
    """
    own = [job for job in known if job.scene is None or job.scene in settings.scenes]
    done = sum(job.state == "done" for job in own)
    known_rates = known_rates or rates.load()
    cores = cores or machine.cores()
    so_far = 1.0 if begun is None else pace(settings, own, cores, known_rates, begun)
    seconds = remaining(settings, own, cores, known_rates, so_far)
    end = (datetime.now() + timedelta(seconds=seconds)).strftime("%H:%M")
    whole = f"about {duration(seconds)} left of the whole run, until {end}"
    return f"{done} of {len(own)} jobs done, {whole}{in_words(so_far)}"


def say_plan(settings: Settings, jobs: Iterable[Job], cores: int) -> Iterator[str]:
    """Yield what a plain `snakemake` says before it starts; nothing where it was said already.

    Args:
        settings: The configuration.
        jobs: What is to be done.
        cores: That the workflow may use.
    """
    jobs = list(jobs)
    if os.environ.get(PLANNED) or not jobs:
        return
    made = estimate(settings, jobs, cores, rates.load())
    yield made.line
    trained = {job.scene for job in jobs if job.stage == "train"}
    if made.total > _LONG_S and not made.gpu and trained - settings.budgets.keys():
        yield (
            "on a CPU the paper's defaults take this long: `quality: standard` in the "
            "configuration trains in about 30 minutes, `draft` is a first look"
        )


def learn(settings: Settings, cores: int | None, since: float) -> None:
    """Learn from a run that has ended; a cache that cannot be written is no error.

    Args:
        settings: Its configuration.
        cores: That it could use; None: all of this machine.
        since: When it began, s since 1970. Its jobs are known by their files: after a checkpoint
            Snakemake no longer knows those that ran before.
    """
    with contextlib.suppress(OSError):
        rates.learn_from(settings, all_jobs(settings), cores or machine.cores(), since)
