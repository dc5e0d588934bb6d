"""How a user calls `gradiseg` and `snakemake` here, for commands that messages name."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = __name__.partition(".")[0]


def gradiseg() -> list[str]:
    """Return the beginning of a command of `gradiseg`, as this process was called."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == _PACKAGE:
        return [*_python(), "-m", _PACKAGE]
    return [_typed("gradiseg", called) if called.name == "gradiseg" else "gradiseg"]


def snakemake() -> list[str]:
    """Return the beginning of a command of the Snakemake that lies beside this interpreter."""
    beside = Path(sys.executable).with_name("snakemake")
    if not beside.is_file():
        return [*_python(), "-m", "snakemake"]
    return [_typed("snakemake", beside)]


def nearest_path(path: Path, start: Path) -> Path:
    """Return a path as it is shortest to write in a folder: relative to it, or absolute.

    Args:
        path: Any path.
        start: The folder.
    """
    whole = os.path.abspath(path)
    return Path(min(os.path.relpath(whole, start), whole, key=len))


def _python() -> Sequence[str]:
    return [_typed(Path(sys.executable).name, Path(sys.executable))]


def _typed(name: str, path: Path) -> str:
    """Return a program's name where that finds it, else its path from the working directory."""
    found = shutil.which(name)
    if found is not None and os.path.abspath(found) == os.path.abspath(path):
        return name
    return os.fspath(nearest_path(path, Path.cwd()) if path.is_absolute() else path)
