"""What `gradiseg status` says: which jobs are done, run, failed, were stopped or have yet to run.

From files alone: outputs, log files, and the marks that Snakemake sets beside an output while its
job runs. So it works while a run goes on, and on results of another machine. What would run *again*
only Snakemake knows (`snakemake --dry-run`).
"""

from __future__ import annotations

import binascii
import os
import re
import sys
import textwrap
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from gradiseg_core.errors import InputError
from gradiseg_core.stages.report.layout import NAMED, STAGES
from gradiseg_core.stages.report.timing import duration, read_benchmark

State = Literal["done", "running", "failed", "stopped", "missing"]

_FRESH_S = 900.0
_START_S = 5.0
_REASON_LINES = 8  # of why a job failed
#: What a job logs that was stopped (workflow_scripts/_stage.py).
_STOPPED = re.compile(r"stopped(?: at iteration \d+ of \d+; .*)?")
_RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) [\w.]+: (?P<text>.*)")


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        scene: Its scene; None for the tables of all.
        variant: The training's variant, or `tracks_2d`; None for what is of a scene.
        seed: The training's seed.
        stage: Name of the stage.
        state: What is known of it.
        output: The file or folder that it makes.
        log: Its log file; None where there is none.
        seconds: How long it took, or has run so far.
        message: Of a failed job its last error, of one that was stopped what it kept; of a running
            one the last line of its log.
    """

    scene: str | None
    variant: str | None
    seed: int | None
    stage: str
    state: State
    output: Path
    log: Path | None = None
    seconds: float | None = None
    message: str | None = None

    @property
    def place(self) -> str:
        """The scene, variant and seed in words."""
        seed = None if self.seed is None else f"seed {self.seed}"
        return ", ".join(part for part in (self.scene, self.variant, seed) if part) or "tables"


#: Scene, variant and seed of the jobs of a folder.
_Place = tuple[str | None, str | None, int | None]


def examine(results: Path, planned: Mapping[Path, Iterable[str]] | None = None) -> list[Job]:
    """Return the jobs of a results folder, in the order of scenes, variants, seeds and stages.

    Args:
        results: Folder of results.
        planned: By folder of :data:`STAGES`, the stages that a configuration asks for
            (:func:`gradiseg_core.stages.report.plan.planned`); they are missing where nothing is
            known of them.

    Raises:
        InputError: If there is nothing: no such folder, or no job in it and none planned.
    """
    plan = {folder: list(stages) for folder, stages in (planned or {}).items()}
    marks = _Marks.of(results)
    jobs = [
        job
        for folder, kind, place in _folders(results, plan)
        for job in _jobs(folder, kind, place, plan.get(folder, []), marks)
    ]
    if not jobs:
        raise InputError(
            f"no results in {results}: name the folder that `results` in the configuration names, "
            "or the configuration with --configfile"
        )
    return jobs


def _folders(results: Path, planned: Mapping[Path, Any]) -> Iterator[tuple[Path, str, _Place]]:
    """Yield the folders of jobs with their kind: those planned first, as the plan orders them."""
    scenes = [folder.relative_to(results).parts[0] for folder in planned]
    logs = [*results.glob("*/logs"), *results.glob("*/*/seed*/logs")]
    scenes += sorted(path.relative_to(results).parts[0] for path in logs)
    for scene in dict.fromkeys(scenes):
        folder = results / scene
        if scene in ("tables", "paper_tables"):
            continue
        yield folder, "scene", (scene, None, None)
        if folder / "tracks_2d" in planned or (folder / "tracks_2d").is_dir():
            yield folder / "tracks_2d", "tracks_2d", (scene, "tracks_2d", None)
        runs = [run for run in planned if run.parent.parent == folder]
        runs += sorted(path.parent for path in folder.glob("*/seed*/logs"))
        for run in dict.fromkeys(runs):
            if re.fullmatch(r"seed\d+", run.name):
                yield run, "run", (scene, run.parent.name, int(run.name[4:]))
    for kind in ("tables", "paper_tables"):
        yield results / kind, kind, (None, None, None)


def _jobs(
    folder: Path, kind: str, place: _Place, planned: list[str], marks: _Marks
) -> Iterator[Job]:
    outputs = dict(STAGES[kind])
    named = [path.stem for path in sorted((folder / "logs").glob("*_*.log")) if kind == "run"]
    for stage in [*planned, *named]:
        start, _, name = stage.partition("_")
        if stage not in outputs and start in NAMED:
            outputs[stage] = f"{NAMED[start]}/{name}"
    for stage, relative in outputs.items():
        log, output = folder / "logs" / f"{stage}.log", folder / relative
        logged = log.is_file()
        if stage not in planned and not logged and not output.exists():
            continue
        state, message = marks.judge(output, log)
        seconds = None
        if state == "done":
            measured = read_benchmark(folder / "benchmarks" / f"{stage}.tsv")
            seconds = None if measured is None else measured.seconds
        elif state == "running":
            seconds = marks.age(output)
        yield Job(*place, stage, state, output, log if logged else None, seconds, message)


@dataclass(frozen=True)
class _Marks:
    """What Snakemake notes of running jobs in its folder.

    Attributes:
        running: By output of a job that was begun and not ended: since when, s since 1970.
        kept: Whether Snakemake keeps such marks as files (it may keep them in a database).
        active: Whether a Snakemake runs in its folder on this machine.
        locked: Whether the folder is locked, as it is while Snakemake runs anywhere.
    """

    running: dict[Path, float]
    kept: bool
    active: bool
    locked: bool

    @classmethod
    def of(cls, results: Path) -> _Marks:
        """Read the marks beside a results folder."""
        where = results.resolve()
        for folder in (*where.parents, Path.cwd()):
            own = folder / ".snakemake"
            if own.is_dir():
                locked = any((own / "locks").glob("*"))
                marked = own / "incomplete"
                running = dict(_decoded(marked, folder))
                return cls(running, marked.is_dir(), is_active(folder), locked)
        return cls({}, True, False, False)

    def age(self, output: Path) -> float | None:
        """Return how long ago the job of an output began, s."""
        begun = self._begun(output)
        return None if begun is None else max(0.0, time.time() - begun)

    def judge(self, output: Path, log: Path) -> tuple[State, str | None]:
        """Return the state of a job, and what its log says of it."""
        begun = self._begun(output)
        lines = _tail(log)
        error = _last_error(lines)
        if begun is not None:
            # Of a Snakemake on another machine only the lock and the log are seen.
            fresh = time.time() - max(begun, _modified(log)) < _FRESH_S
            if self.active or (self.locked and fresh):
                # Snakemake writes the mark again once the job has started.
                current = lines and _modified(log) > begun - _START_S
                return "running", _text(lines[-1]) if current else None
            return _ended(error, "stopped", "it was stopped, or killed with its Snakemake")
        if output.exists():
            return "done", None
        if not log.is_file():
            return "missing", None
        if not self.kept and self.active and error is None:
            return "running", _text(lines[-1]) if lines else None
        return _ended(error, "failed", "it ended without an error message: killed, or stopped")

    def _begun(self, output: Path) -> float | None:
        return self.running.get(output.resolve())


def _ended(error: str | None, otherwise: State, why: str) -> tuple[State, str]:
    """Return the state of a job that did not come to its end, and what is said of it.

    Args:
        error: The last that its log has.
        otherwise: Its state where the log has none.
        why: What is said of it then.
    """
    if error is None:
        return otherwise, why
    return "stopped" if _STOPPED.fullmatch(error) else "failed", error


def _decoded(marked: Path, folder: Path) -> Iterator[tuple[Path, float]]:
    """Yield the outputs of unfinished jobs, from the names of Snakemake's marks.

    A name is the output's path in base64, cut into folders `@...` where it is too long for one.
    """
    for root, _, names in os.walk(marked):
        above = "".join(part.lstrip("@") for part in Path(root).relative_to(marked).parts)
        for name in names:
            try:
                output = urlsafe_b64decode(above + name).decode()
                begun = (Path(root) / name).stat().st_mtime
            except (binascii.Error, UnicodeDecodeError, FileNotFoundError):
                continue  # no mark of an output, or the job has just ended
            yield (folder / output).resolve(), begun


def is_left_locked(folder: Path) -> bool:
    """Tell whether a folder is locked by a Snakemake that does not run on this machine."""
    return any((folder / ".snakemake" / "locks").glob("*")) and not is_active(folder.resolve())


def is_active(folder: Path) -> bool:
    """Tell whether a Snakemake of this machine works in a folder (Linux; elsewhere: no)."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")) != folder:
                continue
            program = (process / "cmdline").read_bytes().split(b"\0")[:3]
        except OSError:  # it ended, or is another user's
            continue
        if any(Path(os.fsdecode(part)).name == "snakemake" for part in program):
            return True
    return False


