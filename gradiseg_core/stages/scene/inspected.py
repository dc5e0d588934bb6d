"""Photographs that were inspected before their stage ran, so that it need not decode them again.

`gradiseg run` looks at all of them before it plans (:mod:`.before_plan`). What it found lies in
`results/<scene>/.work/` until stage `scene` has used it; a file that changed since is looked at
again.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core.files.images import Depth
from gradiseg_core.files.work_files import write_whole
from gradiseg_core.stages.scene.inspecting import SMALL, Photograph

logger = logging.getLogger(__name__)

Known = Mapping[Path, Photograph]
"""Photographs by whole path."""

_FILE = Path(".work", "inspected.npz")
_PLAIN = ("name", "size", "turn", "as_is", "brightest", "peak", "exposure")


def save_inspected(scene: Path, photographs: Iterable[Photograph]) -> None:
    """Write down what photographs are.

    Args:
        scene: Folder of the scene's results.
        photographs: From :func:`gradiseg_core.stages.scene.inspecting.inspect`.
    """
    photographs = list(photographs)
    facts = [_facts(photo) for photo in photographs]
    none = np.zeros((SMALL, SMALL, 3), np.uint8)
    small = [none if photo.small is None else photo.small for photo in photographs]
    path = scene / _FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"facts": np.array(json.dumps(facts)), "small": np.array(small)}
    write_whole(path, lambda file: np.savez(file, **arrays))


def load_inspected(scene: Path) -> dict[Path, Photograph]:
    """Return the photographs that are written down and whose files are as they were.

    Args:
        scene: Folder of the scene's results.
    """
    found = {}
    try:
        with np.load(scene / _FILE) as content:
            facts, small = json.loads(str(content["facts"])), content["small"]
        for one, picture in zip(facts, small, strict=True):
            path = Path(one["path"])
            if path.is_file() and _stamp(path) == tuple(one["stamp"]):
                found[path] = _photograph(path, one, picture)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        logger.info("%s is of no use (%s); photographs are inspected again", scene / _FILE, error)
        return {}
    return found


def forget_inspected(scene: Path) -> None:
    """Remove what is written down, once it was used."""
    (scene / _FILE).unlink(missing_ok=True)


def of_path(known: Known, path: Path) -> Photograph | None:
    """Return the photograph of a path, however it is written; None where it is not known."""
    found = known.get(Path(os.path.abspath(path)))
    return None if found is None else replace(found, path=path)


def _facts(photo: Photograph) -> dict[str, Any]:
    path = Path(os.path.abspath(photo.path))
    return {
        "path": str(path),
        "stamp": _stamp(path),
        "depth": None if photo.depth is None else list(photo.depth),
        "has_small": photo.small is not None,
        **{key: getattr(photo, key) for key in _PLAIN},
    }


def _photograph(path: Path, facts: Mapping[str, Any], small: np.ndarray) -> Photograph:
    plain = {key: facts[key] for key in _PLAIN}
    depth = None if facts["depth"] is None else Depth(*facts["depth"])
    width, height = plain.pop("size")
    return Photograph(
        path,
        size=(width, height),
        depth=depth,
        small=small if facts["has_small"] else None,
        **plain,
    )


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file does: its size and its time."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns
