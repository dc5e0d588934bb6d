"""Where kernels written in Triton can run; does not import Triton.

Triton comes with PyTorch on Linux. For tests its interpreter runs the same kernels on a CPU, slowly
(set ``TRITON_INTERPRET=1`` before anything imports Triton).
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec

import torch

OLDEST_CAPABILITY = (8, 0)  # its tensor cores have TF32 and bfloat16, which the kernels use


@cache
def is_installed() -> bool:
    """Tell whether Triton is there."""
    return find_spec("triton") is not None


def interpreted() -> bool:
    """Tell whether Triton's interpreter runs the kernels."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def runs_on(device: torch.device) -> bool:
    """Tell whether the kernels can run on tensors of a device, without waiting for it."""
    if not is_installed():
        return False
    if device.type == "cpu":
        return interpreted()
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    return torch.cuda.get_device_capability(device) >= OLDEST_CAPABILITY


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one, on which Triton launches its kernels."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def processors(device: torch.device) -> int:
    """Return the number of a GPU's multiprocessors; 2 in the interpreter."""
    if device.type != "cuda":
        return 2
    return torch.cuda.get_device_properties(device).multi_processor_count
