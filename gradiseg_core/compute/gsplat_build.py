"""gsplat's CUDA code: compiled once for a machine, then loaded from the compiled file.

gsplat's package holds sources. By default every process that uses it writes a build file and runs
ninja, even if everything is compiled. So it always needs ninja and nvcc, and compiles again if PATH
or a flag differs. Here a separate process compiles gsplat once, and the name of the result says
what it is for::

    <root>/gradiseg/gsplat-1.5.3-torch-2.11.0+cu130-cpython-312-x86_64-linux-gnu-0b6c21d4/sm90.so

``<root>`` is PyTorch's folder for extensions (``TORCH_EXTENSIONS_DIR``, by default
``~/.cache/torch_extensions``). Another gsplat, PyTorch, Python or GPU has another file, so that an
old one is never loaded. Before gsplat compiles anything it looks for a module ``gsplat.csrc``
(``gsplat/cuda/_backend.py``); the file is loaded as this module.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gradiseg_core.compute.devices import locked
from gradiseg_core.compute.toolchain import compiler_environment, toolkit_home
from gradiseg_core.errors import BackendUnavailableError

logger = logging.getLogger(__name__)

VERSION = "1.5.3"
OLDEST_CAPABILITY = (7, 0)  # its kernels reduce over warps with cooperative groups
NAME = "gsplat_cuda"  # of the extension, in gsplat/cuda/_backend.py
MODULE = "gsplat.csrc"  # what gsplat imports from a wheel with compiled code
_FLAGS = ("NO_FAST_MATH", "FAST_COMPILE")  # environment variables that change gsplat's build
_DOCTOR = "`gradiseg doctor` says what is missing and compiles it"

Capability = tuple[int, ...]


def installed_version() -> str | None:
    """Return gsplat's version, or None if it is not installed."""
    try:
        return version("gsplat")
    except PackageNotFoundError:
        return None


def check_installed() -> None:
    """Check that gsplat is installed in the version that the adapter is written for.

    Raises:
        BackendUnavailableError: If gsplat is missing or not of :data:`VERSION`.
    """
    found = installed_version()
    if found is None:
        raise BackendUnavailableError(
            "training on a GPU needs gsplat, which is not installed: pip install "
            f'"gsplat=={VERSION}" ninja (the extra `cuda`)'
        )
    if found.split("+")[0] != VERSION:
        raise BackendUnavailableError(
            f"gsplat {found} is installed, but the adapter is written for {VERSION}: "
            f"pip install gsplat=={VERSION}"
        )


def build_folder() -> Path:
    """Return the folder of the compiled files for this gsplat, PyTorch and Python."""
    import torch
    from torch.utils import cpp_extension

    root = os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root()
    python = sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag
    # A PyTorch built from sources keeps its version while the sources change.
    rest = [torch.version.git_version, torch.version.cuda, *map(os.environ.get, _FLAGS)]
    digest = hashlib.sha256(repr(rest).encode()).hexdigest()[:8]
    name = f"gsplat-{installed_version()}-torch-{torch.__version__}-{python}-{digest}"
    return Path(root) / "gradiseg" / name


def architectures(capabilities: Iterable[Capability]) -> list[str]:
    """Return the architectures to compile for, in the form of ``TORCH_CUDA_ARCH_LIST``.

    A GPU newer than PyTorch gets the newest architecture that PyTorch knows, as PTX, which drivers
    translate. ``TORCH_CUDA_ARCH_LIST`` itself is not read: images set it to every GPU there is.

    Args:
        capabilities: Compute capabilities of the GPUs, (major, minor).
    """
    import torch

    known = [re.fullmatch(r"sm_(\d+)(\d)", name) for name in torch.cuda.get_arch_list()]
    newest = max(((int(m[1]), int(m[2])) for m in known if m is not None), default=None)
    found = set()
    for capability in capabilities:
        shown = f"{capability[0]}.{capability[1]}"
        if newest is not None and capability > newest:
            shown = f"{newest[0]}.{newest[1]}+PTX"
        found.add(shown)
    return sorted(found, key=_capability)


def _capability(architecture: str) -> Capability:
    major, minor = architecture.removesuffix("+PTX").split(".")
    return int(major), int(minor)


def _file_name(archs: Iterable[str]) -> str:
    names = (arch.replace(".", "").replace("+PTX", "ptx") for arch in archs)
    return "_".join(f"sm{name}" for name in names) + ".so"


def _runs_on(path: Path, capability: Capability) -> bool:
    """Tell from its name whether a file runs on a GPU: the same major; PTX also on newer ones."""
    for name in path.stem.split("_"):
        match = re.fullmatch(r"sm(\d+)(\d)(ptx)?", name)
        if match is None:
            continue
        made = int(match[1]), int(match[2])
        if made <= capability and (match[3] or made[0] == capability[0]):
            return True
    return False


def compiled_file(capabilities: Iterable[Capability]) -> Path | None:
    """Return a compiled file that runs on all of these GPUs, or None."""
    wanted = list(capabilities)
    files = sorted(build_folder().glob("sm*.so"), key=lambda path: (-len(path.stem), path.stem))
    return next((f for f in files if all(_runs_on(f, one) for one in wanted)), None)


def in_wheel() -> bool:
    """Tell whether gsplat's package itself holds compiled code, as some wheels do."""
    found = importlib.util.find_spec("gsplat")
    return bool(
        found is not None and found.origin and list(Path(found.origin).parent.glob("csrc.*so"))
    )


