"""Where something runs: the only module that decides it.

Stages get their device here, and training the kernels of its losses. :mod:`.devices` finds the GPUs
and keeps two jobs from taking the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradiseg_core.compute.devices import prepare_allocator, visible_devices
from gradiseg_core.config.base import Device
from gradiseg_core.errors import BackendUnavailableError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


def choose_device(
    wanted: Device, key: str, load: Callable[[], object] | None = None
) -> torch.device:
    """Return the device to run on; `auto` takes a GPU if there is one that works.

    If there is a GPU and `auto` cannot use it, a warning says why.

    Args:
        wanted: Value of the configuration.
        key: Its key, for the message.
        load: Loads code that must work on a GPU; raises BackendUnavailableError if it does not.

    Raises:
        BackendUnavailableError: If CUDA is asked for and cannot be used.
    """
    import torch

    if wanted == "cpu":
        return torch.device("cpu")
    try:
        check_cuda()
        if load is not None:
            load()
    except BackendUnavailableError as error:
        if wanted == "cuda":
            raise BackendUnavailableError(
                f"{key}: cuda was asked for, but {error}; or set `{key}: auto` (the CPU if the "
                f"GPU cannot be used) or `{key}: cpu`"
            ) from error
        if torch.cuda.is_available() or visible_devices():
            logger.warning(
                "%s: there is a GPU, but it cannot be used; taking the CPU, which is many times "
                "slower: %s",
                key,
                error,
            )
        return torch.device("cpu")
    return torch.device("cuda")


def training_device(wanted: Device, key: str) -> torch.device:
    """Return the device that Gaussians live on: CUDA needs a GPU, and gsplat loaded.

    Args:
        wanted: Value of the configuration.
        key: Its key, for the message.

    Raises:
        BackendUnavailableError: If CUDA is asked for and there is no GPU, or gsplat does not work.
    """

    def load() -> None:
        from gradiseg_core.compute import gsplat_build

        gsplat_build.load_kernels()

    return choose_device(wanted, key, load)


def check_cuda() -> None:
    """Run something on the GPU.

    Raises:
        BackendUnavailableError: If there is none, or PyTorch cannot use it: built without CUDA, a
            driver or a GPU too old for this PyTorch, a GPU that another process keeps for itself.
    """
    prepare_allocator()
    import torch

    available = torch.cuda.is_available()
    try:
        # Counting devices succeeds even if PyTorch has no code for them, and hides CUDA's error.
        torch.cuda.init()
        (torch.zeros(1, device="cuda") + 1).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        found = "cannot use the GPU" if available else "finds no CUDA device"
        raise BackendUnavailableError(
            f"PyTorch {torch.__version__} {found} here ({reason}); check the driver with "
            "`nvidia-smi`, all else with `gradiseg doctor`"
        ) from error


@dataclass(frozen=True)
class LossBackends:
    """Values of the losses' argument ``backend``.

    Attributes:
        identity: For ``identity_loss``.
        photometric: For ``photometric_loss``.
    """

    identity: str
    photometric: str


def loss_backends(device: torch.device) -> LossBackends:
    """Return the compiled losses of a device, or PyTorch's own.

    A GPU takes PyTorch's own if Triton is not installed or does not compile our kernels for it.
    """
    if device.type == "cpu":
        return LossBackends("cpu", "cpu")
    from gradiseg_core.compute.triton_runtime import runs_on

    compiled = "triton" if runs_on(device) else "torch"
    return LossBackends(compiled, compiled)


@contextmanager
def memory_advice(what: str, advice: str) -> Iterator[None]:
    """Turn PyTorch's out-of-memory errors in the body into one that says what to do.

    Args:
        what: What ran, such as a model and an image.
        advice: What to change in the configuration.

    Raises:
        BackendUnavailableError: If the device's or the machine's memory does not suffice.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        first = str(error).partition("\n")[0]
        raise BackendUnavailableError(
            f"{what} does not fit the GPU's memory ({first}); {advice}"
        ) from error
    except RuntimeError as error:
        # PyTorch has no class of its own for the CPU's allocator.
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise BackendUnavailableError(
            f"{what} does not fit this machine's memory; {advice}"
        ) from error
