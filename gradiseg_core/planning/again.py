"""What Snakemake would run, by Snakemake: also what it makes again because something changed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradiseg_core.config.quality import Quality, kept
from gradiseg_core.config.root import Settings
from gradiseg_core.planning.costs import Job
from gradiseg_core.planning.workflow import FOLDER, Command, environment

#: States of `snakemake --summary` that are a cause, in words; others follow from jobs before.
_CONFIGURATION, _PROGRAM, _INPUTS = "the configuration", "GradiSeg itself", "input files"
_CAUSES = {
    "params changed": _CONFIGURATION,
    "code changed": _PROGRAM,
    "updated input files": _INPUTS,
    "set of input files changed": _INPUTS,
}
_ABSENT = ("missing", "removed temp output")


@dataclass(frozen=True)
class Pending:
    """An output that Snakemake would make.

    Attributes:
        output: Its path.
        rule: What makes it.
        state: As `snakemake --summary` says it.
    """

    output: Path
    rule: str
    state: str


def pending(command: Command) -> list[Pending] | None:
    """Return the outputs that a command would make; None where Snakemake does not say it.

    Args:
        command: What would be run.
    """
    asked = replace(command, extra=(*command.extra, "--summary"))
    done = subprocess.run(
        asked.program, env=environment(), capture_output=True, text=True, check=False
    )
    return read_summary(done.stdout) if done.returncode == 0 else None


def read_summary(text: str) -> list[Pending] | None:
    """Return what a table of `snakemake --summary` says is to be made; None if it is none.

    Args:
        text: The table, with tabs.
    """
    lines = [line.split("\t") for line in text.splitlines()]
    for number, header in enumerate(lines):
        if {"output_file", "rule", "status", "plan"} <= {*header}:
            rows = [dict(zip(header, row, strict=False)) for row in lines[number + 1 :]]
            return [
                Pending(Path(row["output_file"]), row["rule"], row["status"])
                for row in rows
                if row.get("plan") == "update pending"
            ]
    return None


def jobs_of(settings: Settings, outputs: Iterable[Pending]) -> list[Job]:
    """Return the jobs that make outputs, each once.

    Args:
        settings: The configuration.
        outputs: What is to be made.
    """
    return list(dict.fromkeys(_job(settings, made) for made in outputs))


def _job(settings: Settings, made: Pending) -> Job:
    results = Path(settings.root.results)
    parts = made.output.relative_to(results).parts if made.output.is_relative_to(results) else ()
    scene = parts[0] if parts and parts[0] in settings.scenes else None
    if scene is None or len(parts) < 3 or parts[1] not in settings.trainings[scene]:
        return Job(made.rule, scene)
    seed = re.fullmatch(r"seed(\d+)", parts[2])
    return Job(made.rule, scene, parts[1], int(seed[1]) if seed else None)


def made_again(outputs: Iterable[Pending]) -> tuple[list[str], list[str]]:
    """Return why results that are there are made again, and the rules that make them.

    Args:
        outputs: What is to be made.

    Returns:
        Causes in words, and rules; both empty where all that is to be made is not there, or was not
        finished.
    """
    there = [made for made in outputs if made.state not in _ABSENT and made.output.exists()]
    causes = dict.fromkeys(_cause(made) for made in there if made.state in _CAUSES)
    # The inputs of later stages change as well when an earlier one is made again.
    first = [cause for cause in causes if not cause.startswith(_INPUTS)] or list(causes)
    return first, list(dict.fromkeys(made.rule for made in there)) if first else []


@dataclass(frozen=True)
class Replaced:
    """Trainings of another quality that a run replaces.

    Attributes:
        lines: Which, in words.
        smaller: Whether one of them is replaced by a shorter one that nobody wrote down.
    """

    lines: tuple[str, ...]
    smaller: bool


def replaced(settings: Settings, outputs: Iterable[Pending]) -> Replaced:
    """Return the trainings of another quality that are there and are made again.

    Args:
        settings: The configuration.
        outputs: What is to be made.
    """
    lines, smaller = [], False
    for made in outputs:
        job = _job(settings, made)
        budget = None if job.scene is None else settings.budgets.get(job.scene)
        was = _trained(made.output) if made.rule == "train" else None
        if job.scene is None or job.variant is None or budget is None or was is None:
            continue
        before = _quality_of(was, Path(settings.root.results) / job.scene)
        longest = int(was.get("iterations", 0))
        shorter = settings.trainings[job.scene][job.variant].iterations < longest
        if before == budget.quality or (before is None and not shorter):
            continue
        smaller |= shorter
        of = f"{longest:,} iterations" if before is None else f"quality {before}"
        lines.append(
            f"{job.scene}, {job.variant}, seed {job.seed}: results of {of} would be replaced by "
            f"those of quality {budget.quality}"
        )
    return Replaced(tuple(lines), smaller)


def _trained(folder: Path) -> dict[str, Any] | None:
    """Return the parameters that a training was made with; None where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / "config.json").read_text())["train"]
    except (OSError, ValueError, KeyError):
        return None
    return found


def _quality_of(was: Mapping[str, Any], scene: Path) -> Quality | None:
    """Return the quality whose budget a training was made with; None where it is not known."""
    for quality in ("draft", "standard"):
        budget = kept(scene, quality)
        sized = {} if budget is None else budget.sections["train"]
        if sized and all(was.get(key) == sized[key] for key in ("iterations", "longest_side")):
            return quality
    return None


def _cause(made: Pending) -> str:
    """Return what changed; inputs of stages are photographs, results and GradiSeg's modules."""
    cause = _CAUSES[made.state]
    if cause != _INPUTS:
        return cause
    if made.rule == "scene":
        cause = "the photographs"
    since = made.output.stat().st_mtime  # Snakemake looks at files that are newer
    modules = (*FOLDER.glob("gradiseg_core/**/*.py"), *FOLDER.glob("workflow_scripts/*.py"))
    newer = any(module.stat().st_mtime > since for module in modules)
    return f"{cause} or {_PROGRAM}" if newer else cause