def _tail(log: Path, size: int = 65536) -> list[str]:
    """Return the last lines of a log file that are not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def _last_error(lines: list[str]) -> str | None:
    """Return the text of the last error in a log, all its lines; of a traceback its last line."""
    found = None
    for number, line in enumerate(lines):
        record = _RECORD.match(line)
        if record and record["level"] in ("ERROR", "CRITICAL"):
            below = list(takewhile(lambda other: not _RECORD.match(other), lines[number + 1 :]))
            is_traceback = bool(below) and below[0].startswith("Traceback")
            found = below[-1].strip() if is_traceback else "\n".join([record["text"], *below])
    return found


def _text(line: str) -> str:
    record = _RECORD.match(line)
    return record["text"] if record else line.strip()


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def as_data(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Return the jobs as plain data for JSON."""
    return [
        {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(job).items()
        }
        for job in jobs
    ]


def table(jobs: list[Job], width: int = 110) -> str:
    """Return the jobs as text: how many, a grid of states, then what runs and what did not end.

    Args:
        jobs: From :func:`examine`.
        width: Of the terminal. What a running job says is cut there, why a job failed is wrapped.
    """
    counts = {state: sum(job.state == state for job in jobs) for state in _ORDER}
    total = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    lines = [f"{len(jobs)} jobs: {total}"]
    for group in _groups(jobs):
        lines += ["", *_grid(group)]
    running = [job for job in jobs if job.state == "running"]
    lines += ["", "running"] if running else []
    for job in running:
        took = "" if job.seconds is None else f" for {duration(job.seconds)}"
        text = f"  {job.place}: {job.stage}{took}: {job.message or 'nothing logged yet'}"
        lines.append(text if len(text) <= width else text[: width - 3] + "...")
        lines += [f"    {job.log}"] if job.log else []
    for state in ("failed", "stopped"):
        ended = [job for job in jobs if job.state == state]
        lines += ["", state, *reasons(ended, width)] if ended else []
    return "\n".join(lines)


