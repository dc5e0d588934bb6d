"""Checks whether this machine can train on a GPU, and compiles gsplat: `gradiseg doctor`.

Driver, toolkit, compiler, PyTorch and gsplat must fit together. A clash between them shows late and
far from its cause, so every line of the report says which two versions clash and what to do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gradiseg_core.compute import gsplat_build, toolchain
from gradiseg_core.compute.triton_runtime import OLDEST_CAPABILITY as OLDEST_TRITON_CAPABILITY
from gradiseg_core.errors import BackendUnavailableError

Version = tuple[int, ...]
Level = Literal["ok", "note", "FAIL"]

#: Oldest driver for each major version of CUDA (NVIDIA's compatibility table, Linux).
OLDEST_DRIVER: dict[int, Version] = {11: (450, 80), 12: (525, 60), 13: (580, 65)}
#: Oldest compute capability that each major version of the toolkit compiles for.
OLDEST_CAPABILITY: dict[int, Version] = {11: (3, 5), 12: (5, 0), 13: (7, 5)}
#: First release of gcc that each release of the toolkit refuses.
REFUSED_GCC: dict[Version, int] = {
    (11,): 12, (12, 0): 13, (12, 3): 14, (12, 8): 15, (13, 0): 16,
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What was found on the machine; None for what is missing.

    Attributes:
        driver: Version of the NVIDIA driver.
        gpus: (name, compute capability, memory in GB or None) of each.
        toolkit: Version of nvcc.
        toolkit_home: Folder of the toolkit, with headers.
        gcc: Version of the C++ compiler.
        ninja: Whether ninja is found.
        torch: PyTorch's version.
        torch_cuda: CUDA version that PyTorch is built for.
        torch_sees_gpu: Whether PyTorch can use a device.
        torch_archs: Architectures that PyTorch is built for, such as ``sm_90``.
        gsplat: Its version.
        compiled: Whether its CUDA code is compiled for this PyTorch.
        triton: Its version.
    """

    driver: str | None = None
    gpus: tuple[tuple[str, Version, float | None], ...] = ()
    toolkit: str | None = None
    toolkit_home: Path | None = None
    gcc: str | None = None
    ninja: bool = False
    torch: str = ""
    torch_cuda: str | None = None
    torch_sees_gpu: bool = False
    torch_archs: tuple[str, ...] = ()
    gsplat: str | None = None
    compiled: bool = False
    triton: str | None = None


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: FAIL stops training on a GPU.
        subject: What it is about.
        text: What was found; for FAIL also what to do.
    """

    level: Level
    subject: str
    text: str


def numbers(version: str) -> Version:
    """Return the leading numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def diagnose(facts: Facts, arch: str | None = None) -> list[Finding]:
    """Say what fits and what clashes.

    Args:
        facts: The machine.
        arch: Compute capability to compile for without a GPU.
    """
    findings = [_torch(facts), *([] if arch else [_driver(facts), *_gpus(facts)])]
    findings += [_gsplat(facts)]
    findings += [_compiled(facts)] if facts.compiled else _compiler(facts, arch)
    capabilities = _architectures(arch) if arch else [capability for _, capability, _ in facts.gpus]
    return [*findings, _triton(facts, capabilities)]


def _triton(facts: Facts, capabilities: list[Version]) -> Finding:
    slower = "losses and neighbours run in plain PyTorch, slower"
    if facts.triton is None:
        return Finding("note", "triton", f"missing: {slower}")
    if any(capability < OLDEST_TRITON_CAPABILITY for capability in capabilities):
        oldest = ".".join(map(str, OLDEST_TRITON_CAPABILITY))
        return Finding(
            "note", "triton", f"{facts.triton}; below compute capability {oldest} {slower}"
        )
    return Finding("ok", "triton", facts.triton)


def _torch(facts: Facts) -> Finding:
    if facts.torch_cuda is None:
        return Finding(
            "FAIL",
            "PyTorch",
            f"{facts.torch} is built without CUDA: install a CUDA build (https://pytorch.org)",
        )
    return Finding("ok", "PyTorch", f"{facts.torch}, for CUDA {facts.torch_cuda}")


def _driver(facts: Facts) -> Finding:
    if facts.driver is None:
        return Finding(
            "FAIL",
            "driver",
            "no NVIDIA driver answers (nvidia-smi): install one, or train with train.device: cpu",
        )
    if facts.torch_cuda is not None:
        major = numbers(facts.torch_cuda)[0]
        oldest = OLDEST_DRIVER.get(major)
        if oldest is not None and numbers(facts.driver)[: len(oldest)] < oldest:
            wanted = ".".join(map(str, oldest))
            return Finding(
                "FAIL",
                "driver",
                f"{facts.driver} is too old for CUDA {facts.torch_cuda} of PyTorch {facts.torch}, "
                f"which needs {wanted} or newer: update the driver, or install a PyTorch for an "
                "older CUDA (the lock has none: docs/cuda_core.md)",
            )
    return Finding("ok", "driver", facts.driver)


