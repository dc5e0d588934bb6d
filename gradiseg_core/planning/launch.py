"""`gradiseg run`: from photographs to a page, by one command that is plain Snakemake."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from gradiseg_core.compute import machine
from gradiseg_core.config.messages import nearest
from gradiseg_core.config.photo_files import GOOD_PHOTOGRAPHS
from gradiseg_core.config.quality import Quality
from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import RootConfig, Settings, load
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.planning.again import jobs_of, made_again, pending, replaced
from gradiseg_core.planning.budgets import Photographs, budget_maker, keep_budgets, views_of
from gradiseg_core.planning.closing import conclude
from gradiseg_core.planning.costs import Job
from gradiseg_core.planning.estimate import (
    check,
    duration,
    estimate,
    jobs_to_do,
    named,
    time_training,
    to_compile,
    unfinished_jobs,
)
from gradiseg_core.planning.inputs import Inspected, check_inputs, keep_inputs, passed_over
from gradiseg_core.planning.locks import make_way, noted
from gradiseg_core.planning.own_scene import OwnScene, naming, scene_of
from gradiseg_core.planning.place import Place, is_configuration
from gradiseg_core.planning.quietly import ALONE
from gradiseg_core.planning.rates import load as load_rates
from gradiseg_core.planning.reporting import PLANNED, reporting
from gradiseg_core.planning.trainings import at_most
from gradiseg_core.planning.workflow import (
    Command,
    conflicting,
    environment,
    rule_names,
    snakefile,
    unknown_rule,
)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LAST_WAIT_S = 30.0
#: Arguments of Snakemake with which no job runs.
_RUN_NOTHING = {"--unlock", "--dry-run", "--dryrun", "-n", "--summary", "--rulegraph", "--dag"}


def run(
    path: Path,
    *,
    quality: Quality | None = None,
    cores: int | None = None,
    plan_only: bool = False,
    replace: bool = False,
    extra: Sequence[str] = (),
) -> int:
    """Make everything of a folder of photographs, a video or a configuration.

    A configuration's run works in the folder of the file, so that it goes on with the same results
    wherever it is called from.

    Args:
        path: Any of them.
        quality: Written into a new configuration; for one that is there it holds this time.
        cores: That may be used; None: all.
        plan_only: Write nothing and run nothing.
        replace: Whether trainings of a larger quality may be replaced by those of a smaller one.
        extra: Further arguments of Snakemake.

    Returns:
        Snakemake's exit status; 130 where a user stopped it.

    Raises:
        InputError: If the photographs or the workflow are not there, the folder is read-only,
            another run is at work in it, or results of a larger quality would be lost.
        ConfigError: If the configuration is not valid, or an argument is given twice or names no
            rule.
    """
    twice = conflicting(extra)
    if twice is not None:
        raise ConfigError(
            f"after --: `{twice}` is set by `gradiseg run` itself; use its own options, or the "
            "command of Snakemake that it prints"
        )
    snakefile()
    wrong = unknown_rule(extra)
    if wrong is not None:
        raise ConfigError(f"after --: no rule is called '{wrong}'{nearest(wrong, rule_names())}")
    place = Place.of(path if is_configuration(path) else None)
    if not os.access(place.folder, os.W_OK):  # a plan, too: it is of a run that cannot be
        raise InputError(_not_writable(place))
    if place.moved:
        print(f"working in {place.shown(place.folder)}: what {path} names and makes is there")
        path = Path(os.path.relpath(os.path.abspath(path), place.folder))
    with place.entered():
        try:
            ready = _prepared(place, path, quality, cores, plan_only, replace, tuple(extra))
        except KeyboardInterrupt:
            print("\nstopped before anything ran", file=sys.stderr)
            return 130
        return 0 if ready is None else _run(ready)


@dataclass(frozen=True)
class _Ready:
    """A run that is about to begin.

    Attributes:
        command: What runs.
        settings: The configuration.
        cores: That it may use.
        again: Outputs that are made again.
        planned: What was said that it takes, seconds.
    """

    command: Command
    settings: Settings
    cores: int
    again: frozenset[Path]
    planned: float


def _prepared(
    place: Place,
    path: Path,
    quality: Quality | None,
    cores: int | None,
    plan_only: bool,
    replace: bool,
    extra: tuple[str, ...],
) -> _Ready | None:
    """Say what a run will do, and write its configuration; None where that is all.

    As :func:`run`, in the working folder.
    """
    reserved = {*RootConfig.model_fields, "scene", *rule_names()}
    scene = scene_of(path, quality or "standard", reserved)
    in_file = None if scene.text is not None else read_files([scene.configfile]).get("quality")
    given = None if scene.text is not None or quality == in_file else quality
    settings = settings_of(scene, given, cores, reserved)
    runs = not {*extra} & _RUN_NOTHING
    usable = cores or machine.cores()
    inspected: Inspected = {}
    if runs:
        try:
            inspected = check_inputs(settings, usable, is_new=scene.text is not None)
        except InputError as error:
            raise InputError(_with_its_place(str(error), scene, place)) from error
    command = Command(scene.configfile, cores, given, extra, place=place)
    _introduce(scene, settings, place, plan_only, inspected)
    if given is not None and (in_file or "paper") != given:
        print(
            f"this run takes quality {given}, which {place.shown(scene.configfile)} does not say: "
            "write it there, or the next run without --quality trains again"
        )
    if not plan_only and not {*extra} & {*_RUN_NOTHING, "--nolock"}:
        done = make_way(Path(settings.root.results), scene.configfile, place)
        if done is not None:
            print(done)
    again: frozenset[Path] = frozenset()
    planned = 0.0
    if runs:
        jobs, again = _to_do(scene, settings, command, may_shrink=replace or plan_only)
        planned = _plan(settings, usable, jobs)
    if plan_only:
        print(f"\nthe same without `gradiseg run`{_once_written(scene, place)}:\n  {command}")
        return None
    scene.write()
    if scene.text is not None:
        print(f"{scene.configfile}: is written, yours to change")
    keep_budgets(settings)
    keep_inputs(settings, inspected)
    print(f"\nrunning\n  {command}\n", flush=True)
    return _Ready(command, settings, usable, again, planned)


def _run(ready: _Ready) -> int:
    """Run what is prepared, and say where to look or how to go on."""
    begun = time.time()
    earlier = [path for path in ready.again if path.exists()]
    with noted(), reporting(ready.settings, ready.cores, ready.again):
        status = watched(ready.command.program)
    if status == 0 and ready.planned:
        took = duration(time.time() - begun)
        print(f"\ntook {took}, and was planned to take {duration(ready.planned)}")
    conclude(ready.command, ready.settings, status, begun, earlier)
    return status


def _not_writable(place: Place) -> str:
    """Return what to do where results cannot be written."""
    if place.moved:
        return (
            f"{place.shown(place.folder)} cannot be written to, and results go beside their "
            "configuration: copy it to a folder of yours, with whole paths"
        )
    return (
        f"{place.folder} cannot be written to, and the results and their configuration go into "
        "the folder you work in: go to another (cd) and give the path from there"
    )


def settings_of(
    scene: OwnScene, quality: Quality | None, cores: int | None, reserved: set[str]
) -> Settings:
    """Return the configuration of a scene, which need not be written yet.

    Args:
        scene: The scene.
        quality: In place of the one in the file.
        cores: That may be used; None: all.
        reserved: Names that no scene may have.

    Raises:
        ConfigError: If it is not valid.
    """
    if scene.text is None:
        raw = read_files([scene.configfile])
    else:
        import yaml

        raw = yaml.safe_load(scene.text)
    if quality is not None:
        raw = {**raw, "quality": quality}
    with naming(scene.configfile):
        return load(raw, reserved=reserved, budget_of=budget_maker(cores or machine.cores()))


def _with_its_place(refused: str, scene: OwnScene, place: Place) -> str:
    """Return why photographs are refused, with a configuration to go on with where none is yet."""
    if scene.text is None or "skip_unreadable" not in refused:
        return refused
    import yaml

    raw = yaml.safe_load(scene.text)
    for one in raw["scenes"].values():
        one["skip_unreadable"] = True
    text = yaml.safe_dump(raw, allow_unicode=True, sort_keys=False)
    file = place.shown(scene.configfile)
    return f"{refused}\nFor that, write {file} and run it:\n\n{text}"


def _introduce(
    scene: OwnScene, settings: Settings, place: Place, plan_only: bool, inspected: Inspected
) -> None:
    if scene.note is not None:
        print(scene.note)
    if scene.text is not None and plan_only:
        print(f"{place.shown(scene.configfile)}: would be written, yours to change")
    for name in settings.scenes:
        made = settings.budgets.get(name)
        found = views_of(settings, name)  # a budget keeps what was there at the first run
        checked = inspected.get(name)
        if checked is not None and checked.used is not None:
            found = dataclasses.replace(found, count=checked.used)
        count, quality = found.count, "paper" if made is None else made.quality
        print(f"{name}: {_views(found)}, quality {quality}: {_training(settings, name)}")
        for reason in passed_over(settings.origin(name)):
            print(f"{name}: left out: {reason}")
        if count is not None and count < GOOD_PHOTOGRAPHS:
            print(
                f"{name}: so few may overlap too little: some may get no camera, and what one or "
                f"two of them show stays rough; {GOOD_PHOTOGRAPHS} or more are good"
            )


def _views(found: Photographs) -> str:
    """Return in words how many photographs or frames there are."""
    what = "frames of the video" if found.frames else "photographs"
    if found.count is None:
        return what
    return f"{'' if found.chosen else 'up to '}{found.count} {what}"


def _training(settings: Settings, name: str) -> str:
    """Return what is trained on a scene in a few words, with what the user wrote."""
    variants = settings.variants_of(name)
    config = settings.trainings[name][variants[-1]]
    limit = config.densification.max_gaussians
    side = "full size" if config.longest_side is None else f"{config.longest_side} px"
    if config.downsample is not None:
        side = f"1/{config.downsample:g} of the size"
    return f"{', '.join(variants)}, {config.iterations:,} iterations at {side}" + (
        f", at most {at_most(config, limit):,.0f} Gaussians" if limit else ""
    )


def _to_do(
    scene: OwnScene, settings: Settings, command: Command, *, may_shrink: bool
) -> tuple[list[Job], frozenset[Path]]:
    """Return jobs that are to be done, and outputs; say which results are made again.

    Raises:
        InputError: If trainings of a larger quality would be replaced, and may not.
    """
    if scene.text is not None or not Path(".snakemake").is_dir():  # nothing was ever run
        return jobs_to_do(settings, views=True), frozenset()
    outputs = pending(command)
    if outputs is None:
        print("what is made again because something changed is not known; by what is there:")
        return jobs_to_do(settings, views=True), frozenset()
    causes, rules = made_again(outputs)
    if rules:
        print(f"made again, because {' and '.join(causes)} changed: {', '.join(named(rules))}")
        print(
            "each of these results is removed when it is made again; to keep them, copy "
            f"{settings.root.results} first"
        )
    said = replaced(settings, outputs)
    if said.smaller and not may_shrink:
        raise InputError(
            f"{'; '.join(said.lines)}. Write the quality of these results into "
            f"{command.place.shown(command.configfile)}, copy them to another folder, or give "
            "--replace as well"
        )
    for line in said.lines:
        print(f"{line}; to keep them, stop (Ctrl+C) and copy their folder first")
    jobs = dict.fromkeys([*jobs_of(settings, outputs), *unfinished_jobs(settings)])
    return list(jobs), frozenset(made.output for made in outputs)


def _plan(settings: Settings, cores: int, jobs: Sequence[Job]) -> float:
    """Say what the run will take; return its time, seconds.

    Raises:
        InputError: If the disk has not enough room for it.
    """
    rates = load_rates()
    begun = time.monotonic()
    if any(job.stage == "train" for job in jobs) and not rates.is_new("cpu"):
        print("timing a few iterations of the training ...", flush=True)
    why = time_training(settings, jobs, cores, rates)
    if why is not None:
        print(f"the training was not timed: {why}")
    elif time.monotonic() - begun > 1:
        rates.save()
    made = estimate(settings, jobs, cores, rates, to_compile(jobs) if why is None else None)
    print(made.line)
    for line in check(made, Path(settings.root.results)):
        print(f"warning: {line}")
    return made.total


def _once_written(scene: OwnScene, place: Place) -> str:
    written = place.shown(scene.configfile)
    return "" if scene.text is None else f", once {written} is there"


def watched(program: Sequence[str]) -> int:
    """Run a program that ends with this process; return its exit status, 130 where it was stopped.

    :mod:`gradiseg_core.planning.quietly` runs it and answers the signals. Ctrl+C reaches both
    through the terminal. A signal to this process alone is handed on, and Linux tells the program
    if this process is killed.
    """
    with _signals_raised():
        child = subprocess.Popen(
            program, env=environment() | {PLANNED: "yes"}, preexec_fn=_end_with_parent
        )
        try:
            return _status(child.wait())
        except KeyboardInterrupt as stop:
            with contextlib.suppress(KeyboardInterrupt):  # a second one must not leave it behind
                if stop.args:  # this process alone was told
                    child.send_signal(ALONE)
                _end(child)
            if child.poll() is None:
                child.kill()
                child.wait()
            return 130


def _status(code: int) -> int:
    return 130 if code in (-signal.SIGINT, 130) else code if code >= 0 else 128 - code


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let it end by itself, then end its jobs, for which it waits.

    It is not asked twice: Ctrl+C has reached its jobs too, and a computation that cannot be
    interrupted (COLMAP's matching) ends when it is done.
    """
    import psutil

    try:
        child.wait(_LAST_WAIT_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(psutil.NoSuchProcess):
            for job in psutil.Process(child.pid).children(recursive=True):
                job.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_LAST_WAIT_S)


def _end_with_parent() -> None:
    # What a shell starts in the background ignores Ctrl+C; the program must end when it is told to.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ALONE)


@contextlib.contextmanager
def _signals_raised() -> Iterator[None]:
    """Make a request to end (SIGTERM, a closed terminal) what Ctrl+C is.

    One that is ignored stays so: under ``nohup`` a run goes on when its terminal is closed.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    asked = (signal.SIGTERM, signal.SIGHUP)
    chosen = [number for number in asked if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in chosen}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
