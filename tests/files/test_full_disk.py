"""A full disk is named as such, whatever error it came as."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from gradiseg_core.files import full_disk
from gradiseg_core.files.full_disk import explain_full_disk

REPOSITORY = Path(__file__).resolve().parents[2]

STAGE = """\
import sys, types
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from _stage import stage
folder = Path(sys.argv[2])
job = types.SimpleNamespace(
    scriptdir=sys.argv[1], log=[str(folder / "log")], rule="train", resources={},
    output=[str(folder / "out" / "x")], params={"work": str(folder / "work")},
)
with stage(job):
    with open("/dev/full", "w") as file:
        file.write("x" * 100000)
"""


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("SQLite error: database or disk is full"),
        raised(RuntimeError("cannot save"), OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_is_recognised(tmp_path, error):
    said = explain_full_disk(error, [tmp_path / "not" / "there"])
    assert said is not None
    assert f"MB free in {tmp_path}" in said
    assert "Make room" in said


def test_an_error_that_does_not_speak_of_it(tmp_path, monkeypatch):
    error = ValueError("No registered database factory succeeded")
    assert explain_full_disk(error, [tmp_path]) is None
    monkeypatch.setattr(full_disk, "_full", lambda folder: folder == tmp_path)
    said = explain_full_disk(error, [Path("/"), tmp_path])
    assert f"the disk of {tmp_path} is full" in said
    assert "No registered database factory succeeded" in said


def test_a_quota_shows_where_a_small_file_does_not_fit(tmp_path, monkeypatch):
    def refuses(dir):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    assert not full_disk._full(tmp_path)
    monkeypatch.setattr(full_disk.tempfile, "TemporaryFile", refuses)
    assert full_disk._full(tmp_path)


def ran(script, folder):
    command = [sys.executable, "-c", script, str(REPOSITORY / "workflow_scripts"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_stage_ends_with_the_explanation_alone(tmp_path):
    done = ran(STAGE, tmp_path)
    assert done.returncode == 1
    assert "[train] the disk is full" in done.stderr
    assert f"MB free in {tmp_path}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stage_that_is_stopped_says_so_alone(tmp_path):
    body = STAGE.partition("with stage(job):")[0]
    body += 'with stage(job):\n    raise KeyboardInterrupt("stopped at iteration 3 of 9")\n'
    done = ran(body, tmp_path)
    assert done.returncode == 130
    assert done.stderr == "[train] stopped at iteration 3 of 9\n"
    assert "ERROR train: stopped at iteration 3 of 9" in (tmp_path / "log").read_text()
