"""gsplat's compiled code: made once, found again by every process, made anew where it does not fit.

A made-up gsplat "compiles" a real extension module of one function; a made-up GPU asks for it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from gradiseg_core.compute import gsplat_build, toolchain
from gradiseg_core.errors import BackendUnavailableError

REPOSITORY = Path(__file__).resolve().parents[2]

EXTENSION = """\
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "gsplat_cuda", "", -1, methods};
PyMODINIT_FUNC PyInit_gsplat_cuda(void) { return PyModule_Create(&module); }
"""

# As gsplat 1.5.3: take `gsplat.csrc` where there is one, else compile in PyTorch's folder.
BACKEND = """\
import os, shutil, time
from pathlib import Path
try:
    from gsplat import csrc as _C
except ImportError:
    with open(os.environ["RECORD"], "a") as record:
        print(*map(os.environ.get, ("TORCH_CUDA_ARCH_LIST", "MAX_JOBS", "CUDA_HOME")), file=record)
    folder = Path(os.environ["TORCH_EXTENSIONS_DIR"]) / "gsplat_cuda"
    folder.mkdir()
    print("[1/2] nvcc -c A.cu -o AdamCUDA.cuda.o", flush=True)
    time.sleep(0.2)
    if "BROKEN" in os.environ:
        print("x.h:7:10: fatal error: cuda_runtime.h: No such file")
        raise SystemExit(1)
    print("[2/2] c++ A.o -o gsplat_cuda.so")
    shutil.copy(os.environ["MADE"], folder / "gsplat_cuda.so")
    _C = object()
"""

USE = """\
import sys, torch
torch.cuda.is_available = lambda: True
torch.cuda.get_device_capability = lambda *of: (int(sys.argv[1]), int(sys.argv[2]))
torch.cuda.get_arch_list = lambda: ["sm_80", "sm_90", "sm_100"]
from gradiseg_core import errors
from gradiseg_core.compute import gsplat_build
try:
    gsplat_build.load_kernels()
except errors.BackendUnavailableError as error:
    print("refused:", error)
else:
    from gsplat.cuda._backend import _C
    print("answer", _C.answer())
"""


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    headers = Path(sysconfig.get_path("include"))
    if compiler is None or not (headers / "Python.h").is_file():
        pytest.skip("needs a C compiler and Python's headers (Debian: gcc, python3-dev)")
    folder = tmp_path_factory.mktemp("extension")
    (folder / "a.c").write_text(EXTENSION)
    made = folder / "made.so"
    command = [compiler, "-shared", "-fPIC", f"-I{headers}", "-o", str(made), str(folder / "a.c")]
    subprocess.run(command, check=True)
    return made


@pytest.fixture
def machine(tmp_path: Path, monkeypatch, extension: Path) -> Path:
    """A machine with a toolkit and a gsplat that are made up; returns what was compiled."""
    home = tmp_path / "cuda"
    for name in ("bin/nvcc", "include/cuda_runtime.h"):
        (home / name).parent.mkdir(parents=True)
        (home / name).touch()
    package = tmp_path / "site" / "gsplat" / "cuda"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "_backend.py").write_text(BACKEND)
    record = tmp_path / "record"
    record.touch()
    for name, value in {
        "CUDA_HOME": home,
        "RECORD": record,
        "MADE": extension,
        "TORCH_EXTENSIONS_DIR": tmp_path / "ext",
        "MAX_JOBS": 3,
        "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{REPOSITORY}",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(gsplat_build, "installed_version", lambda: gsplat_build.VERSION)
    return record


def start(*capability: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USE, *map(str, capability)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def use(*capability: int) -> str:
    """What a fresh process gets from gsplat on a GPU of this compute capability."""
    process = start(*capability)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def compilations(record: Path) -> list[str]:
    return [line.split()[0] for line in record.read_text().splitlines()]


def test_the_published_gsplat_takes_the_compiled_file_and_nothing_else(
    tmp_path: Path, monkeypatch, extension: Path
) -> None:
    """No ninja, no nvcc, nothing written: whatever PATH and flags are."""
    if gsplat_build.installed_version() != gsplat_build.VERSION or gsplat_build.in_wheel():
        pytest.skip(f"needs gsplat {gsplat_build.VERSION} as published: pip install -e '.[cuda]'")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "ext"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "7.5;12.0")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    file = gsplat_build.build_folder() / "sm90.so"
    file.parent.mkdir(parents=True)
    shutil.copy(extension, file)
    assert use(9, 0) == "answer 42"
    assert [path for path in (tmp_path / "ext").rglob("*") if path.is_file()] == [file]
    assert gsplat_build.check_loads(file) is None


def test_all_processes_compile_once(machine: Path) -> None:
    together = [start(9, 0) for _ in range(2)]
    for process in together:
        out, err = process.communicate(timeout=60)
        assert out.strip() == "answer 42", err
    assert compilations(machine) == ["9.0"]
    assert machine.read_text().split()[1:] == ["3", os.environ["CUDA_HOME"]]
    files = [path.name for path in gsplat_build.build_folder().iterdir()]
    assert sorted(files) == ["build.lock", "sm90.so"]  # no objects, no half of a build


def store(name: str) -> Path:
    file = gsplat_build.build_folder() / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


SMALL = """\
#include <torch/extension.h>
int answer() { return 42; }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("answer", &answer); }
"""


@pytest.mark.slow
def test_the_published_build_goes_through_and_is_not_needed_again(
    machine: Path, tmp_path: Path, monkeypatch
) -> None:
    """gsplat's and PyTorch's own build with nvcc, of two small files for gsplat's thirty."""
    monkeypatch.delenv("CUDA_HOME")
    if toolchain.toolkit_home() is None or gsplat_build.in_wheel():
        pytest.skip("needs a CUDA toolkit (nvcc with headers), and gsplat as published")
    installed = importlib.util.find_spec("gsplat")
    if installed is None or installed.origin is None:
        pytest.skip("needs gsplat: pip install -e '.[cuda]'")
    package = tmp_path / "site" / "gsplat" / "cuda"
    shutil.copy(Path(installed.origin).parent / "cuda" / "_backend.py", package)
    (package / "csrc").mkdir()
    (package / "csrc" / "a.cu").write_text("__global__ void nothing() {}\n")
    (package / "ext.cpp").write_text(SMALL)
    shown: list[str] = []
    file = gsplat_build.build(["9.0"], shown.append)
    assert shown[-1] == "  [3/3] gsplat_cuda.so"
    assert file.name == "sm90.so"
    monkeypatch.setenv("PATH", str(tmp_path))  # no ninja, no nvcc
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    shutil.rmtree(package / "csrc")
    assert use(9, 0) == "answer 42"


