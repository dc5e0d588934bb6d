"""A copy of the workflow whose results exist and are up to date, without a job having run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow import conda_stand_in

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = (
    "Snakefile",
    "rules",
    "workflow_scripts",
    "envs",
    "report",
    "profiles",
    "gradiseg_core",
    "resources",
)

#: What joins segments in the scene `beta-2`; `alpha` has objects from geometry.
JOINED = "    masks: {backend: graph}\n"
CONFIG = """\
scenes:
  alpha:
    path: photos
  beta-2:
    source: demo
    masks: {backend: graph}
    train: {iterations: 20}
variants: [baseline, gradiseg]
seeds: [0]
"""


@dataclass(frozen=True)
class Job:
    """A job that has run.

    Attributes:
        rule: Its rule.
        log: Its log file, which no other job has.
        inputs: Paths, relative to the working directory.
    """

    rule: str
    log: str
    inputs: frozenset[str]


@dataclass(frozen=True)
class Workflow:
    """A folder with the workflow in it."""

    folder: Path

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            # The same jobs on all machines; a test of GPUs sets it.
            env={"CUDA_VISIBLE_DEVICES": ""} | os.environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run would run; the rules without work are left out."""
        done = self.snakemake("--dry-run", *arguments)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        table = re.search(r"Job stats:\n.*?\n-.*?\n(.*?)\ntotal", output, flags=re.DOTALL)
        if table is None:
            assert "Nothing to be done" in output, output
            return {}
        counts = (line.split() for line in table[1].splitlines())
        return {rule: int(count) for rule, count in counts if rule != "all"}

    def jobs(self) -> dict[str, Job]:
        """By output, the job that made it, as Snakemake recorded it."""
        done = self.snakemake("--detailed-summary")
        assert done.returncode == 0, done.stderr
        header, *lines = (line.split("\t") for line in done.stdout.splitlines())
        rows = [dict(zip(header, line, strict=True)) for line in lines]
        return {
            row["output_file"]: Job(
                row["rule"], row["log-file(s)"], frozenset(row["input-file(s)"].split(","))
            )
            for row in rows
        }

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text()
        assert old in text, f"{path} no longer holds {old!r}"
        file.write_text(text.replace(old, new))

    def append(self, path: str, text: str) -> None:
        with (self.folder / path).open("a") as file:
            file.write(text)


def pretend_results(workflow: Workflow) -> None:
    """Make every output as a placeholder, and let Snakemake record it as made by its rule."""
    summary = workflow.snakemake("--summary", "--forceall")
    assert summary.returncode == 0, summary.stderr
    for line in summary.stdout.splitlines()[1:]:
        output = workflow.folder / line.split("\t")[0]
        if output.suffix:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text("placeholder")
        else:
            output.mkdir(parents=True, exist_ok=True)
    done = workflow.snakemake("--touch", "--forceall", "--cores", "1")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with `photos/`, `lerf/` (LERF-Mask's layout) and `ids/`."""
    for folder in ("photos", "lerf/images", "lerf/images_train", "lerf/object_mask", "ids"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").write_bytes(b"")
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The workflow with all results up to date; do not change it: see `workflow`."""
    folder = tmp_path_factory.mktemp("workflow")
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "photos").mkdir()
    for number in range(3):
        (folder / "photos" / f"{number}.jpg").write_bytes(bytes([number]))
    workflow = Workflow(folder)
    pretend_results(workflow)
    return workflow


@pytest.fixture
def workflow(finished: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the finished workflow, time stamps included, that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    return Workflow(folder)


@pytest.fixture
def conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in for conda on PATH."""
    binaries = conda_stand_in.install(tmp_path / "conda")
    monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
