"""Files in working folders, which outlive a killed run: written whole or not at all.

A power cut or a full disk may leave any of them empty or cut short. Such a file must not stop every
later run: it is set aside under another name, with a warning, and its stage goes on with what is
left.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

logger = logging.getLogger(__name__)

UNREADABLE = ".unreadable"
#: Beside the checkpoint of a training: its iteration, and the digest of its configuration.
NOTE = "checkpoint.json"


def write_whole(path: Path, content: str | Callable[[BinaryIO], Any]) -> None:
    """Write a file so that a kill or a power cut leaves either the old or the new one, complete.

    Args:
        path: The file; its folder exists.
        content: Text (UTF-8), or what writes the content into an open file.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            if isinstance(content, str):
                file.write(content.encode("utf-8"))
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())  # or the rename may reach the disk before the content does
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def noted_iteration(folder: Path, digest: str) -> int:
    """Return the iteration of a checkpoint; 0 where there is none of such a configuration.

    Args:
        folder: Working folder of the training.
        digest: Of its configuration.
    """
    try:
        noted = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return int(noted["iteration"]) if noted["digest"] == digest else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def set_aside(path: Path, why: object, consequence: str) -> Path:
    """Rename an unreadable file to `<name>.unreadable`, with a warning; return the new path.

    Args:
        path: The file.
        why: What is wrong with it.
        consequence: What the stage does without it, for the message.
    """
    aside = path.with_name(path.name + UNREADABLE)
    os.replace(path, aside)
    logger.warning(
        "%s cannot be read (%s) and is now %s: %s; delete it when you do not need it",
        path, str(why).strip() or type(why).__name__, aside.name, consequence,
    )  # fmt: skip
    return aside


def read_json(path: Path, consequence: str) -> dict[str, Any] | None:
    """Return the object in a JSON file; None where there is none, or it had to be set aside."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return None
    except ValueError as error:  # what json and UTF-8 raise
        set_aside(path, error, consequence)
        return None
    return content
