"""The doctor's verdicts on machines that are made up."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from gradiseg_core.compute import doctor, gsplat_build, toolchain
from gradiseg_core.compute.doctor import Facts, diagnose, examine, numbers
from gradiseg_core.errors import BackendUnavailableError

GOOD = Facts(
    driver="580.159.04",
    gpus=(("NVIDIA H100 80GB HBM3", (9, 0), 79.6),),
    toolkit="13.0",
    toolkit_home=Path("/usr/local/cuda"),
    gcc="13.3.0",
    ninja=True,
    torch="2.11.0+cu130",
    torch_cuda="13.0",
    torch_sees_gpu=True,
    torch_archs=("sm_80", "sm_90", "sm_120"),
    gsplat="1.5.3",
    compiled=False,
    triton="3.6.0",
)


def failures(facts: Facts, arch: str | None = None) -> list[str]:
    return [f"{f.subject}: {f.text}" for f in diagnose(facts, arch) if f.level == "FAIL"]


def test_a_good_machine_has_nothing_to_complain_of() -> None:
    assert failures(GOOD) == []
    assert failures(replace(GOOD, compiled=True, toolkit=None, gcc=None, ninja=False)) == []
    minor = replace(GOOD, torch_cuda="13.2")
    assert failures(minor) == []
    assert any("built for 13.2: fits" in finding.text for finding in diagnose(minor))


@pytest.mark.parametrize(
    ("change", "subject", "versions"),
    [
        ({"torch_cuda": None, "torch": "2.11.0+cpu"}, "PyTorch", ["2.11.0+cpu", "without CUDA"]),
        ({"driver": None, "gpus": ()}, "driver", ["no NVIDIA driver"]),
        ({"driver": "550.54.15"}, "driver", ["550.54.15", "CUDA 13.0", "580.65 or newer"]),
        ({"torch_sees_gpu": False}, "GPU", ["CUDA_VISIBLE_DEVICES"]),
        ({"gpus": (("GTX 1080", (6, 1), 8.0),)}, "GPU", ["6.1", "7.0"]),
        ({"gpus": (("V100", (7, 0), 32.0),)}, "toolkit", ["13.0", "7.5", "7.0", "12.x"]),
        ({"torch_archs": ("sm_120",)}, "GPU", ["2.11.0+cu130", "sm_120"]),
        ({"gsplat": None}, "gsplat", ["pip install", "gsplat==1.5.3"]),
        ({"gsplat": "1.4.0"}, "gsplat", ["1.4.0", "1.5.3"]),
        ({"toolkit": None, "toolkit_home": None}, "toolkit", ["toolkit 13", "CUDA_HOME"]),
        ({"toolkit": "12.8"}, "toolkit", ["12.8", "2.11.0+cu130", "13.0"]),
        ({"gcc": "16.1.0"}, "C++", ["16.1.0", "13.0", "below 16"]),
        ({"toolkit": "12.6", "torch_cuda": "12.6", "gcc": "14.2.0"}, "C++", ["14.2.0", "12.6"]),
        ({"gcc": None}, "C++", ["g++"]),
        ({"ninja": False}, "ninja", ["pip install ninja"]),
    ],
)
def test_a_clash_names_both_versions(change: dict, subject: str, versions: list[str]) -> None:
    found = [text for text in failures(replace(GOOD, **change)) if text.startswith(subject)]
    assert len(found) == 1
    assert all(version in found[0] for version in versions), found[0]


@pytest.mark.parametrize("wheel", [True, False])
def test_the_report_says_where_the_compiled_code_is(tmp_path: Path, monkeypatch, wheel) -> None:
    monkeypatch.setattr(gsplat_build, "in_wheel", lambda: wheel)
    monkeypatch.setattr(gsplat_build, "build_folder", lambda: tmp_path)
    shown = [f.text for f in diagnose(replace(GOOD, compiled=True)) if f.subject == "kernels"]
    assert shown == ["compiled, in its package" if wheel else f"compiled, {tmp_path}"]


def test_a_machine_without_a_gpu_can_compile_for_another() -> None:
    here = replace(GOOD, driver=None, gpus=(), torch_sees_gpu=False)
    assert failures(here)
    assert failures(here, arch="9.0") == []
    assert len(failures(here, arch="7.0")) == 1


def test_triton_is_told_apart_from_what_it_can_run_on() -> None:
    def line(**change: object) -> tuple[str, str]:
        found = [f for f in diagnose(replace(GOOD, **change)) if f.subject == "triton"]
        return found[0].level, found[0].text

    turing = {"gpus": (("NVIDIA H100", (9, 0), 80.0), ("RTX 2080", (7, 5), 8.0))}
    assert line() == ("ok", "3.6.0")
    assert line(**turing)[0] == "note"
    assert "below compute capability 8.0" in line(**turing)[1]
    assert line(triton=None)[1].startswith("missing")


def test_versions_compare_as_numbers() -> None:
    assert numbers("580.159.04") == (580, 159, 4)
    assert numbers("2.11.0+cu130") > numbers("2.9.1")


def fake(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_probes_read_what_tools_print(tmp_path: Path, monkeypatch) -> None:
    tools, home = tmp_path / "tools", tmp_path / "cuda-13.0"
    row = "580.159.04, NVIDIA H100 80GB HBM3, 9.0, 81559"
    # One memory for processor and GPU, and parts of a card, have no number of their own.
    fake(
        tools,
        "nvidia-smi",
        f"""echo '{row}'; echo '580.159.04, NVIDIA GB10, 12.1, [N/A]'
        echo '580.159.04, lost, [N/A], [N/A]'; echo 'Unable to determine the device handle'""",
    )
    fake(tools, "g++", "echo 13.3.0")
    fake(home / "bin", "nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")
    # A script on the path that calls the real compiler, which alone knows its folder.
    fake(tools, "nvcc", f"echo '#$ TOP={home}/bin/..' >&2")
    (home / "include").mkdir()
    (home / "include" / "cuda_runtime.h").touch()
    for name in ("CUDA_HOME", "CUDA_PATH", "CXX"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    facts = doctor.probe()
    assert facts.driver == "580.159.04"
    assert len(facts.gpus) == 2
    assert facts.gpus[1] == ("NVIDIA GB10", (12, 1), None)
    name, capability, memory = facts.gpus[0]
    assert (name, capability) == ("NVIDIA H100 80GB HBM3", (9, 0))
    assert memory == pytest.approx(79.6, abs=0.1)
    assert (facts.toolkit, facts.toolkit_home) == ("13.0", home)
    assert facts.gcc == "13.3.0"
    assert facts.ninja  # beside the interpreter
    # For PyTorch, which would guess another.
    assert toolchain.compiler_environment()["CUDA_HOME"] == str(home)


def test_memory_that_is_not_told_is_not_shown() -> None:
    here = replace(GOOD, gpus=(("NVIDIA GB10", (9, 0), None),))
    shown = [finding.text for finding in diagnose(here) if finding.subject == "GPU"]
    assert shown == ["NVIDIA GB10, compute capability 9.0"]


def test_the_driver_is_found_without_its_tool(tmp_path: Path) -> None:
    line = "NVRM version: NVIDIA UNIX {}  580.159.04  Release Build  (dvs-builder@U22)\nGCC: 13\n"
    for kind in ("x86_64 Kernel Module", "Open Kernel Module for x86_64"):
        (tmp_path / "version").write_text(line.format(kind))
        assert doctor._driver_of_kernel(tmp_path / "version") == "580.159.04"
    assert doctor._driver_of_kernel(tmp_path / "absent") is None


def test_a_toolkit_without_headers_is_none(tmp_path: Path, monkeypatch) -> None:
    fake(tmp_path / "cuda" / "bin", "nvcc", "true")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert toolchain.toolkit_home() != tmp_path / "cuda"
    (tmp_path / "cuda" / "include").mkdir()
    (tmp_path / "cuda" / "include" / "cuda_runtime.h").touch()
    assert toolchain.toolkit_home() == tmp_path / "cuda"


@pytest.mark.parametrize(
    ("change", "file", "complaint", "status", "text"),
    [
        ({"compiled": True}, "sm90.so", None, 0, "load in a fresh process"),
        ({"driver": None, "gpus": ()}, None, None, 1, "FAIL  driver"),
        ({}, None, None, 0, "compiling gsplat's CUDA code, 3 files at a time"),
        ({}, None, "undefined symbol: x", 1, "undefined symbol: x"),
        ({}, None, BackendUnavailableError("fatal error: x"), 1, "FAIL  kernels  fatal error: x"),
    ],
)
def test_the_status_tells_whether_training_would_work(
    monkeypatch, capsys, tmp_path, change, file, complaint, status, text
) -> None:
    def build(archs, show, *, again):
        assert file is None, "nothing was to be compiled"
        assert (archs, again) == (["9.0"], True)
        if isinstance(complaint, Exception):
            raise complaint
        return tmp_path / "made.so"

    monkeypatch.setenv("MAX_JOBS", "3")
    monkeypatch.setattr(doctor, "probe", lambda arch: replace(GOOD, **change))
    monkeypatch.setattr(gsplat_build, "in_wheel", lambda: False)
    monkeypatch.setattr(gsplat_build, "compiled_file", lambda of: file and tmp_path / file)
    monkeypatch.setattr(gsplat_build, "build", build)
    monkeypatch.setattr(gsplat_build, "check_loads", lambda path: complaint)
    assert examine() == status
    assert text in capsys.readouterr().out


def test_a_file_that_does_not_load_is_made_again(monkeypatch, capsys, tmp_path) -> None:
    old = tmp_path / "sm90.so"
    old.touch()
    complaints = ["undefined symbol: x", None]
    monkeypatch.setattr(doctor, "probe", lambda arch: replace(GOOD, compiled=True))
    monkeypatch.setattr(gsplat_build, "in_wheel", lambda: False)
    monkeypatch.setattr(gsplat_build, "compiled_file", lambda of: old)
    monkeypatch.setattr(gsplat_build, "build", lambda archs, show, again: tmp_path / "new.so")
    monkeypatch.setattr(gsplat_build, "check_loads", lambda path: complaints.pop(0))
    assert examine() == 0
    assert not old.exists()
    assert f"compiled, {tmp_path / 'new.so'}" in capsys.readouterr().out
