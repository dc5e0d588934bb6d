"""What `gradiseg status` prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gradiseg_core.config.root import Settings
from gradiseg_core.errors import GradisegError
from gradiseg_core.planning.place import Place
from gradiseg_core.planning.reporting import left
from gradiseg_core.stages.report import plan, status


def show_status(results: Path | None, configfiles: Sequence[Path], *, as_json: bool) -> None:
    """Print what is done, running, failed and missing.

    Args:
        results: Folder of results; None: that of the configuration, or `results`.
        configfiles: As for ``snakemake --configfile``; relative paths start in the folder of the
            first, as in `gradiseg run`.
        as_json: Print a list of jobs.

    Raises:
        InputError: If there are no results.
        ConfigError: If a given configuration is not valid.
    """
    files = [path.absolute() for path in configfiles]
    place = Place.where_ran(files[0] if files else None)
    if results is not None and place.moved:
        results = results.absolute()
    with place.entered():
        settings = _settings(results, files)
        folder = results or Path("results" if settings is None else settings.root.results)
        planned = plan.planned(settings, folder) if settings else {}
        jobs = status.examine(folder, planned)
        running = any(job.state == "running" for job in jobs)
        rest = left(settings, jobs) if settings is not None and running and not as_json else None
    jobs = [_shown(job, place) for job in jobs]
    if as_json:
        print(json.dumps(status.as_data(jobs), indent=1))
        return
    print(status.table(jobs, status.terminal_width()))
    if rest is not None:
        print(f"\n{rest}")


def _settings(results: Path | None, configfiles: Sequence[Path]) -> Settings | None:
    try:
        return plan.settings_of(results or Path("results"), configfiles)
    except GradisegError as error:
        if configfiles:
            raise
        # Its photographs may be elsewhere; what has run can still be told.
        print(f"gradiseg: what is missing is not known: {error}", file=sys.stderr)
        return None


def _shown(job: status.Job, place: Place) -> status.Job:
    """Return a job whose files are written for the folder that the user is in."""
    log = None if job.log is None else place.shown(job.log)
    return replace(job, output=place.shown(job.output), log=log)
