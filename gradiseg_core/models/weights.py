"""Reads tensors, and nothing else, from checkpoints, so that no file can run code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradiseg_core.errors import InputError


def load_checkpoint(path: Path, *, key: str) -> dict[str, Any]:
    """Return the tensors of a checkpoint by name, on the CPU.

    It is read by PyTorch's unpickler for tensors and plain containers (``weights_only=True``).

    Args:
        path: A file of PyTorch with a dictionary of tensors.
        key: Key of the configuration that names the file, for messages.

    Raises:
        InputError: If the file is missing, damaged, needs unrestricted unpickling, or holds
            something other than tensors.
    """
    import torch

    if not path.is_file():
        raise InputError(
            f"{key}: no file {path}; correct the path, or leave it out to have the checkpoint "
            "downloaded"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        raise InputError(
            f"{key}: {path} cannot be read as a PyTorch checkpoint of plain tensors "
            f"({str(error).strip().partition(chr(10))[0]}); download it again, and take no file "
            "that needs unrestricted unpickling"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise InputError(
            f"{key}: {path} does not hold a dictionary of tensors, so it is not a checkpoint of "
            "this model"
        )
    return state
