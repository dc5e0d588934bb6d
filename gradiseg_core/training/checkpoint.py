"""Checkpoints: written atomically, read without unpickling code."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

FILE_NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``state``; a kill in the middle leaves the former checkpoint whole."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE_NAME}.partial"
    torch.save(state, partial)
    os.replace(partial, folder / FILE_NAME)


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
    except (RuntimeError, EOFError, ValueError) as error:
        logger.warning("%s cannot be read (%s); training starts afresh", path, error)
        return None
    if state["fingerprint"] != fingerprint:
        logger.info("%s is of another configuration or other inputs; starting afresh", path)
        return None
    return state
