"""Names of photographs in the scene: one flat folder, whatever sub-folders the user has."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from gradiseg_core.stages.scene.inspecting import name_in_scene

_LONGEST = 120  # bytes of a name without its ending; file systems allow 255 with all that is added
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # line breaks and the like end a line of COLMAP's files


def common_root(folder: Path, files: Iterable[Path]) -> Path:
    """Return the deepest folder below ``folder`` that holds all files."""
    parents = {str(path.parent) for path in files}
    return Path(os.path.commonpath(parents)) if parents else folder


def scene_names(files: Iterable[Path], root: Path) -> dict[Path, str]:
    """Return the name in the scene of each photograph, unique also without its ending.

    Sub-folders become a part of the name (``left/1.jpg`` is ``left_1.jpg``), and a name that is
    taken gets its ending and then a number (``1.jpg``, ``1.png`` are ``1.jpg``, ``1_png.png``).
    Letters with accents are one character each (NFC), as they are typed; macOS stores two. Of very
    long names only the end stays.

    Args:
        files: The photographs in their order: the first of a name keeps it.
        root: The folder that holds them all.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in files:
        flat = _CONTROL.sub("_", "_".join(path.relative_to(root).parts))
        wanted = _shortened(Path(name_in_scene(unicodedata.normalize("NFC", flat))))
        stem, number = wanted.stem, 1
        while stem in taken:
            ending = path.suffix.lower().removeprefix(".")
            stem = f"{wanted.stem}_{ending}" + (f"_{number}" if number > 1 else "")
            number += 1
        taken.add(stem)
        names[path] = stem + wanted.suffix
    return names


def _shortened(name: Path) -> Path:
    stem = name.stem.encode()
    if len(stem) <= _LONGEST:
        return name
    return Path(stem[-_LONGEST:].decode("utf-8", "ignore") + name.suffix)
