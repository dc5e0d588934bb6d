"""What `gradiseg status` prints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import Settings, load
from gradiseg_core.errors import GradisegError
from gradiseg_core.planning.locks import begun
from gradiseg_core.planning.place import Place, is_configuration
from gradiseg_core.planning.reporting import left
from gradiseg_core.planning.workflow import Command
from gradiseg_core.stages.report import plan, status

_SHIPPED = Path("config.yaml")


def show_status(results: Path | None, configfiles: Sequence[Path], *, as_json: bool) -> None:
    """Print what is done, running, failed, stopped and missing, and how to go on.

    Args:
        results: Folder of results, or of one scene in them; None: that of the configuration, or
            `results`. A configuration in its place is one of ``configfiles``.
        configfiles: As for ``snakemake --configfile``; relative paths start in the folder of the
            first, as in `gradiseg run`. Jobs are those of its scenes. None: all jobs of the folder.
        as_json: Print a list of jobs.

    Raises:
        InputError: If there are no results.
        ConfigError: If a given configuration is not valid.
    """
    if results is not None and not configfiles and is_configuration(results):
        configfiles, results = [results], None
    scene = None
    if results is not None and _is_of_a_scene(results):
        whole = results.resolve()
        results, scene = whole.parent, whole.name
    files = [path.absolute() for path in configfiles]
    place = Place.where_ran(files[0] if files else None)
    if results is not None and place.moved:
        results = results.absolute()
    with place.entered():
        if files:
            known = {Path(os.path.relpath(files[0])): load(read_files(files))}
        else:
            known = _found(results or Path("results"))
        first = next(iter(known.values()), None)
        folder = results or Path("results" if first is None else first.root.results)
        planned = {
            where: stages
            for settings in known.values()
            for where, stages in plan.planned(settings, folder).items()
        }
        jobs = status.examine(folder, planned)
        others: list[str] = []
        if files and first is not None:
            own = {*first.scenes, None}
            others = list(dict.fromkeys(job.scene or "" for job in jobs if job.scene not in own))
            jobs = [job for job in jobs if job.scene in own]
        if scene is not None:
            jobs = [job for job in jobs if job.scene == scene]
            known = {file: own for file, own in known.items() if scene in own.scenes}
        below = [] if as_json else list(_below(known, jobs, place, files))
    if others:
        below.append(f"also in {place.shown(folder)}, of other configurations: {', '.join(others)}")
    jobs = [_shown(job, place) for job in jobs]
    if as_json:
        print(json.dumps(status.as_data(jobs), indent=1))
        return
    print(status.table(jobs, status.terminal_width()))
    for text in below:
        print(f"\n{text}")


def _is_of_a_scene(folder: Path) -> bool:
    """Tell whether a folder is that of one scene: its jobs' logs lie in it, or its runs."""
    return (folder / "logs").is_dir() or any(folder.glob("*/seed*/logs"))


def _below(
    known: Mapping[Path, Settings], jobs: Sequence[status.Job], place: Place, files: Sequence[Path]
) -> Iterator[str]:
    """Yield how long what runs will take, and how to go on with what did not end."""
    unknown = {job.scene for job in _unfinished(jobs)} - {None}
    for configfile, settings in known.items():
        own = [job for job in jobs if job.scene in {*settings.scenes, None}]
        unknown -= settings.scenes.keys()
        of_scenes = [job for job in own if job.scene is not None]
        if any(job.state == "running" for job in of_scenes):
            yield left(settings, own, begun=begun())
        elif _unfinished(own) and len(files) < 2:
            mended = any(job.state == "failed" for job in own)
            when = ", once what failed is mended" if mended else ""
            yield f"to go on{when}:\n  {Command(configfile, place=place).again}"
    if unknown or (len(files) > 1 and _unfinished(jobs)):
        yield "to go on, give the command again that began it"


def _unfinished(jobs: Iterable[status.Job]) -> list[status.Job]:
    return [job for job in jobs if job.state in ("failed", "stopped")]


def _found(results: Path) -> dict[Path, Settings]:
    """Return the configurations of a folder of results, by their files in the working folder.

    They are those that `gradiseg run` names after their scenes, and `config.yaml`: of the clone it
    is the demo's, which counts where it has begun, or where nothing else has.
    """
    logs = [*results.glob("*/logs"), *results.glob("*/*/seed*/logs")]
    scenes = sorted({path.relative_to(results).parts[0] for path in logs})
    found: dict[Path, Settings] = {}
    for file in [*(Path(f"{scene}.yaml") for scene in scenes), _SHIPPED]:
        try:
            settings = load(read_files([file])) if file.is_file() else None
        except GradisegError as error:
            # Its photographs may be elsewhere; what has run can still be told.
            print(f"gradiseg: what is missing is not known: {error}", file=sys.stderr)
            continue
        if settings is None or Path(settings.root.results).resolve() != results.resolve():
            continue
        has_begun = not settings.scenes.keys().isdisjoint(scenes)
        if has_begun or (file == _SHIPPED and not found):
            found[file] = settings
    return found


def _shown(job: status.Job, place: Place) -> status.Job:
    """Return a job whose files are written for the folder that the user is in."""
    log = None if job.log is None else place.shown(job.log)
    return replace(job, output=place.shown(job.output), log=log)
