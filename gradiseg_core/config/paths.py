"""Paths as users write them, brought into one form.

``~`` is a home directory, as in a shell; ``./x``, ``x//y`` and a slash at the end are normalised.
Environment variables are not replaced. A path that starts with one is refused, because otherwise a
folder of that name would be made or looked for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

#: Characters in a path that Snakemake reads as a wildcard (``{name}``) or a path variable
#: (``<name>``), warns about (line breaks), or cannot write (bytes that are not UTF-8).
_MARKS = re.compile("[{}<>\x00-\x1f\x7f\ud800-\udfff]")


def expanded(path: Path) -> Path:
    """Return a path with its ``~`` replaced.

    Raises:
        ValueError: If it starts with a variable, or with the ``~`` of an unknown user.
    """
    text = str(path)
    if text.startswith("$") and os.path.expandvars(text) != text:
        raise ValueError(
            f"variables such as {text.split('/')[0]} are not replaced here; write the path itself, "
            "or ~ for your home directory"
        )
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text.split('/')[0]}: {error}") from error


def named_by_rules(path: Path) -> Path:
    """Return a path that rules can name, such as those of outputs and checkpoints.

    Raises:
        ValueError: If Snakemake would interpret a part of it.
    """
    if not can_be_named(path):
        raise ValueError(
            f"Snakemake cannot use the path {str(path)!r}: braces, < and >, line breaks and spaces "
            "at an end mean something else there; use another name, or a link of another name"
        )
    # "." would be written into every path, as "./tables"; Snakemake warns of each.
    return path.absolute() if path == Path() else path


def can_be_named(path: Path) -> bool:
    """Whether Snakemake takes a path as it is, as the input or output of a rule."""
    text = str(path)
    return not _MARKS.search(text) and text == text.strip()


def _not_empty(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("the path is empty")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"the path {value!r} holds a null character")
    return value


def _folder_text(text: str) -> str:
    return str(named_by_rules(expanded(Path(text))))


#: The user's own file or folder.
UserPath = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expanded)]

#: The user's own file or folder that a rule has as a named input, such as a checkpoint.
InputPath = Annotated[
    Path, BeforeValidator(_not_empty), AfterValidator(expanded), AfterValidator(named_by_rules)
]

#: A folder or file that the workflow writes, as text.
OutputPath = Annotated[str, BeforeValidator(_not_empty), AfterValidator(_folder_text)]
