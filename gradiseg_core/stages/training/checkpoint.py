"""Checkpoints: written atomically, read without unpickling code."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import torch

from gradiseg_core.files.work_files import set_aside, write_whole

logger = logging.getLogger(__name__)

FILE_NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state``; a kill in the middle leaves the former checkpoint whole."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE_NAME, lambda file: torch.save(state, file))


def load_checkpoint(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the state saved in ``folder``, or None where a run must start afresh.

    Tensors are in main memory, so that a run from another device can be resumed.

    Args:
        folder: Working folder of the run.
        fingerprint: Hash of configuration and inputs; a checkpoint of others is not resumed.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        saved = state["fingerprint"]
    except MemoryError:
        raise  # of the machine, not of the file
    except Exception as error:  # a damaged file raises nearly anything: zip, pickle, PyTorch
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a seek before its start
            raise
        set_aside(path, error, "training starts afresh")
        return None
    if saved != fingerprint:
        logger.info("%s is of another configuration or other inputs; starting afresh", path)
        return None
    return state