def load_file(path: Path) -> None:
    """Load compiled code as gsplat's own module, so that gsplat compiles nothing.

    Raises:
        ImportError, OSError: If the file is broken, or made for another Python or PyTorch.
    """
    import torch  # noqa: F401  (its libraries are what the file is linked to)

    # The name must be that of the initialising function that was compiled into the file.
    loader = ExtensionFileLoader(NAME, str(path))
    spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[MODULE] = module
    backend = sys.modules.get("gsplat.cuda._backend")
    if backend is not None:  # it was imported before, and found nothing
        backend._C = module  # type: ignore[attr-defined]


def check_loads(path: Path | None) -> str | None:
    """Load compiled code in a fresh process; return the error, or None.

    Args:
        path: The file; None: the one in gsplat's wheel.
    """
    code = (
        "import sys; from pathlib import Path; from gradiseg_core.compute import gsplat_build\n"
        "[gsplat_build.load_file(Path(name)) for name in sys.argv[1:]]\n"
        f"import torch, {MODULE}; from gsplat.cuda._backend import _C\n"
        f"assert _C is sys.modules[{MODULE!r}], 'gsplat takes another file'"
    )
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *([] if path is None else [str(path)])],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"it ended with status {done.returncode}"


def build(archs: list[str], show: Callable[[str], None], *, again: bool = False) -> Path:
    """Compile gsplat's CUDA code in a separate process, and return the compiled file.

    If several processes call this at once, the first compiles and the others wait. After a failure
    the next jobs do not try again.

    Args:
        archs: What to compile for, from :func:`architectures`.
        show: Called with a line for each file.
        again: Try although it failed before.

    Raises:
        BackendUnavailableError: If it does not compile, or the result does not load.
    """
    target = build_folder() / _file_name(archs)
    note = target.with_suffix(".failed")
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / "build.lock"):
        if target.is_file():
            return target
        if again:
            note.unlink(missing_ok=True)
        if note.is_file():
            raise BackendUnavailableError(
                f"gsplat's CUDA code did not compile here before ({note.read_text().strip()}); "
                f"{_DOCTOR} again"
            )
        for left in target.parent.glob("build-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as scratch:
            made = Path(scratch) / NAME / f"{NAME}.so"
            errors = _compile(Path(scratch), archs, show)
            if not errors:
                complaint = check_loads(made)
                errors = [] if complaint is None else [f"it does not load: {complaint}"]
            if errors:
                note.write_text("\n".join(errors) + "\n")
                raise BackendUnavailableError(
                    "gsplat's CUDA code does not compile here:\n"
                    + "\n".join(f"      {line}" for line in errors)
                    + f"\n{_DOCTOR}"
                )
            os.replace(made, target)
    return target


def _compile(folder: Path, archs: list[str], show: Callable[[str], None]) -> list[str]:
    """Run gsplat's own build in a folder; return the compiler's errors."""
    environment = compiler_environment() | {
        "VERBOSE": "1",
        "PYTHONUNBUFFERED": "1",
        "TORCH_EXTENSIONS_DIR": str(folder),
        "TORCH_CUDA_ARCH_LIST": ";".join(archs),
    }
    code = "from gsplat.cuda._backend import _C; raise SystemExit(_C is None)"
    tail: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail = [*tail[-400:], line.rstrip()]
            step = re.match(r"\[(\d+/\d+)\] .* -o (\S+)|\[(\d+/\d+)\]", line)
            if step:
                show(f"  [{step[1] or step[3]}] {Path(step[2] or 'linking').name}")
    if process.returncode == 0 and (folder / NAME / f"{NAME}.so").is_file():
        return []
    errors = [line for line in tail if re.search(r"\berror\b|Error|not found|Killed", line)]
    return errors[:8] or tail[-8:] or [f"the compiler ended with status {process.returncode}"]


def load_kernels() -> None:
    """Load gsplat's CUDA code; compile it first if needed.

    Raises:
        BackendUnavailableError: If gsplat is missing or of another version, if there is no GPU for
            it, or if it does not compile.
    """
    check_installed()
    import torch

    if not torch.cuda.is_available():
        raise BackendUnavailableError(
            f"gsplat needs an NVIDIA GPU, and PyTorch {torch.__version__} finds none here; set "
            "train.device and render.device to auto or cpu, or check the driver with `nvidia-smi`"
        )
    if MODULE in sys.modules:
        return
    capability = torch.cuda.get_device_capability()
    if capability < OLDEST_CAPABILITY:
        raise BackendUnavailableError(
            f"gsplat needs compute capability {'.'.join(map(str, OLDEST_CAPABILITY))} or more, "
            f"this GPU has {'.'.join(map(str, capability))}"
        )
    if in_wheel():
        try:
            importlib.import_module(MODULE)
            return
        except (ImportError, OSError) as error:
            logger.warning("the compiled code in gsplat's package does not load (%s)", error)
    path = compiled_file([capability])
    if path is not None:
        try:
            load_file(path)
            return
        except (ImportError, OSError) as error:
            logger.warning("%s does not load (%s); compiling again", path, error)
            path.unlink(missing_ok=True)
    if toolkit_home() is None:
        raise BackendUnavailableError(
            f"gsplat's CUDA code is not compiled, and there is no CUDA toolkit (nvcc); {_DOCTOR}"
        )
    logger.warning(
        "compiling gsplat's CUDA code, once for this machine: 2 to 15 minutes; "
        "`gradiseg doctor` can do it beforehand"
    )
    load_file(build(architectures([capability]), logger.info))