def _gpus(facts: Facts) -> Iterable[Finding]:
    for name, capability, memory in facts.gpus:
        shown = ".".join(map(str, capability))
        room = "" if memory is None else f", {memory:.0f} GB"
        text = f"{name}, compute capability {shown}{room}"
        arch = "sm_" + "".join(map(str, capability))
        major = [a for a in facts.torch_archs if a[3:-1] == str(capability[0])]
        if capability < gsplat_build.OLDEST_CAPABILITY:
            yield Finding("FAIL", "GPU", f"{text}: gsplat needs 7.0 or more; train on the CPU")
        elif facts.torch_archs and arch not in facts.torch_archs and not major:
            yield Finding(
                "FAIL",
                "GPU",
                f"{text}: PyTorch {facts.torch} is built for {', '.join(facts.torch_archs)} only; "
                "install one that is built for it",
            )
        else:
            yield Finding("ok", "GPU", text)
    if facts.driver is not None and facts.torch_cuda is not None and not facts.torch_sees_gpu:
        yield Finding(
            "FAIL",
            "GPU",
            "the driver answers, but PyTorch sees no GPU: look at CUDA_VISIBLE_DEVICES, and in a "
            "container at whether it was started with GPUs",
        )


def _gsplat(facts: Facts) -> Finding:
    wanted = gsplat_build.VERSION
    if facts.gsplat is None:
        return Finding("FAIL", "gsplat", f'missing: pip install "gsplat=={wanted}" ninja')
    if facts.gsplat.split("+")[0] != wanted:
        return Finding(
            "FAIL",
            "gsplat",
            f"{facts.gsplat} is installed, the adapter is for {wanted}: pip install "
            f"gsplat=={wanted}",
        )
    return Finding("ok", "gsplat", facts.gsplat)


def _compiled(facts: Facts) -> Finding:
    where = "in its package" if gsplat_build.in_wheel() else gsplat_build.build_folder()
    return Finding("ok", "kernels", f"compiled, {where}")


def _compiler(facts: Facts, arch: str | None) -> Iterable[Finding]:
    """Check what compiling needs; once compiled, none of it matters."""
    if facts.toolkit is None or facts.toolkit_home is None:
        wanted = "" if facts.torch_cuda is None else f" {numbers(facts.torch_cuda)[0]}"
        yield Finding(
            "FAIL",
            "toolkit",
            f"no CUDA toolkit{wanted} (nvcc and its headers), which compiles gsplat: install it, "
            "or set CUDA_HOME to its folder",
        )
        return
    toolkit = numbers(facts.toolkit)
    text = f"{facts.toolkit}, {facts.toolkit_home}"
    if facts.torch_cuda is not None and toolkit[0] != numbers(facts.torch_cuda)[0]:
        yield Finding(
            "FAIL",
            "toolkit",
            f"CUDA toolkit {facts.toolkit} clashes with PyTorch {facts.torch}, built for CUDA "
            f"{facts.torch_cuda}: their first numbers must agree. Install the toolkit "
            f"{numbers(facts.torch_cuda)[0]}.x and set CUDA_HOME, or another PyTorch",
        )
    elif facts.torch_cuda is not None and toolkit[:2] != numbers(facts.torch_cuda)[:2]:
        yield Finding("note", "toolkit", f"{text}; PyTorch is built for {facts.torch_cuda}: fits")
    else:
        yield Finding("ok", "toolkit", text)
    capabilities = _architectures(arch) if arch else [capability for _, capability, _ in facts.gpus]
    oldest = OLDEST_CAPABILITY.get(toolkit[0])
    for capability in capabilities:
        if oldest is not None and capability < oldest:
            shown, least = (".".join(map(str, value)) for value in (capability, oldest))
            yield Finding(
                "FAIL",
                "toolkit",
                f"CUDA {facts.toolkit} compiles for compute capability {least} or more, the GPU "
                f"has {shown}: use the toolkit {toolkit[0] - 1}.x and a PyTorch for it",
            )
    yield _gcc(facts, toolkit)
    if facts.ninja:
        yield Finding("ok", "ninja", "found")
    else:
        yield Finding("FAIL", "ninja", "missing: pip install ninja")
    yield Finding("note", "kernels", "not compiled yet")


def _gcc(facts: Facts, toolkit: Version) -> Finding:
    if facts.gcc is None:
        return Finding("FAIL", "C++", "no g++: install it (Debian: apt install g++)")
    known = [release for release in REFUSED_GCC if release <= toolkit]
    refused = REFUSED_GCC[max(known)] if known else None
    if refused is not None and numbers(facts.gcc)[0] >= refused:
        return Finding(
            "FAIL",
            "C++",
            f"g++ {facts.gcc} is too new for CUDA {facts.toolkit}, which takes g++ below "
            f"{refused}: install an older one and set CXX to it",
        )
    return Finding("ok", "C++", f"g++ {facts.gcc}")