def test_another_gpu_gets_code_of_its_own_unless_what_is_there_runs_on_it(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    ampere = store("sm80.so")
    assert gsplat_build.compiled_file([(8, 0), (8, 6)]) == ampere
    assert gsplat_build.compiled_file([(9, 0)]) is None
    assert gsplat_build.compiled_file([(7, 5)]) is None
    several = store("sm75_sm90.so")
    assert gsplat_build.compiled_file([(9, 0)]) == several
    assert gsplat_build.compiled_file([(8, 0), (9, 0)]) is None
    newer = store("sm100ptx.so")
    assert gsplat_build.compiled_file([(12, 1)]) == newer
    assert gsplat_build.compiled_file([(8, 9)]) == ampere


def test_a_gpu_newer_than_pytorch_is_compiled_for_by_ptx(monkeypatch) -> None:
    names = ["sm_80", "sm_90", "sm_100", "compute_120"]
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: names)
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "7.5;12.0")
    found = gsplat_build.architectures([(12, 1), (8, 6), (9, 0), (8, 6)])
    assert found == ["8.6", "9.0", "10.0+PTX"]
    assert gsplat_build._file_name(found) == "sm86_sm90_sm100ptx.so"


@pytest.mark.parametrize("changed", ["torch", "gsplat", "python", "flags"])
def test_a_file_for_other_versions_is_not_taken(tmp_path: Path, monkeypatch, changed: str) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert gsplat_build.compiled_file([(9, 0)]) is None
    file = store("sm90.so")
    assert gsplat_build.compiled_file([(9, 0)]) == file
    if changed == "torch":
        monkeypatch.setattr(torch, "__version__", "2.11.0+cu130")
    elif changed == "gsplat":
        monkeypatch.setattr(gsplat_build, "installed_version", lambda: "1.6.0")
    elif changed == "python":
        monkeypatch.setattr(gsplat_build.sysconfig, "get_config_var", lambda name: "cpython-399")
    else:
        monkeypatch.setenv("NO_FAST_MATH", "1")
    assert gsplat_build.compiled_file([(9, 0)]) is None


def test_a_broken_file_is_noticed_and_made_again(machine: Path, extension: Path) -> None:
    file = store("sm90.so")
    file.write_bytes(extension.read_bytes()[:100])
    assert use(9, 0) == "answer 42"
    assert compilations(machine) == ["9.0"]
    assert file.read_bytes() == extension.read_bytes()


def test_what_does_not_load_is_not_kept(machine: Path, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "empty.so").touch()
    monkeypatch.setenv("MADE", str(tmp_path / "empty.so"))
    with pytest.raises(BackendUnavailableError, match="it does not load"):
        gsplat_build.build(["9.0"], print)
    assert gsplat_build.compiled_file([(9, 0)]) is None


def test_what_does_not_compile_is_tried_again_by_the_doctor_alone(
    machine: Path, monkeypatch
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    shown: list[str] = []
    with pytest.raises(BackendUnavailableError, match=r"cuda_runtime\.h: No such file"):
        gsplat_build.build(["9.0"], shown.append)
    again = r"did not compile here before \(.*cuda_runtime\.h: No such file"
    with pytest.raises(BackendUnavailableError, match=again):
        gsplat_build.build(["9.0"], shown.append)
    assert compilations(machine) == ["9.0"]
    with pytest.raises(BackendUnavailableError, match=r"cuda_runtime\.h: No such file"):
        gsplat_build.build(["9.0"], shown.append, again=True)
    monkeypatch.delenv("BROKEN")
    file = gsplat_build.build(["9.0"], shown.append, again=True)
    assert shown == ["  [1/2] AdamCUDA.cuda.o"] * 3 + ["  [2/2] gsplat_cuda.so"]
    assert file == gsplat_build.compiled_file([(9, 0)])


def test_without_a_compiler_or_with_an_old_gpu_nothing_is_tried(machine: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    old = r"compute capability 7\.0 or more, this GPU has 6\.1"
    with pytest.raises(BackendUnavailableError, match=old):
        gsplat_build.load_kernels()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(gsplat_build, "toolkit_home", lambda: None)
    monkeypatch.setattr(gsplat_build, "in_wheel", lambda: False)
    with pytest.raises(BackendUnavailableError, match=r"no CUDA toolkit \(nvcc\)"):
        gsplat_build.load_kernels()
    assert compilations(machine) == []
