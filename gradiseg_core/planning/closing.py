"""What `gradiseg run` says in the end: where to look, how to go on, or why it failed."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from gradiseg_core.config.root import Settings
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import GradisegError
from gradiseg_core.planning import costs
from gradiseg_core.planning.costs import Job
from gradiseg_core.planning.estimate import named
from gradiseg_core.planning.locks import is_at_work, is_left_by_us
from gradiseg_core.planning.workflow import Command
from gradiseg_core.stages.report import plan, status

_WIDTH = 100  # of what is said where there is no terminal


def conclude(
    command: Command,
    settings: Settings,
    code: int,
    begun: float,
    earlier: Collection[Path] = (),
) -> None:
    """Say where to look, or how to go on; why a run failed comes last.

    Args:
        command: What ran, in its folder.
        settings: The configuration.
        code: Its exit status.
        begun: When it began, s since 1970.
        earlier: Results that were there before, and were to be made again.
    """
    place, again = command.place, command.again
    if code == 0:
        made = [place.shown(page) for name in settings.scenes for page in pages(settings, name)]
        if made:
            print("\nWhere to look", *made, sep="\n  ")
        return
    unfinished = _unfinished(settings, begun)
    if code == 130:
        print(f"\nstopped; {_kept(settings, unfinished, earlier)}. To go on:\n  {again}")
        return
    seen = place.command("status", "--configfile", command.configfile)
    if is_at_work(Path(settings.root.results)):
        text = f"another run is at work here; it is shown by\n  {seen}"
    elif status.is_left_locked(Path()) and not is_left_by_us():
        unlock = place.command("run", command.configfile, "--", "--unlock")
        text = (
            "this folder is locked by a Snakemake that was killed. If none works on it from "
            f"another machine, unlock it, then go on:\n  {unlock}\n  {again}"
        )
    elif not unfinished:
        text = (
            f"not finished: what Snakemake says above is why. Jobs and logs:\n  {seen}\n"
            f"To go on where it stopped:\n  {again}"
        )
    else:
        why = "\n".join(status.reasons(unfinished, status.terminal_width(_WIDTH), place.shown))
        text = f"not finished. To go on, once what failed is mended:\n  {again}\n\nfailed\n{why}"
    print(f"\n{text}", file=sys.stderr, flush=True)


def _unfinished(settings: Settings, begun: float) -> list[status.Job]:
    """Return the jobs that failed or were stopped in this run."""
    results = Path(settings.root.results)
    try:
        jobs = status.examine(results, plan.planned(settings, results))
    except (GradisegError, OSError):
        return []  # there is nothing
    return [
        job
        for job in jobs
        if job.state in ("failed", "running", "stopped")
        and job.scene in {*settings.scenes, None}
        and job.log is not None
        and job.log.stat().st_mtime >= begun - 1
    ]


def _kept(settings: Settings, stopped: list[status.Job], earlier: Collection[Path]) -> str:
    """Return in words what of a run that was stopped is kept, and what was removed for it."""
    on, anew, removed = [], [], []
    for job in stopped:
        known = Job(job.stage, job.scene, job.variant, job.seed)
        done = costs.done_before(settings, known)
        if not done:
            anew.append(job.stage)
            # Snakemake removes what a job made before it runs again.
            if job.output in earlier and not job.output.exists():
                removed.append(str(job.output))
            continue
        config = settings.section(known.scene or "", "train", known.variant)
        assert isinstance(config, TrainConfig)
        whole = config.iterations
        step = round(done * whole)
        on.append(f"training {job.place} goes on at iteration {step:,} of {whole:,}")
    if anew:
        on.append(f"what was being made is made anew: {', '.join(named(anew))}")
    if removed:
        on.append(f"their earlier results are removed: {', '.join(removed)}")
    return "; ".join(["what is finished is kept", *on])


def pages(settings: Settings, scene: str) -> list[Path]:
    """Return what of a scene is worth opening and is there: report, objects, pages in 3D."""
    folder = Path(settings.root.results) / scene
    runs = [
        folder / variant / f"seed{seed}" / "view.html"
        for variant in settings.variants_of(scene)
        for seed in settings.seeds_of(scene)
    ]
    found = (folder / "report.html", folder / "tracking" / "contact_sheet.png", *runs)
    return [page for page in found if page.is_file()]
