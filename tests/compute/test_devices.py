"""Which GPU a job takes. Device files, the driver's and locks are files in a temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gradiseg_core.compute import devices
from gradiseg_core.compute.devices import ORDER, VISIBLE, Gpu, claimed, uses_gpu, visible_devices

UUIDS = [f"GPU-{i}a2b3c4d-0000-1111-2222-33334444555{i}" for i in range(4)]
BUSES = [f"0000:{i}7:00.0" for i in range(1, 5)]


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch) -> None:
    """A machine without a driver, to which tests add what they need."""
    for name in (VISIBLE, ORDER, *devices.ALLOCATOR):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(devices, "NODES", tmp_path / "dev")
    monkeypatch.setattr(devices, "DRIVER", tmp_path / "driver")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("dev", "driver", "bin"):
        (tmp_path / name).mkdir()


def nodes(tmp_path: Path, *names: str) -> None:
    for name in names:
        (tmp_path / "dev" / name).touch()


def driver(tmp_path: Path, uuids: list[str], models: list[str] | None = None) -> None:
    """The driver's files of cards in order of their addresses; device files count from the end."""
    for i, uuid in enumerate(uuids):
        folder = tmp_path / "driver" / BUSES[i]
        folder.mkdir()
        model = "NVIDIA H100" if models is None else models[i]
        (folder / "information").write_text(
            f"Model: \t\t {model}\nIRQ:   \t\t 40\nGPU UUID: \t {uuid}\nBus Type: \t PCIe\n"
            f"Bus Location: \t {BUSES[i]}\nDevice Minor: \t {len(uuids) - 1 - i}\n"
        )


def tool(tmp_path: Path, *lines: str) -> None:
    path = tmp_path / "bin" / "nvidia-smi"
    path.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    path.chmod(0o755)


def listed(*uuids: str) -> list[str]:
    return [f"GPU {i}: NVIDIA H100 80GB HBM3 (UUID: {uuid})" for i, uuid in enumerate(uuids)]


def names() -> list[str]:
    return [gpu.name for gpu in visible_devices()]


def test_a_container_that_shows_one_card_of_several_numbers_it_0(tmp_path: Path) -> None:
    nodes(tmp_path, "nvidia3", "nvidiactl", "nvidia-uvm", "nvidia3x")
    assert visible_devices() == [Gpu("0", "nvidia3")]
    with claimed(1, tmp_path / "locks") as held:
        assert held == ["0"]
        assert (os.environ[VISIBLE], os.environ[ORDER]) == ("0", "PCI_BUS_ID")
        assert (tmp_path / "locks" / "nvidia3.lock").is_file()
    assert VISIBLE not in os.environ
    assert ORDER not in os.environ


def test_cards_go_by_the_uuids_of_the_drivers_files(tmp_path: Path) -> None:
    driver(tmp_path, UUIDS)
    nodes(tmp_path, "nvidia0", "nvidia2")  # of the cards at the fourth and the second address
    (tmp_path / "dev" / "nvidia1").mkdir()  # does not open, as a control group has it
    assert visible_devices() == [
        Gpu(UUIDS[1], UUIDS[1], "NVIDIA H100"),
        Gpu(UUIDS[3], UUIDS[3], "NVIDIA H100"),
    ]


def test_a_card_that_was_never_used_goes_by_its_address(tmp_path: Path) -> None:
    driver(tmp_path, ["GPU-????????-????-????-????-????????????"] * 2)
    nodes(tmp_path, "nvidia0", "nvidia1")
    assert [(gpu.name, gpu.card) for gpu in visible_devices()] == [("0", BUSES[0]), ("1", BUSES[1])]


def test_the_tool_is_asked_first_and_knows_parts_of_cards(tmp_path: Path) -> None:
    nodes(tmp_path, "nvidia0")
    parts = ["MIG-11112222-aaaa-bbbb-cccc-333344445555", f"MIG-{UUIDS[1]}/1/0"]
    tool(
        tmp_path,
        *listed(*UUIDS[:2]),
        f"  MIG 3g.40gb     Device  0: (UUID: {parts[0]})",
        f"  MIG 3g.40gb     Device  1: (UUID: {parts[1]})",
        f"GPU 2: NVIDIA H100 80GB HBM3 (UUID: {UUIDS[2]})",
    )
    assert names() == [UUIDS[0], *parts, UUIDS[2]]
    assert "/" not in visible_devices()[2].card


