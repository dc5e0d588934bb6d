"""The user's files must not lie where a rule writes: Snakemake deletes outputs before a job."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradiseg_core.config.base import Section
from gradiseg_core.config.inputs import LERF_MASK_INPUTS, named_paths, needed_downloads
from gradiseg_core.config.scene import SceneConfig

#: Folders of a scene that rules write, beside those of its variants.
SCENE_FOLDERS = (
    "scene",
    "colmap",
    "geometry",
    "masks",
    "tracking",
    "association",
    "tracks_2d",
    "figures",
    "logs",
    "benchmarks",
    ".work",
)

#: Folders that rules write for all scenes together.
_SHARED_FOLDERS = ("tables", "paper_tables")


def wrong_results(key: str, results: Path) -> list[str]:
    """Return why a folder cannot be that of the results.

    Args:
        key: The key that names it.
        results: The folder.
    """
    place = results.resolve()
    if place == Path(place.anchor):
        return [f"{key}: {results} is the root of the file system; name a folder of your own"]
    for path in (place, *place.parents):
        if path.exists() and not path.is_dir():
            what = "is" if path == place else "lies below"
            return [f"{key}: {results} {what} a file ({path}); name a folder"]
    return []


def reserved_variants(own: Sequence[str]) -> list[str]:
    """Return a problem for every own variant whose folder would be that of a stage."""
    return [
        f"own_variants.{name}: the folder {name}/ of a scene's results is taken by the workflow; "
        f"call the variant something else, such as '{name}_variant'"
        for name in own
        if name in SCENE_FOLDERS or name == "branches"
    ]


def overlaps(
    scenes: Mapping[str, Mapping[str, Section]],
    variants: Mapping[str, Sequence[str]],
    results: Path,
    downloads: Path,
    folder: Path,
) -> dict[str, list[str]]:
    """Return by scene the paths that lie in, or hold, a folder that a rule writes.

    Args:
        scenes: Per scene, the resolved sections that run, by stage name.
        variants: The variants of each scene.
        results: Folder of the results.
        downloads: Folder of the downloads.
        folder: Start of relative paths.
    """
    written = [results / name for name in _SHARED_FOLDERS]
    for name in scenes:
        written += [results / name / below for below in (*SCENE_FOLDERS, *variants[name])]
    for sections in scenes.values():
        written += [downloads / download.path for download in needed_downloads(sections)]
    places = {path: _places(folder / path) for path in written}
    found: dict[str, list[str]] = {}
    for name, sections in scenes.items():
        for stage, section in sections.items():
            for field, value in named_paths(section):
                key = f"scenes.{name}.{'' if stage == 'scene' else stage + '.'}{field}"
                clash = _clash(section, folder / value, places)
                if clash is not None:
                    found.setdefault(name, []).append(
                        f"{key}: {value} overlaps with {clash}, which the workflow "
                        "deletes and writes again: your files there would be lost; copy "
                        "them to another place (or choose other `results`), and name "
                        "the copy"
                    )
    return found


def _clash(section: Any, path: Path, places: Mapping[Path, set[str]]) -> Path | None:
    """Return a written folder that overlaps with the files read from a path, or None."""
    named = _places(path)
    trees = [part for below in _read(section, path) for part in _places(below)]
    for written, texts in places.items():
        if any(_below(place, text) for place in (*named, *trees) for text in texts):
            return written
        if any(_below(text, tree) for tree in trees for text in texts):
            return written
    return None


def _read(section: Any, path: Path) -> Iterator[Path]:
    """Yield the files and folders that are read as a whole."""
    if not isinstance(section, SceneConfig):
        yield path
    elif section.source == "folder":
        # Only photographs are read from the folder itself, so results may lie in a folder below.
        yield from (path / part for part in ("images", "sparse", "colmap/sparse"))
        if path.name.startswith("images"):
            yield from (path.parent / part for part in ("sparse", "colmap/sparse"))
    elif section.source == "lerf_mask":
        yield from (path / part for part in LERF_MASK_INPUTS)
    else:
        yield from path.glob("images*")
        yield path / "sparse"


def _places(path: Path) -> set[str]:
    """Return a path as written, and with its links resolved."""
    return {os.path.abspath(path), str(path.resolve())}


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
