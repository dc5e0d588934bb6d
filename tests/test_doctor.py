"""The doctor's verdicts on machines that are made up, and its compiler on made-up compilers."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gradiseg_core import doctor, gsplat_build
from gradiseg_core.doctor import Facts, diagnose, main, numbers

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
        ({"driver": "550.54.15"}, "driver", ["550.54.15", "CUDA 13.0", "580.65"]),
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
    fake(tools, "nvidia-smi", f"echo '{row}'; echo '{row}'")
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
    name, capability, memory = facts.gpus[1]
    assert (name, capability) == ("NVIDIA H100 80GB HBM3", (9, 0))
    assert memory == pytest.approx(79.6, abs=0.1)
    assert (facts.toolkit, facts.toolkit_home) == ("13.0", home)
    assert facts.gcc == "13.3.0"
    assert facts.ninja  # beside the interpreter
    assert os.environ["CUDA_HOME"] == str(home)  # for PyTorch, which would guess another


def test_a_toolkit_without_headers_is_none(tmp_path: Path, monkeypatch) -> None:
    fake(tmp_path / "cuda" / "bin", "nvcc", "true")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert gsplat_build.toolkit_home() != tmp_path / "cuda"
    (tmp_path / "cuda" / "include").mkdir()
    (tmp_path / "cuda" / "include" / "cuda_runtime.h").touch()
    assert gsplat_build.toolkit_home() == tmp_path / "cuda"


COMPILER = """\
echo 'Emitting ninja build file'
echo '[1/2] nvcc -c A.cu -o AdamCUDA.cuda.o'
echo "arch $TORCH_CUDA_ARCH_LIST jobs $MAX_JOBS"
{last}
"""


def test_compiling_shows_progress_and_errors(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "ext"))
    fake(tmp_path, "python", COMPILER.format(last="echo '[2/2] c++ A.o -o gsplat_cuda.so'"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    shown: list[str] = []
    assert doctor.compile_ahead("9.0", shown.append) == []
    assert shown == ["  [1/2] AdamCUDA.cuda.o", "  [2/2] gsplat_cuda.so"]
    last = "echo 'x.h:7:10: fatal error: cuda_runtime.h: No such file'; exit 1"
    fake(tmp_path, "python", COMPILER.format(last=last))
    assert doctor.compile_ahead("9.0", shown.append) == [
        "x.h:7:10: fatal error: cuda_runtime.h: No such file"
    ]


@pytest.mark.parametrize(
    ("change", "errors", "status", "text"),
    [
        ({"compiled": True}, None, 0, "ok    kernels  compiled"),
        ({"driver": None, "gpus": ()}, None, 1, "FAIL  driver"),
        ({}, [], 0, "compiling gsplat's CUDA code"),
        ({}, ["fatal error: x"], 1, "fatal error: x"),
    ],
)
def test_the_status_tells_whether_training_would_work(
    monkeypatch, capsys, change, errors, status, text
) -> None:
    def compile_ahead(arch, show):
        assert errors is not None, "nothing was to be compiled"
        return errors

    monkeypatch.setattr(doctor, "probe", lambda: replace(GOOD, **change))
    monkeypatch.setattr(doctor, "compile_ahead", compile_ahead)
    assert main([]) == status
    assert text in capsys.readouterr().out