def test_a_tool_that_fails_is_passed_over(tmp_path: Path, caplog) -> None:
    nodes(tmp_path, "nvidia0")
    tool(tmp_path, "Failed to initialize NVML: Driver/library version mismatch")
    with (tmp_path / "bin" / "nvidia-smi").open("a") as file:
        file.write("exit 18\n")
    assert visible_devices() == [Gpu("0", "nvidia0")]
    assert "nvidia-smi does not answer" in caplog.text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2,0", [UUIDS[2], UUIDS[0]]),
        ("GPU-1a, GPU-3A2B3C4D", [UUIDS[1], UUIDS[3]]),
        ("1,-1,2", [UUIDS[1]]),
        ("1,7,2", [UUIDS[1]]),  # CUDA stops at the first that is none
        ("1,,2", [UUIDS[1]]),
        ("GPU-ff,1", []),
        ("MIG-abc", []),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_what_a_scheduler_names_is_turned_into_uuids(
    tmp_path: Path, monkeypatch, given: str, expected: list[str]
) -> None:
    tool(tmp_path, *listed(*UUIDS))
    monkeypatch.setenv(VISIBLE, given)
    assert names() == expected


def test_numbers_keep_cudas_meaning_where_its_order_is_not_known(
    tmp_path: Path, monkeypatch
) -> None:
    driver(tmp_path, UUIDS[:2], ["NVIDIA T4", "NVIDIA H100"])
    nodes(tmp_path, "nvidia0", "nvidia1")
    monkeypatch.setenv(VISIBLE, "0")
    assert visible_devices() == [Gpu("0", "0")]  # the fastest, whichever that is
    monkeypatch.setenv(ORDER, "PCI_BUS_ID")
    assert names() == [UUIDS[0]]


def test_entries_are_believed_where_nothing_can_be_asked(monkeypatch) -> None:
    monkeypatch.setenv(VISIBLE, "GPU-ab, 3,MIG-GPU-7/1/0,-1,4")
    assert names() == ["GPU-ab", "3", "MIG-GPU-7/1/0"]


def test_jobs_of_a_scheduler_that_each_see_card_0_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    tool(tmp_path, *listed(UUIDS[0]))
    with claimed(1, tmp_path / "locks") as one:
        tool(tmp_path, *listed(UUIDS[1]))
        monkeypatch.setenv(VISIBLE, "0")
        other: list[list[str] | None] = []

        def claim() -> None:
            with claimed(1, tmp_path / "locks", poll_s=0.01) as held:
                other.append(held)

        thread = threading.Thread(target=claim, daemon=True)
        thread.start()
        thread.join(5)
        assert (one, other) == ([UUIDS[0]], [[UUIDS[1]]])


@pytest.mark.parametrize("name", devices.ALLOCATOR)
def test_memory_grows_in_place_unless_the_user_chose(tmp_path: Path, monkeypatch, name) -> None:
    nodes(tmp_path, "nvidia0")
    monkeypatch.setenv(name, "max_split_size_mb:64")
    with claimed(1, tmp_path / "locks"):
        pass
    found = {key: os.environ[key] for key in devices.ALLOCATOR if key in os.environ}
    assert found == {name: "max_split_size_mb:64"}
    monkeypatch.delenv(name)
    with claimed(1, tmp_path / "locks"):
        assert os.environ["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


def test_auto_wants_a_gpu_where_there_is_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    assert [uses_gpu(device) for device in ("auto", "cuda", "cpu")] == [True, True, False]
    for none in ("", "-1"):
        monkeypatch.setenv(VISIBLE, none)
        assert [uses_gpu(device) for device in ("auto", "cuda", "cpu")] == [False, True, False]
    monkeypatch.delenv(VISIBLE)
    nodes(tmp_path, "nvidiactl")
    assert not uses_gpu("auto")
    nodes(tmp_path, "nvidia5")
    assert uses_gpu("auto")


def test_jobs_take_different_devices_and_give_them_back(tmp_path: Path, monkeypatch) -> None:
    tool(tmp_path, *listed(*UUIDS))
    monkeypatch.setenv(VISIBLE, "1,3")
    code = (
        "import sys, time; from pathlib import Path\n"
        "from gradiseg_core.compute.devices import claimed\n"
        "with claimed(1, Path(sys.argv[1])) as held:\n"
        "    print(held[0], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == UUIDS[1] + "\n"
        with claimed(1, tmp_path) as held:
            assert held == [UUIDS[3]]
            assert os.environ[VISIBLE] == UUIDS[3]
        assert os.environ[VISIBLE] == "1,3"
    finally:
        other.kill()  # as the system's own killer would: nothing is cleaned up
        other.wait()
    with claimed(2, tmp_path) as held:
        assert held == [UUIDS[1], UUIDS[3]]


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
