"""Which modules of this package a Python file runs, found without importing anything.

Snakemake reruns a job when its script changes, but does not look into the modules that the script
imports. The workflow therefore names them as inputs: :func:`closure` follows the import statements
of a script through the package, lazy imports inside functions included, so that a changed module
reruns exactly the stages that use it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
PACKAGE = PACKAGE_DIR.name


def closure(scripts: Iterable[Path]) -> list[Path]:
    """Return every file of this package that the scripts import, directly or not, sorted.

    Importing ``a.b.c`` runs ``a/__init__.py`` and ``a/b/__init__.py`` as well; they are included.
    Strings that spell a module of the package (as the values of a backend registry do) count as
    imports. Imports under ``if TYPE_CHECKING:`` do not run and are left out.

    Args:
        scripts: Python files inside or outside the package; they are not part of the result.
    """
    seen: set[Path] = set()
    waiting = [Path(script).resolve() for script in scripts]
    while waiting:
        for name in imported_names(waiting.pop()):
            for path in _files_of(name):
                if path not in seen:
                    seen.add(path)
                    waiting.append(path)
    return sorted(seen)


def third_party(files: Iterable[Path]) -> set[str]:
    """Return the top-level names that the files import from outside this package."""
    tops = {name.partition(".")[0] for file in files for name in imported_names(Path(file))}
    return tops - {PACKAGE}


@cache
def imported_names(file: Path) -> frozenset[str]:
    """Return the absolute dotted names in the file's import statements.

    ``from a import b`` yields ``a.b``, whether ``b`` is a module or a function.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    names: set[str] = set()
    for node in _running_nodes(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute_base(node, file)
            names.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            dotted = node.value.partition(":")[0]
            if dotted.startswith(f"{PACKAGE}.") and _module_file(dotted.split(".")) is not None:
                names.add(dotted)
    return frozenset(names)


def _running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the tree without the bodies of ``if TYPE_CHECKING:``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _running_nodes(other)
        else:
            yield from _running_nodes(child)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _absolute_base(node: ast.ImportFrom, file: Path) -> str:
    if node.level == 0:
        return node.module or ""
    if not file.is_relative_to(PACKAGE_DIR):
        raise ValueError(f"{file}: relative import outside the package {PACKAGE}")
    folder = file.parent.relative_to(PACKAGE_DIR.parent).parts
    parts = list(folder[: len(folder) - (node.level - 1)])
    return ".".join([*parts, node.module] if node.module else parts)


def _files_of(name: str) -> list[Path]:
    """Return the files that run when ``name`` is imported: its packages, and itself if a module."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return []
    files = (_module_file(parts[:end]) for end in range(1, len(parts) + 1))
    return [file for file in files if file is not None]


@cache
def _cached_module_file(parts: tuple[str, ...]) -> Path | None:
    path = PACKAGE_DIR.parent.joinpath(*parts)
    for candidate in (path / "__init__.py", path.with_name(path.name + ".py")):
        if candidate.is_file():
            return candidate
    return None


def _module_file(parts: list[str]) -> Path | None:
    return _cached_module_file(tuple(parts)) if all(p.isidentifier() for p in parts) else None