def reasons(
    failed: Iterable[Job], width: int, shown: Callable[[Path], Path] = lambda path: path
) -> list[str]:
    """Return why jobs failed or were stopped, in lines, each with its log.

    Args:
        failed: The jobs.
        width: At which a message is wrapped.
        shown: Returns a path as it is written.
    """
    lines = []
    for job in failed:
        text = f"  {job.place}: {job.stage}: {job.message or 'nothing logged yet'}"
        lines += _wrapped(text, width)
        lines += [f"    {shown(job.log)}"] if job.log else []
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Return a message in lines of a terminal; of a long one the start and the last line.

    The last line says what to do, after a list of what is wrong.
    """
    shown = text.splitlines()
    if len(shown) > _REASON_LINES:
        left_out = len(shown) - _REASON_LINES + 1
        shown = [*shown[: _REASON_LINES - 2], f"  ... {left_out} more lines in the log", shown[-1]]
    lines = []
    for number, line in enumerate(shown):
        indent = "    " if number else ""  # below the job's name
        indent += " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line.strip(), max(width, 40), initial_indent=indent, subsequent_indent=f"{indent}    ",
            break_on_hyphens=False,
        )  # fmt: skip
    return lines


_ORDER: tuple[State, ...] = ("done", "running", "failed", "stopped", "missing")


def _groups(jobs: list[Job]) -> list[list[Job]]:
    """Split the jobs into those of scenes, of runs, of 2D tracks and of all."""
    kinds: dict[tuple[bool, bool, bool], list[Job]] = {}
    for job in jobs:
        key = (job.scene is None, job.variant is not None, job.seed is None)
        kinds.setdefault(key, []).append(job)
    return [kinds[key] for key in sorted(kinds)]


def _grid(jobs: list[Job]) -> list[str]:
    stages = list(dict.fromkeys(job.stage for job in jobs))
    order = [stage for kind in ("scene", "run", "tables", "paper_tables") for stage in STAGES[kind]]
    stages.sort(key=lambda stage: order.index(stage) if stage in order else len(order))
    rows: dict[str, dict[str, str]] = {}
    for job in jobs:
        rows.setdefault(job.place, {})[job.stage] = job.state
    cells = [["", *stages]]
    cells += [[place, *(row.get(stage, "-") for stage in stages)] for place, row in rows.items()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def terminal_width(otherwise: int = 10_000) -> int:
    """Return the width to write for: the terminal's; wide where output is a file.

    Args:
        otherwise: How wide.
    """
    if not sys.stdout.isatty():
        return otherwise
    return os.get_terminal_size(sys.stdout.fileno()).columns
