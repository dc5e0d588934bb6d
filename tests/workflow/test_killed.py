"""A Snakemake that is killed leaves no job behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workflow.conftest import REPOSITORY

SCRIPTS = REPOSITORY / "workflow_scripts"

#: One job, which writes the number of its process and waits: in Python, or without Python's lock
#: (`pause` of the C library, called with it held, as a library does that never lets go).
SNAKEFILE = """\
rule wait:
    output: "never"
    log: "log.txt"
    {group}
    script: "scripts/wait.py"
"""
WAIT = f"""\
import ctypes, os, sys, time
sys.path.insert(0, {str(SCRIPTS)!r})
from pathlib import Path
from _stage import stage
with stage(snakemake):
    Path("pid").write_text(str(os.getpid()))
    {{wait}}
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.parametrize(
    ("wait", "group"),
    [
        ("time.sleep(100)", ""),
        ("ctypes.PyDLL(None).sleep(100)", ""),  # holds Python's lock all the time
        ("time.sleep(100)", 'group: "one"'),  # a Snakemake of its own between
    ],
    ids=["python", "library", "group"],
)
def test_a_killed_snakemake_takes_its_jobs_along(tmp_path: Path, wait: str, group: str) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "wait.py").write_text(WAIT.format(wait=wait))
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(group=group))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "never"]
    with (tmp_path / "output.txt").open("w") as output:
        workflow = subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output)
    job = None
    try:
        written = tmp_path / "pid"
        assert until(lambda: written.is_file() and written.read_text() != "", 90), (
            tmp_path / "output.txt"
        ).read_text()
        job = int(written.read_text())
        assert alive(job)
        workflow.send_signal(signal.SIGKILL)
        workflow.wait()
        assert until(lambda: not alive(job), 10), "the job goes on"
        # What README says is needed afterwards, and enough.
        again = [*command, "--dry-run"]
        subprocess.run([*command[:3], "--unlock"], cwd=tmp_path, check=True, capture_output=True)
        subprocess.run(again, cwd=tmp_path, check=True, capture_output=True)
    finally:
        workflow.kill()
        if job is not None and alive(job):
            os.kill(job, signal.SIGKILL)


def test_a_job_without_a_snakemake_above_it_goes_on() -> None:
    """As where a script is called by something else, or the processes above cannot be seen."""
    code = "import time, _lifeline; _lifeline.hold(); time.sleep(0.5); print('done')"
    done = subprocess.run(
        ["/bin/sh", "-c", f'{sys.executable} -c "{code}" & wait'],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "done\n"
