"""Prompts as users give them. Each becomes the name of a file: its masks, its picture."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradiseg_core.errors import InputError

_LONGEST_BYTES = 200  # file systems allow names of 255 bytes, ends such as `.png` included


def mask_file(prompt: str) -> str:
    """Return the file name of a prompt's predicted mask; a slash cannot stand in one."""
    return prompt.replace("/", "_") + ".png"


def read_ground_truth(path: Path) -> dict[str, Any] | None:
    """Read ``ground_truth.json``; return None if there is none.

    Raises:
        InputError: If it is unreadable or its prompts cannot be used; the message names them all.
    """
    if not path.is_file():
        return None
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); correct or remove it") from error
    if not isinstance(truth, dict) or not isinstance(truth.get("prompts"), list):
        raise InputError(f"{path} has no list `prompts`; correct or remove it")
    ids = truth.get("gt_id_of_prompt", {})
    wrong = wrong_prompts(truth["prompts"])
    if not isinstance(ids, dict) or not all(_is_id(value) for value in ids.values()):
        wrong.append("gt_id_of_prompt: must give every prompt a whole number, its ID in gt_ids/")
    if wrong:
        raise InputError(f"{path} cannot be used; correct these:\n  " + "\n  ".join(wrong))
    return truth


def wrong_prompts(prompts: Sequence[object]) -> list[str]:
    """Return a line for every prompt that is no text, cannot name a file, or is there twice."""
    problems = []
    seen: dict[str, str] = {}
    for index, prompt in enumerate(prompts):
        what = _problem(prompt)
        if what is None:
            assert isinstance(prompt, str)
            # Names that differ in case or in how an accent is written are one on some disks.
            name = unicodedata.normalize("NFC", mask_file(prompt)).casefold()
            if name not in seen:
                seen[name] = prompt
            elif seen[name] == prompt:
                what = "is there twice"
            else:
                what = f"and {seen[name]!r} would have files of the same name"
        if what is not None:
            problems.append(f"prompts[{index}]: {_short(prompt)} {what}")
    return problems


def _problem(prompt: object) -> str | None:
    if not isinstance(prompt, str):
        return "is no text; quote it"
    if not prompt.strip():
        return "is empty"
    if prompt.startswith("."):
        return "starts with a dot, as hidden files do"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in prompt):
        return "holds a line break or another character that cannot be in a file's name"
    if len(prompt.encode("utf-8")) > _LONGEST_BYTES:
        return f"is too long: {_LONGEST_BYTES} bytes at most, since it names files"
    return None


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(prompt: object) -> str:
    text = ascii(prompt) if isinstance(prompt, str) and not prompt.isprintable() else repr(prompt)
    return text if len(text) <= 60 else f"{text[:57]}..."
