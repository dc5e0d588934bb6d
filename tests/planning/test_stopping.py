"""Nothing is left running when a run is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from gradiseg_core import cli
from gradiseg_core.planning import launch, quietly
from tests.planning.photographs import photographs
from tests.workflow.conftest import REPOSITORY

LAUNCHER = """\
import sys
from gradiseg_core.planning import quietly
from gradiseg_core.planning.launch import watched
sys.exit(watched([sys.executable, quietly.__file__, "slow"]))
"""
#: As Snakemake: it waits for its job, which may need its time, and calls a stop a failure.
SLOW = """\
import os, subprocess, sys, time

JOB = "import time\\ntry: time.sleep(100)\\nexcept KeyboardInterrupt: time.sleep(SECONDS)"

def main():
    job = subprocess.Popen([sys.executable, "-c", JOB])
    time.sleep(0.5)
    try:
        print(os.getpid(), job.pid, flush=True)
        time.sleep(100)
    except KeyboardInterrupt:
        job.wait()
        raise SystemExit(1)
"""


def slow(folder: Path, seconds: float) -> Path:
    """Write a package that stands in for Snakemake, with a job that takes this long to stop."""
    package = folder / "slow"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(SLOW.replace("SECONDS", str(seconds)))
    return folder


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def waited(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@contextlib.contextmanager
def launched(
    folder: Path, signals: Mapping[signal.Signals, signal.Handlers]
) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """Start the stand-in as `gradiseg run` does; yields it, its child and the child's job.

    Args:
        folder: Where it works.
        signals: How signals are taken at the start, as a shell or `nohup` leaves them.
    """

    def take() -> None:
        for number, how in signals.items():
            signal.signal(number, how)

    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER],
        cwd=slow(folder, 0.0),
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=take,
    )
    assert process.stdout is not None
    with process.stdout:
        child, job = map(int, process.stdout.readline().split())
        yield process, child, job


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["terminal", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_nothing_is_left_running(how: str, tmp_path: Path) -> None:
    # A shell makes what it starts in the background ignore Ctrl+C; a terminal does not.
    ctrl_c = signal.SIG_DFL if how == "terminal" else signal.SIG_IGN
    # `nohup` may have started the tests.
    signals = {signal.SIGINT: ctrl_c, signal.SIGHUP: signal.SIG_DFL}
    with launched(tmp_path, signals) as (process, child, job):
        if how == "terminal":  # which tells its whole group
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(getattr(signal, how))
        code = process.wait(timeout=100)
    assert code == (-signal.SIGKILL if how == "SIGKILL" else 130)
    assert waited(lambda: ended(child) and ended(job))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    with launched(tmp_path, {signal.SIGHUP: signal.SIG_IGN}) as (process, child, job):
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(1.0)
        assert process.poll() is None
        assert not ended(child)
        assert not ended(job)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) == 130


def test_a_second_stop_leaves_a_slow_job_its_time_and_says_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, quietly.__file__, "slow"],
        cwd=slow(tmp_path, 2.0),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    _, job = map(int, process.stdout.readline().split())
    process.send_signal(quietly.ALONE)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    assert not ended(job)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (quietly.STOPPED, "")
    assert ended(job)


@pytest.mark.parametrize("moment", ["import", "later", "twice"])
def test_snakemake_that_is_stopped_while_it_starts_says_nothing(
    moment: str, tmp_path: Path
) -> None:
    """By a package that stands in for it, and is interrupted at that moment."""
    stop = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
    package = tmp_path / "slow"
    package.mkdir()
    (package / "__init__.py").touch()
    text = stop if moment == "import" else "def main():\n    " + stop
    if moment == "twice":
        text = (
            "def main():\n    try:\n        raise KeyboardInterrupt\n"
            "    finally:\n        raise RuntimeError('cannot close a running loop')\n"
        )
    (package / "cli.py").write_text(text)
    done = subprocess.run(
        [sys.executable, quietly.__file__, "slow", "--cores", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as of a terminal
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_stop_before_snakemake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "time_training", stopped)
    assert cli.main(["run", "kitchen"]) == 130
    assert capsys.readouterr().err == "\nstopped before anything ran\n"
    assert not (tmp_path / "kitchen.yaml").exists()


def test_an_error_of_snakemake_stays_one(tmp_path: Path) -> None:
    package = tmp_path / "slow"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text("def main():\n    raise RuntimeError('of its own')\n")
    done = subprocess.run(
        [sys.executable, quietly.__file__, "slow"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "RuntimeError: of its own" in done.stderr
