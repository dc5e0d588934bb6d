"""Import of files that are found by name; an error says which file is wrong."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from gradiseg_core.errors import ConfigError

#: What a file must hold, by name: a description, and a test.
Contents = Mapping[str, tuple[str, Callable[[Any], bool]]]


def imported(module: str, what: str) -> ModuleType:
    """Import the file of a backend, a strategy or a loss term.

    Args:
        module: Its full name.
        what: Its description, for the message.

    Raises:
        ConfigError: If it cannot be imported; the message names the file and the line.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever the code of the file raises
        raise ConfigError(
            f"{what} ({_place(module, error)}) cannot be imported: {type(error).__name__}: "
            f"{error}. Correct the file, or move it out of the folder"
        ) from error


def lacking(module: ModuleType, contents: Contents) -> str:
    """Return the missing parts of a file as text; empty if it has all."""
    return ", ".join(
        f"`{name}`, {words}"
        for name, (words, there) in contents.items()
        if not there(getattr(module, name, None))
    )


def model_below(base: type) -> Callable[[Any], bool]:
    """Return a test for ``base`` and classes derived from it."""
    return lambda part: isinstance(part, type) and issubclass(part, base)


def shadowing(options: Any, base: Any) -> str:
    """Return, as text, the options whose name ``base`` itself uses."""
    return ", ".join(f"`{name}`" for name in options.model_fields if hasattr(base, name))


def _place(module: str, error: Exception) -> str:
    spec = find_spec(module)
    file = None if spec is None else spec.origin
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{file}:{lines[-1]}" if lines else str(file)
