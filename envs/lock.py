"""Completes the environments in ``envs/`` from the lock: ``python -m envs.lock``, in `make lock`.

Each environment names the packages that its scripts import. This module writes their versions and,
below a marker, everything that these packages require in turn, all as ``requirements-dev.lock`` has
them, so that an environment made next year is the one that was tested.

What a package requires stands in the lock as a comment (``# via``) of each package that is
required: nothing is resolved again, and no network is needed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker

PYTHON = "3.11"  # of all environments
MARKER = "      # What these require, written by `make lock`:\n"
_ENTRY = re.compile(r"      - ([a-z0-9-]+)==(.+)\n")


class Locked(NamedTuple):
    """One package of the lock.

    Attributes:
        version: Its version, with the environment marker where it has one (``1.0 ; ...``).
        parents: The packages that require it.
    """

    version: str
    parents: frozenset[str]


def read_lock(text: str) -> dict[str, Locked]:
    """Return the packages of a lock file by name.

    A package that has other versions for other Pythons is there several times; the one for the
    Python of the environments is taken.

    Args:
        text: Output of ``uv pip compile`` with hashes and annotations.
    """
    found: dict[str, Locked] = {}
    for block in re.split(r"\n(?=[a-z0-9])", text):
        head = re.match(r"([a-z0-9-]+)==(.+?) *\\?\n", block)
        if head is None:
            continue
        _, _, via = block.partition("    # via")
        parents = re.findall(r"^[ #]*([a-z0-9-]+)$", via, flags=re.MULTILINE)
        if head[1] in found and not _for_our_python(head[2]):
            continue
        found[head[1]] = Locked(head[2], frozenset(parents))
    return found


def _for_our_python(version: str) -> bool:
    """Whether the marker of a locked version, if any, holds for the Python of the environments."""
    marker = version.partition(";")[2].strip()
    python = {"python_full_version": f"{PYTHON}.0", "python_version": PYTHON}
    return not marker or Marker(marker).evaluate(python)


def imported_packages(text: str) -> list[str]:
    """Return the packages that an environment names because its scripts import them."""
    return [match[1] for match in _ENTRY.finditer(text.partition(MARKER)[0])]


def completed(text: str, lock: dict[str, Locked]) -> str:
    """Return an environment file with the versions of the lock and all that its packages require.

    Args:
        text: The file; what stands below the marker is written anew.
        lock: From :func:`read_lock`.

    Raises:
        ValueError: If it names a package that the lock does not have.
    """
    named = imported_packages(text)
    unknown = sorted(set(named) - set(lock))
    if unknown:
        raise ValueError(f"the lock has no {', '.join(unknown)}; declare it in pyproject.toml")
    reached = set(named)
    while more := {name for name, entry in lock.items() if entry.parents & reached} - reached:
        reached |= more
    top = _ENTRY.sub(lambda match: _entry(match[1], lock), text.partition(MARKER)[0])
    return top + MARKER + "".join(_entry(name, lock) for name in sorted(reached - set(named)))


def _entry(name: str, lock: dict[str, Locked]) -> str:
    return f"      - {name}=={lock[name].version}\n"


def main() -> None:
    """Complete every file of ``envs/`` and ``studies/envs/``."""
    root = Path(__file__).resolve().parents[1]
    lock = read_lock((root / "requirements-dev.lock").read_text())
    folders = (root / "envs", root / "studies" / "envs")
    for path in sorted(path for folder in folders for path in folder.glob("*.yaml")):
        path.write_text(completed(path.read_text(), lock))


if __name__ == "__main__":
    main()
