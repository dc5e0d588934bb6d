"""The user's files that a section names; a changed, new or removed one reruns the stage.

Snakemake reads ``{word}`` and ``<word>`` in an input as wildcards and path variables, and they
cannot be escaped. So files with such names are not inputs of a rule. Their :func:`contents` are
among its parameters instead, whose changes also rerun a job.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gradiseg_core.config.backends import BackendConfig
from gradiseg_core.config.base import Section
from gradiseg_core.config.datasets import DATASETS, dataset_path, images_folder
from gradiseg_core.config.given_model import find_given, find_ignore
from gradiseg_core.config.photo_files import files_below, is_photo, videos_of
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.config.weights import checkpoints

#: Parts of LERF-Mask's layout that stage `scene` reads.
LERF_MASK_INPUTS = (
    "images",
    "images_train",
    "test_mask",
    "sparse",
    "object_mask",
    "gt_ids",
    "ground_truth.json",
    "surface.npz",
)
#: Parts of published layouts in which only photographs are read.
_OF_PHOTOGRAPHS = {"images", "images_train", "images_2", "images_4", "images_8"}


def named_paths(section: Section, key: str = "") -> Iterator[tuple[str, Path]]:
    """Yield (key, path) of every path that a section and its own sections name.

    A path is a field of type ``Path``, or a text field called ``path`` or ``folder``.
    """
    for field, value in section:
        if isinstance(section, BackendConfig) and field == "options":
            field = section.backend  # as the user writes it
        below = f"{key}.{field}" if key else field
        if isinstance(value, Section):
            yield from named_paths(value, below)
        elif isinstance(value, Path) or (field in ("path", "folder") and isinstance(value, str)):
            yield below, Path(value)


def made_folder(path: Path, made: Iterable[Path]) -> Path | None:
    """Return the folder of ``made`` that is or holds ``path``; None if none does."""
    place = os.path.abspath(path)
    for folder in made:
        if os.path.commonpath([place, os.path.abspath(folder)]) == os.path.abspath(folder):
            return folder
    return None


def given_files(section: Section, made: Iterable[Path] = ()) -> list[Path]:
    """Return every file below the paths that a section names, sorted; hidden files are left out.

    Of a scene's folders of photographs and masks only the pictures: other files there are not read.

    A path that does not exist is skipped: :mod:`gradiseg_core.config.checks` has refused those that
    must exist.

    Args:
        section: The section that names the paths.
        made: Folders that other rules make. Their contents are not known yet, so the folder itself
            is returned.
    """
    made = list(made)
    paths = [path for _, path in named_paths(section)]
    folders = {made_folder(path, made) for path in paths} - {None}
    paths = [path for path in paths if made_folder(path, made) is None]
    masks: list[Path] = []
    if isinstance(section, SceneConfig):
        paths, masks = _without_ignore(section, paths)
    if isinstance(section, SceneConfig) and section.source == "demo":
        paths = [DEMO_FOLDER]
    if isinstance(section, SceneConfig) and section.source in ("demo", "lerf_mask"):
        paths = [path / part for path in paths for part in LERF_MASK_INPUTS]
    if isinstance(section, SceneConfig) and section.source == "mipnerf360":
        parts = (images_folder(section.factor), "sparse")
        paths = [path / part for path in paths for part in parts]
    found: set[Path] = {folder for folder in folders if folder is not None}
    if isinstance(section, SceneConfig) and section.source == "folder":
        given = [find_given(path) for path in paths]
        paths = [scene.images for scene in given]
        for sparse in filter(None, (scene.sparse for scene in given)):
            found.update(
                file for file in sparse.rglob("*") if file.is_file() and not _hidden(file, sparse)
            )
        for scene in given:
            found.update(scene.transforms)
            # Points beside them: which one is named in the file, which is not read here.
            found.update(file for one in scene.transforms[:1] for file in one.parent.glob("*.ply"))
    for path in masks:
        found.update(
            file
            for file in path.rglob("*")
            if is_photo(file) and file.is_file() and not _hidden(file, path)
        )
    for path in paths:
        if path.is_file():
            found.add(path)
        elif path.is_dir():
            if isinstance(section, SceneConfig) and section.source == "folder":
                # What lies beside the photographs (notes, Thumbs.db, a configuration) is not read.
                found.update(videos_of(path) or filter(is_photo, files_below(path)))
                continue
            only_photos = isinstance(section, SceneConfig) and path.name in _OF_PHOTOGRAPHS
            files = path.rglob("*")
            found.update(
                file
                for file in files
                if file.is_file()
                and not _hidden(file, path)
                and (is_photo(file) or not only_photos)
            )
    return sorted(found)


def _without_ignore(scene: SceneConfig, paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return a scene's own paths, and its folders of ignore masks, named or found."""
    if scene.ignore is not None:
        return (
            [path for path in paths if path != scene.ignore],
            [path for path in paths if path == scene.ignore],
        )
    found = []
    for path in [DEMO_FOLDER] if scene.source == "demo" else paths:
        images = find_given(path).images if scene.source == "folder" else path / "images"
        found.append(find_ignore(path, images))
    return paths, [folder for folder in found if folder is not None]


