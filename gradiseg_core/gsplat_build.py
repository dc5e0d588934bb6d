"""Loading gsplat's CUDA code, which its first use on a machine compiles.

gsplat's package holds sources; the first call compiles them into PyTorch's folder for extensions
(``TORCH_EXTENSIONS_DIR``, by default below ``~/.cache/torch_extensions``). That takes minutes, and
two processes that do it at once delete each other's files, so that it happens under a lock here.
``python -m gradiseg_core.doctor`` does it ahead, with progress.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gradiseg_core.config.base import Device
from gradiseg_core.devices import locked
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.foundation.device import choose_device

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

VERSION = "1.5.3"
NAME = "gsplat_cuda"  # of the extension, in gsplat/cuda/_backend.py
_DOCTOR = "`python -m gradiseg_core.doctor` says which versions clash"


def installed_version() -> str | None:
    """Return gsplat's version, or None where it is not installed."""
    try:
        return version("gsplat")
    except PackageNotFoundError:
        return None


def toolkit_home() -> Path | None:
    """Return the folder of the CUDA toolkit with its headers, or None.

    PyTorch takes the folder above ``nvcc``, which is wrong where ``nvcc`` on the path is a mere
    script that calls the real one; ``nvcc`` itself knows.
    """
    named = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    candidates = [Path(value) for value in named if value]
    nvcc = shutil.which("nvcc")
    if nvcc is not None:
        told = subprocess.run(
            [nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True, check=False
        )
        candidates += [
            Path(line.partition("TOP=")[2].strip()).resolve()
            for line in told.stderr.splitlines()
            if "TOP=" in line
        ]
    candidates.append(Path("/usr/local/cuda"))
    for home in candidates:
        if (home / "bin" / "nvcc").is_file() and _header(home) is not None:
            return home
    return None


def _header(home: Path) -> Path | None:
    places = ("include", "targets/x86_64-linux/include", "targets/sbsa-linux/include")
    found = (home / place / "cuda_runtime.h" for place in places)
    return next((path for path in found if path.is_file()), None)


def prepare_environment() -> None:
    """Let PyTorch's compiler find the toolkit and ninja, where nobody told it."""
    beside = str(Path(sys.executable).parent)  # ninja, where the environment is not activated
    path = os.environ.get("PATH", "")
    if shutil.which("ninja") is None and beside not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([beside, path])
    home = toolkit_home()
    if home is None:
        return
    os.environ["CUDA_HOME"] = str(home)
    extension = sys.modules.get("torch.utils.cpp_extension")
    if extension is not None:  # it read the variable when it was imported
        extension.CUDA_HOME = str(home)  # type: ignore[attr-defined]


def build_folder() -> Path:
    """Return the folder that gsplat is compiled in, for this Python and this PyTorch."""
    import torch
    from torch.utils import cpp_extension

    root = os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root()
    if "TORCH_EXTENSIONS_DIR" not in os.environ:
        cuda = (torch.version.cuda or "").replace(".", "")
        variant = f"cu{cuda}" if cuda else "cpu"
        root = str(Path(root) / f"py{sys.version_info[0]}{sys.version_info[1]}_{variant}")
    return Path(root) / NAME


def is_compiled() -> bool:
    """Tell whether a compiled gsplat is there for this Python and this PyTorch."""
    found = find_spec("gsplat")
    if found is not None and found.origin and list(Path(found.origin).parent.glob("csrc.*so")):
        return True  # a wheel that was built ahead
    return (build_folder() / f"{NAME}.so").is_file()


def check_installed() -> None:
    """Refuse a missing gsplat, or another than the one that the adapter is written for.

    Raises:
        BackendUnavailableError: If there is no gsplat of :data:`VERSION`.
    """
    found = installed_version()
    if found is None:
        raise BackendUnavailableError(
            "training on a GPU needs gsplat, which is not installed: pip install "
            f'"gsplat=={VERSION}" ninja (the extra `cuda`), or set train.device: cpu'
        )
    if found.split("+")[0] != VERSION:
        raise BackendUnavailableError(
            f"gsplat {found} is installed, but the adapter is written for {VERSION}: "
            f"pip install gsplat=={VERSION}"
        )


def training_device(wanted: Device, key: str) -> torch.device:
    """Return the device that Gaussians live on: CUDA needs a GPU and gsplat.

    Args:
        wanted: Value of the configuration.
        key: Its key, for the message.

    Raises:
        BackendUnavailableError: If CUDA is asked for and there is no GPU, or gsplat is missing.
    """
    import torch

    device = choose_device(wanted, key)
    if device.type == "cuda" and wanted == "auto" and installed_version() is None:
        logger.warning(
            "there is a GPU, but gsplat is not installed, so the CPU is used: pip install "
            '"gsplat==%s" ninja (the extra `cuda`) trains many times faster',
            VERSION,
        )
        return torch.device("cpu")
    if device.type == "cuda":
        check_installed()
    return device


def load_kernels() -> None:
    """Import gsplat's CUDA code, compiling it where that has not been done.

    Raises:
        BackendUnavailableError: If gsplat is missing, of another version, or does not compile.
    """
    check_installed()
    import torch

    if not torch.cuda.is_available():
        raise BackendUnavailableError(
            f"gsplat needs an NVIDIA GPU, and PyTorch {torch.__version__} finds none here; set "
            "train.device and render.device to cpu, or check the driver with `nvidia-smi`"
        )
    folder = build_folder()
    if not is_compiled():
        logger.warning(
            "gsplat's CUDA code is compiled now, once for this machine: 2 to 15 minutes; "
            "`python -m gradiseg_core.doctor` shows progress"
        )
        prepare_environment()
    try:
        with locked(folder.parent / "gradiseg_gsplat.lock"):
            from gsplat.cuda._backend import _C
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BackendUnavailableError(
            f"gsplat's CUDA code does not compile or load here ({reason}); {_DOCTOR}"
        ) from error
    if _C is None:
        raise BackendUnavailableError(
            f"gsplat's CUDA code is not compiled and there is no CUDA toolkit (nvcc); {_DOCTOR}"
        )
