"""Which GPU a job takes. Device files and locks are real files in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gradiseg_core.devices import VISIBLE, claimed, uses_gpu, visible_devices


def test_devices_are_the_drivers_files_unless_a_scheduler_says(tmp_path: Path, monkeypatch) -> None:
    for name in ("nvidia10", "nvidia2", "nvidia0", "nvidiactl", "nvidia-uvm", "nvidia3x"):
        (tmp_path / name).touch()
    monkeypatch.delenv(VISIBLE, raising=False)
    assert visible_devices(tmp_path) == ["0", "2", "10"]
    monkeypatch.setenv(VISIBLE, "GPU-ab, 3,-1,4")
    assert visible_devices(tmp_path) == ["GPU-ab", "3"]
    monkeypatch.setenv(VISIBLE, "")
    assert visible_devices(tmp_path) == []


def test_auto_wants_a_gpu_where_there_is_one(monkeypatch) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    assert [uses_gpu(device) for device in ("auto", "cuda", "cpu")] == [True, True, False]
    monkeypatch.setenv(VISIBLE, "")
    assert [uses_gpu(device) for device in ("auto", "cuda", "cpu")] == [False, True, False]


def test_jobs_take_different_devices_and_give_them_back(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VISIBLE, "4,7")
    code = (
        "import sys, time; from pathlib import Path; from gradiseg_core.devices import claimed\n"
        "with claimed(1, Path(sys.argv[1])) as held:\n"
        "    print(held[0], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "4\n"
        with claimed(1, tmp_path) as held:
            assert held == ["7"]
            assert os.environ[VISIBLE] == "7"
        assert os.environ[VISIBLE] == "4,7"
    finally:
        other.kill()  # as the system's own killer would: nothing is cleaned up
        other.wait()
    with claimed(2, tmp_path) as held:
        assert held == ["4", "7"]


def test_a_job_waits_for_a_device(tmp_path: Path, monkeypatch, caplog) -> None:
    caplog.set_level("INFO")
    monkeypatch.setenv(VISIBLE, "0")
    entered = threading.Event()
    released: list[float] = []

    def first() -> None:
        with claimed(1, tmp_path):
            entered.set()
            time.sleep(0.3)
            released.append(time.monotonic())

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with claimed(1, tmp_path, poll_s=0.02) as held:
        taken = time.monotonic()
        assert held == ["0"]
    thread.join()
    assert taken >= released[0]
    assert "all 1 GPUs are held by other jobs; waiting" in caplog.text


@pytest.mark.parametrize("count", [0, 2])
def test_none_asked_for_or_too_few_claims_none(tmp_path: Path, monkeypatch, count) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    with claimed(count, tmp_path) as held:
        assert held is None
        assert os.environ[VISIBLE] == "0"
