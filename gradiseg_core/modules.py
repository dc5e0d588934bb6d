"""Which modules of this project a Python file runs, found without importing anything.

Snakemake reruns a job when its script changes, but does not look into the modules that the script
imports. The workflow therefore names them as inputs: :func:`closure` follows the import statements
of a script through the package, lazy imports inside functions included, so that a changed module
reruns exactly the stages that use it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent


def closure(
    scripts: Iterable[Path], without: Iterable[Path] = (), packages: Iterable[Path] = ()
) -> list[Path]:
    """Return every file of this package that the scripts import, directly or not, sorted.

    Importing ``a.b.c`` runs ``a/__init__.py`` and ``a/b/__init__.py`` as well; they are included
    unless :func:`runs_nothing`, with what they import at their top level (their functions are not
    called). A data file belongs to the modules that name it (:func:`_data`). Imports under
    ``if TYPE_CHECKING:`` do not run.

    Args:
        scripts: Python files inside or outside the package; they are not part of the result, unless
            they import one another.
        without: Modules that do not run, such as a backend that is not chosen, and whose imports
            are not followed.
        packages: Folders of further packages whose modules are followed and named as well.
    """
    roots = (PACKAGE_DIR, *(Path(package).resolve() for package in packages))
    left_out = {Path(path).resolve() for path in without}
    seen: set[tuple[Path, bool]] = set()
    waiting = [(Path(script).resolve(), True) for script in scripts]
    while waiting:
        for name in imported_names(*waiting.pop(), roots):
            for step in _files_of(name, roots):
                file, asked_for = step
                if step in seen or file in left_out or runs_nothing(file, asked_for):
                    continue
                seen.add(step)
                waiting.append(step)
    files = {path for path, _ in seen}
    return sorted(files | {data for file in files for data in _data(file)})


@cache
def runs_nothing(file: Path, asked_for: bool = False) -> bool:
    """Tell whether a file is an ``__init__.py`` that has no effect on the modules below it.

    It holds a docstring at most, or defines names and does nothing else, such as a version.

    Args:
        file: A Python file.
        asked_for: Whether something is imported from it by name. Definitions then count.
    """
    if file.name != "__init__.py":
        return False
    plain = _is_docstring if asked_for else _only_defines
    return all(plain(node) for node in _parsed(file).body)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _only_defines(node: ast.stmt) -> bool:
    """Tell whether a statement at the top of a file binds names, and runs no code but Python's."""
    match node:
        case ast.Assign(value=value):
            return _is_literal(value)
        case ast.FunctionDef(decorator_list=[]):
            return all(
                map(_is_literal, [*node.args.defaults, *filter(None, node.args.kw_defaults)])
            )
        case ast.Import(names=names):
            return all(_is_pythons(alias.name) for alias in names)
        case ast.ImportFrom(module=module, level=level):
            return level == 0 and _is_pythons(module or "")
        case ast.If(test=test, orelse=[]):
            return _is_type_checking(test)
    return _is_docstring(node)


def _is_pythons(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


@cache
def imported_names(
    file: Path, lazy: bool = True, packages: tuple[Path, ...] | None = None
) -> frozenset[str]:
    """Return the absolute dotted names in the file's import statements.

    ``from a import b`` yields ``a.b``, whether ``b`` is a module or a function.

    Args:
        file: A Python file.
        lazy: Whether imports inside functions count.
        packages: Folders of the packages in which relative imports are resolved; this package by
            default.
    """
    roots = packages or (PACKAGE_DIR,)
    names: set[str] = set()
    for node in _running_nodes(_parsed(file), lazy):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute_base(node, file, roots)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _running_nodes(node: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """Walk the tree without ``if TYPE_CHECKING:``, and without functions unless ``lazy``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _running_nodes(other, lazy)
        elif lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _running_nodes(child, lazy)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _absolute_base(node: ast.ImportFrom, file: Path, roots: tuple[Path, ...]) -> str:
    if node.level == 0:
        return node.module or ""
    root = next((root for root in roots if file.is_relative_to(root)), None)
    if root is None:
        names = ", ".join(root.name for root in roots)
        raise ValueError(f"{file}: relative import outside the packages {names}")
    folder = file.parent.relative_to(root.parent).parts
    parts = list(folder[: len(folder) - (node.level - 1)])
    return ".".join([*parts, node.module] if node.module else parts)


def _root_of(name: str, roots: tuple[Path, ...]) -> Path | None:
    """Return the folder of the package that a dotted name belongs to."""
    top = name.partition(".")[0]
    return next((root for root in roots if root.name == top), None)


def _files_of(name: str, roots: tuple[Path, ...]) -> list[tuple[Path, bool]]:
    """Return the files that run when ``name`` is imported: its packages, and itself if a module.

    The flag says whether something is imported from it by name, so that its functions may be
    called: it holds for the innermost one.
    """
    parts = name.split(".")
    root = _root_of(name, roots)
    if root is None:
        return []
    found = [_module_file(parts[:end], root) for end in range(1, len(parts) + 1)]
    files = [file for file in found if file is not None]
    return [(file, file is files[-1]) for file in files]


@cache
def _data(file: Path) -> frozenset[Path]:
    """Return the data files that a module names: those at or below its folder, by their names."""
    texts = {
        node.value
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    names = {text.rpartition("/")[2] for text in texts if "." in text[1:] and "\n" not in text}
    found = (path for name in names if _is_data(name) for path in file.parent.rglob(name))
    return frozenset(path for path in found if path.is_file())


def _is_data(name: str) -> bool:
    """Tell whether a text can be the name of a data file: no code, no page, no pattern."""
    plain = name.replace(".", "").replace("_", "").replace("-", "").isalnum()
    return plain and Path(name).suffix not in (".py", ".pyc", ".md", "")


@cache
def _cached_module_file(parts: tuple[str, ...], root: Path) -> Path | None:
    path = root.parent.joinpath(*parts)
    for candidate in (path / "__init__.py", path.with_name(path.name + ".py")):
        if candidate.is_file():
            return candidate
    return None


def _module_file(parts: list[str], root: Path) -> Path | None:
    return _cached_module_file(tuple(parts), root) if all(p.isidentifier() for p in parts) else None