def contents(files: Iterable[Path]) -> dict[str, str]:
    """Return by path a digest of each file, as plain data, that changes with the file.

    Files up to 20 MB by content, as the profile has Snakemake compare its inputs; larger ones by
    size and time of change.
    """
    return {repr(str(path)): _content(path, *_size_and_time(path)) for path in files}


def _size_and_time(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@cache  # Snakemake asks for the parameters of a job several times
def _content(path: Path, size: int, time_ns: int) -> str:
    if size > 20_000_000:
        return f"{size} bytes, changed at {time_ns} ns"
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _hidden(file: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(below).parts)


class Download(NamedTuple):
    """Something that a stage needs from the network.

    Attributes:
        stage: The stage that needs it.
        name: What it is.
        page: Where it is published.
        path: Where it lies below the folder of downloads.
    """

    stage: str
    name: str
    page: str
    path: Path


def needed_downloads(sections: Mapping[str, Any], edits: Iterable[Section] = ()) -> list[Download]:
    """Return the downloads that a scene needs; the user's own files are none.

    Args:
        sections: The scene's resolved sections by stage name, those that run.
        edits: The operations of its edits.
    """
    found: list[Download] = []
    scene = sections["scene"]
    if scene.dataset is not None:
        page = DATASETS[scene.source, scene.dataset].page
        path = dataset_path(Path(), scene.source, scene.dataset, scene.factor)
        found.append(Download("scene", f"{scene.source}'s {scene.dataset}", page, path))
    trackers = [sections[stage] for stage in ("tracking", "tracking_2d") if stage in sections]
    for stage, section in sections.items():
        if stage == "masks" and not any(tracker.may_need_masks for tracker in trackers):
            continue  # the stage does not run
        found += _weights(stage, section)
    return list(dict.fromkeys([*found, *(d for step in edits for d in _weights("edits", step))]))


def _weights(stage: str, section: Section) -> Iterator[Download]:
    for name, own in section.weights().items():
        if own is None:
            checkpoint = checkpoints()[name]
            yield Download(stage, name, checkpoint.page, checkpoint.path(Path()))


def has_exact_ids(scene: SceneConfig, made: Iterable[Path] = ()) -> bool:
    """Whether the scene comes with exact object IDs of its views, so that association is scored.

    For a folder that another rule makes (``made``) this is not known: such a scene is scored only
    if the score is a target.
    """
    if scene.source == "demo":
        return True
    return (
        scene.source == "lerf_mask"
        and scene.path is not None
        and made_folder(scene.path, made) is None
        and (scene.path / "gt_ids").is_dir()
    )
