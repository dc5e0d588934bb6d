"""Whose photograph is meant: names in a model or a file of cameras against those of a scene."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath


def match_names(wanted: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return which of a scene's views other names mean; a name that means none is left out.

    A name means a view if it is its own or its original's, else if both agree without the ending,
    else if one is the end of the other's path (``frames/1.jpg`` and ``data/frames/1.png``), and at
    last if the views' file names are all different and theirs agree. A name that could mean two
    views means none, and no view is meant twice.

    Args:
        wanted: Names, with sub-folders or without, with an ending or without.
        known: The original name (relative path) of each view, by its name.
    """
    found: dict[str, str] = {}
    wanted = list(dict.fromkeys(wanted))
    keys = {name: _parts(name) for name in wanted}
    for depth in (None, 0, *range(8, 0, -1)):
        by_key: dict[tuple[str, ...], set[str]] = {}
        for view, original in known.items():
            if view in found.values():
                continue
            for name in {view, original}:
                parts = tuple(_whole(name)) if depth is None else _parts(name)[-(depth or 99) :]
                by_key.setdefault(parts, set()).add(view)
        claims: dict[str, list[str]] = {}
        for name in wanted:
            if name in found:
                continue
            parts = tuple(_whole(name)) if depth is None else keys[name][-(depth or 99) :]
            views = by_key.get(parts, set())
            if len(views) == 1:
                claims.setdefault(next(iter(views)), []).append(name)
        found |= {names[0]: view for view, names in claims.items() if len(names) == 1}
    return found


def _whole(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _parts(name: str) -> tuple[str, ...]:
    """Return the path's parts, the last without its ending."""
    *folders, last = _whole(name) or ("",)
    # An ending is short and has no space: "photo 1.2 m" has none.
    ending = PurePosixPath(last).suffix
    if 1 < len(ending) <= 6 and " " not in ending and not ending[1:].isdigit():
        last = last[: -len(ending)]
    return (*folders, last)
