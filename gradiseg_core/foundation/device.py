"""Where a model runs, and what is said when it does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradiseg_core.config.base import Device
from gradiseg_core.errors import BackendUnavailableError

if TYPE_CHECKING:
    import torch


def choose_device(wanted: Device, key: str) -> torch.device:
    """Return the device to run a model on; `auto` takes a CUDA device where there is one.

    Args:
        wanted: Value of the configuration.
        key: Its key, for the message.

    Raises:
        BackendUnavailableError: If CUDA is asked for and PyTorch finds no CUDA device.
    """
    import torch

    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise BackendUnavailableError(
            f"{key}: cuda was asked for, but PyTorch {torch.__version__} finds no CUDA device "
            f"here; set `{key}: auto` or `cpu`, or check the driver with `nvidia-smi`"
        )
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


@contextmanager
def memory_advice(what: str, advice: str) -> Iterator[None]:
    """Turn PyTorch's out-of-memory errors of the body into one that says what to do.

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
