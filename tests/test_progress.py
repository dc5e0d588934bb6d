"""Progress: few lines in a log, one bar on a terminal, whatever runs beside it."""

from __future__ import annotations

import logging
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from gradiseg_core import progress
from gradiseg_core.progress import Progress

REPOSITORY = Path(__file__).resolve().parents[1]


class Clock:
    """Time that a test moves."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_line_each_tenth(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress("demo", 1000, "it") as bar:
        for _ in range(1000):
            clock.now += 1.0
            bar.advance()
            bar.note(loss="0.5")
    assert len(lines(caplog)) == 10
    assert lines(caplog)[0] == "demo: 10 %, 100 of 1000 it, 15 min left at this speed, loss 0.5"
    assert lines(caplog)[-1].startswith("demo: 100 %, 1000 of 1000 it, 0 s left at this speed")


def test_lines_are_half_a_minute_apart(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress("demo", 10_000, "it") as bar:
        for _ in range(10_000):
            clock.now += 0.01  # 100 s in all
            bar.advance()
    assert [line.split(",")[0] for line in lines(caplog)] == [
        *("demo: 30 %", "demo: 60 %", "demo: 90 %"),
    ]
    caplog.clear()
    with Progress("short", 100, "view") as bar:
        for _ in range(100):
            bar.advance()
    assert not lines(caplog)


def test_a_slow_job_is_heard_of(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A tenth of thirty hours would be three hours of silence."""
    caplog.set_level(logging.INFO)
    with Progress("slow", 10_000, "it") as bar:
        for _ in range(200):
            clock.now += 10.0
            bar.advance()
    assert len(lines(caplog)) == 3
    assert lines(caplog)[0] == "slow: 1 %, 60 of 10000 it, 27.6 h left at this speed"


def test_a_resumed_job_counts_from_where_it_is(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Progress("again", 1000, "it", done=500) as bar:
        clock.now += 100.0
        bar.advance(100)  # one a second, of which 400 are left
    assert lines(caplog) == ["again: 60 %, 600 of 1000 it, 7 min left at this speed"]


def test_bytes_and_an_unknown_size(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for total in (300_000_000, None):
        with Progress("sam.pth", total, "B") as bar:
            clock.now += 60.0
            bar.advance(100_000_000)
    assert lines(caplog) == [
        "sam.pth: 33 %, 100 of 300 MB, 2 min left at this speed",
        "sam.pth: 100 MB",
    ]


JOB = """
import logging, sys, time
from gradiseg_core import progress
progress.APART_S = 0.0
logging.basicConfig(level=logging.INFO, format="%(message)s")
for handler in logging.getLogger().handlers:
    handler.addFilter(lambda record: not getattr(record, "not_shown", False))
with progress.Progress(sys.argv[1], 10, "it", keep=True) as bar:
    print(sys.argv[1], "ready", flush=True)
    sys.stdin.readline()
    for _ in range(10):
        bar.advance()
"""


def job(name: str, stderr: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    started = subprocess.Popen(
        [sys.executable, "-c", JOB, name], env=environment, text=True, stderr=stderr,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stdout.readline() == f"{name} ready\n"
    return started


def read(descriptor: int, until: bytes) -> str:
    text, end = b"", time.monotonic() + 20
    while until not in text and time.monotonic() < end:
        if select.select([descriptor], [], [], 0.2)[0]:
            text += os.read(descriptor, 65536)
    return text.decode()


def test_one_bar_on_a_terminal_and_lines_of_the_others() -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    first, second = job("first", theirs), job("second", theirs)
    assert "first:   0%" in read(ours, b"first:   0%")
    second.communicate("\n")
    text = read(ours, b"second: 100 %")
    assert "second: 100 %, 10 of 10 it" in text
    assert "second:   0%" not in text  # no bar: the first job has the terminal
    first.communicate("\n")
    text = read(ours, b"first: 100%")
    assert "first: 100%" in text
    assert "left at this speed, " in text
    assert "first: 100 %" not in text  # nor its lines beside the bar
    third = job("third", theirs)  # the terminal is free again
    assert "third:   0%" in read(ours, b"third:   0%")
    third.communicate("\n")
    os.close(theirs)
    os.close(ours)


def test_a_file_gets_whole_lines_of_both(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        both = [job(name, log.fileno()) for name in ("first", "second")]
        for one in both:
            one.communicate("\n")
    text = (tmp_path / "log").read_text()
    assert "\r" not in text
    assert len(text.splitlines()) == 20
    assert all(line.startswith(("first: ", "second: ")) for line in text.splitlines())