def _output(*command: str) -> str | None:
    """Return the output of a command, or None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _match(pattern: str, text: str | None) -> str | None:
    found = re.search(pattern, text or "")
    return found[1] if found else None


def probe(arch: str | None = None) -> Facts:
    """Look at the machine.

    Args:
        arch: Compute capability of the compiled code to look for; None: that of the GPUs.
    """
    import torch

    environment = toolchain.compiler_environment()
    home = toolchain.toolkit_home()
    listed = _output(
        "nvidia-smi",
        "--query-gpu=driver_version,name,compute_cap,memory.total",
        "--format=csv,noheader,nounits",
    )
    lines = ([cell.strip() for cell in line.split(",")] for line in (listed or "").splitlines())
    rows = [row for row in lines if len(row) == 4 and len(numbers(row[2])) == 2]
    capabilities = [capability for _, capability, _ in _gpus_of_torch()]
    version = gsplat_build.installed_version()
    return Facts(
        driver=rows[0][0] if rows else _driver_of_kernel(),
        gpus=tuple((row[1], numbers(row[2]), _memory_gb(row[3])) for row in rows)
        or _gpus_of_torch(),
        toolkit=_match(r"release ([\d.]+)", _output(str(home / "bin" / "nvcc"), "--version"))
        if home
        else None,
        toolkit_home=home,
        gcc=_match(r"([\d.]+)", _output(os.environ.get("CXX", "g++"), "-dumpfullversion")),
        ninja=shutil.which("ninja", path=environment["PATH"]) is not None,
        torch=torch.__version__,
        torch_cuda=torch.version.cuda,
        torch_sees_gpu=torch.cuda.is_available(),
        torch_archs=tuple(torch.cuda.get_arch_list()),
        gsplat=version,
        compiled=version is not None and _compiled_for(capabilities, arch),
        triton=_triton_version(),
    )


def _gpus_of_torch() -> tuple[tuple[str, Version, float | None], ...]:
    import torch

    if not torch.cuda.is_available():
        return ()
    found = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return tuple((p.name, (p.major, p.minor), p.total_memory / 2**30) for p in found)


def _compiled_for(capabilities: list[Version], arch: str | None) -> bool:
    if gsplat_build.in_wheel():
        return True
    wanted = _architectures(arch) if arch else capabilities
    return bool(wanted) and gsplat_build.compiled_file(wanted) is not None


def _architectures(arch: str) -> list[Version]:
    """Return the compute capabilities of ``--arch``."""
    return [numbers(one)[:2] for one in re.split(r"[;,\s]+", arch)]


def _memory_gb(mebibytes: str) -> float | None:
    """Return a GPU's memory; None for ``[N/A]``, as with MIG or shared memory."""
    try:
        return float(mebibytes) / 1024
    except ValueError:
        return None


def _driver_of_kernel(path: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """Return the driver's version without nvidia-smi, which many containers lack."""
    try:
        return _match(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", path.read_text())
    except OSError:
        return None


def _triton_version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("triton")
    except PackageNotFoundError:
        return None


def report(findings: Iterable[Finding]) -> str:
    """Return the findings as lines."""
    return "\n".join(f"{f.level:5} {f.subject:8} {f.text}" for f in findings)


def examine(arch: str | None = None, *, compiles: bool = True) -> int:
    """Print what was found; compile gsplat if needed, and load it as training will.

    Args:
        arch: Compute capabilities to compile for without a GPU: ``"9.0"``, ``"8.0,9.0"``.
        compiles: Whether to compile at all.

    Returns:
        The exit status: 1 if training on a GPU would fail.
    """
    facts = probe(arch)
    findings = diagnose(facts, arch)
    print(report(findings), flush=True)
    if any(finding.level == "FAIL" for finding in findings):
        return 1
    if not compiles:
        return 0
    errors = _make_and_load(facts, arch)
    if errors:
        print(report([Finding("FAIL", "kernels", errors)]))
        return 1
    print(report([Finding("ok", "kernels", "load in a fresh process")]))
    return 0


def _make_and_load(facts: Facts, arch: str | None) -> str | None:
    """Compile if needed, and load the file as training will; return the error, or None."""
    if gsplat_build.in_wheel():
        return gsplat_build.check_loads(None)
    wanted = _architectures(arch) if arch else [capability for _, capability, _ in facts.gpus]
    path = gsplat_build.compiled_file(wanted)
    if path is not None:
        complaint = gsplat_build.check_loads(path)
        if complaint is None:
            return None
        print(f"{path} does not load ({complaint}): compiling again", flush=True)
        path.unlink(missing_ok=True)
    jobs = toolchain.compiler_environment()["MAX_JOBS"]
    print(f"compiling gsplat's CUDA code, {jobs} files at a time: 2 to 15 minutes", flush=True)
    archs = gsplat_build.architectures(wanted)
    try:
        path = gsplat_build.build(archs, lambda line: print(line, flush=True), again=True)
    except BackendUnavailableError as error:
        return str(error)
    print(report([Finding("ok", "kernels", f"compiled, {path}")]), flush=True)
    return gsplat_build.check_loads(path)
