"""Checks that need more than one field: names, files, and combinations across sections."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gradiseg_core.config.backends import BackendConfig
from gradiseg_core.config.base import Section
from gradiseg_core.config.datasets import dataset_path, images_folder
from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.inputs import made_folder, named_paths, needed_downloads
from gradiseg_core.config.messages import nearest
from gradiseg_core.config.offline import missing_offline
from gradiseg_core.config.photo_files import VIDEO_SUFFIXES, is_video
from gradiseg_core.config.scene import DEMO_FOLDER
from gradiseg_core.errors import InputError
from gradiseg_core.prompts import read_ground_truth

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def is_scene_name(name: str) -> bool:
    """Whether a scene may be called so: letters of any script, digits, - and _, no mark first."""
    return bool(name) and name[0].isalnum() and all(map(is_of_a_name, name))


def is_of_a_name(character: str) -> bool:
    """Whether a character may be in the name of a scene, which becomes a folder and a target."""
    # Marks are accents, and vowels of Indic scripts and Thai.
    return (
        character in "-_" or character.isalnum() or unicodedata.category(character).startswith("M")
    )


def scene_names(scenes: Any, reserved: Collection[str] = ()) -> list[str]:
    """Return problems with the names of scenes, which become folders and targets.

    Args:
        scenes: The value of ``scenes`` in the file.
        reserved: Names that are taken.
    """
    if not isinstance(scenes, Mapping):
        return []
    problems = []
    for name in scenes:
        if not isinstance(name, str) or not is_scene_name(name):
            problems.append(
                f"scenes.{name}: a scene's name may hold letters, digits, '-' and '_' only, and "
                "starts with a letter or digit"
                + ("" if isinstance(name, str) else "; quote it: YAML reads it as another type")
            )
        elif name in reserved:
            problems.append(
                f"scenes.{name}: this name is taken by the workflow; call the scene something "
                f"else, such as '{name}_scene'"
            )
    return problems


def repeated(key: str, values: Sequence[object]) -> list[str]:
    """Return a problem if a value is listed twice."""
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    return [f"{key}: listed more than once: {', '.join(twice)}"] if twice else []


def booleans_as_numbers(raw: Any, valid: Any, path: str = "") -> list[str]:
    """Return a problem for every key with ``true`` or ``false`` where a number is expected.

    Pydantic reads them as 1 and 0 (text such as "1e-3" must stay readable as a number: YAML 1.1
    takes it for a string).
    """
    if isinstance(raw, bool) and not isinstance(valid, bool):
        return [f"{path}: expected {type(valid).__name__}, got {raw}"]
    if isinstance(raw, Mapping) and isinstance(valid, list | tuple):
        raw = [raw]  # one entry, such as an edit of one operation, may be written without its list
    if isinstance(raw, Mapping):
        children = [
            (key, value, getattr(valid, key, None) if isinstance(valid, BaseModel) else valid[key])
            for key, value in raw.items()
            if value is not None  # null may leave an entry of a mapping out
        ]
    elif isinstance(raw, list | tuple) and isinstance(valid, list | tuple):
        children = list(zip(range(len(raw)), raw, valid, strict=True))
    else:
        return []
    return [
        line
        for key, value, below in children
        for line in booleans_as_numbers(value, below, f"{path}.{key}" if path else str(key))
    ]


def copies(scenes: Mapping[str, Any]) -> list[str]:
    """Return problems with scenes of `source: copy`, which name another scene."""
    problems = []
    for name, scene in scenes.items():
        if scene.of is None:
            continue
        others = [other for other, entry in scenes.items() if entry.of is None]
        if scene.of not in scenes:
            hint = nearest(scene.of, others)
            problems.append(f"scenes.{name}.of: no scene is called '{scene.of}'{hint}")
        elif scene.of not in others:
            problems.append(
                f"scenes.{name}.of: '{scene.of}' is a copy itself; name the scene that it copies"
            )
    return problems


def absent(
    scenes: Mapping[str, Any],
    downloads: DownloadsConfig,
    folder: Path,
    made: Sequence[Path] = (),
) -> dict[str, str]:
    """Return the scenes whose photographs are missing and will not be fetched, and why.

    Args:
        scenes: Entries of `scenes`.
        downloads: Section `downloads`.
        folder: What relative paths start from.
        made: Folders that other rules make, which need not be there yet.
    """
    found = {}
    made = [folder / path for path in made]
    for name, scene in scenes.items():
        if scene.path is not None and made_folder(folder / scene.path, made):
            continue
        if scene.path is not None and not (folder / scene.path).exists():
            found[name] = f"no photographs at {scene.path}"
        elif scene.dataset is not None and downloads.offline:
            below = dataset_path(Path(downloads.folder), scene.source, scene.dataset, scene.factor)
            if not (folder / below).exists():
                found[name] = "offline, and never fetched"
    copies = {name: scene.of for name, scene in scenes.items() if scene.of in found}
    return found | {name: f"copies {other}, which is absent" for name, other in copies.items()}


def files(
    name: str, sections: Mapping[str, Section], folder: Path, made: Sequence[Path] = ()
) -> list[str]:
    """Return the folders that a scene's sections name and that are missing or do not fit.

    Args:
        name: The scene's name.
        sections: Its resolved sections by stage name.
        folder: What relative paths start from.
        made: Folders that other rules make: what is in them, or will be, is theirs.
    """
    problems = []
    made = [folder / path for path in made]
    for stage, section in sections.items():
        for field, value in named_paths(section):
            if stage.endswith("grounding") and field == "manual.selection":
                continue  # a selection that does not exist yet falls back to the best overlap
            key = f"scenes.{name}.{field}" if stage == "scene" else f"scenes.{name}.{stage}.{field}"
            if made_folder(folder / value, made) is None and not (folder / value).exists():
                kind = "file" if value.suffix else "folder"
                hint = _nearest_sibling(folder, value)
                problems.append(f"{key}: no such {kind}: {value}{hint}")
    if problems:
        return problems
    scene: Any = sections["scene"]
    made_here = scene.path is not None and made_folder(folder / scene.path, made) is not None
    layout = [] if made_here else _layout(name, scene, folder)
    return layout + _of_backends(name, sections, folder, made_here)


def _nearest_sibling(folder: Path, value: Path) -> str:
    """Suggest a folder of a similar name beside the missing one."""
    parent = (folder / value).parent
    if not parent.is_dir():
        return ""
    names = [path.name for path in parent.iterdir() if path.is_dir()]
    hint = nearest(value.name, names)
    return hint if "did you mean" in hint else ""


def _layout(name: str, scene: Any, folder: Path) -> list[str]:
    if scene.source == "demo" and not (DEMO_FOLDER / "images").is_dir():
        return [
            f"scenes.{name}.source: the embedded scene is part of GradiSeg's repository and is "
            f"not at {DEMO_FOLDER}; take a clone of the repository, or a scene of your own"
        ]
    if scene.path is None:
        return []
    path = folder / scene.path
    if not path.is_dir():
        if scene.source == "folder" and is_video(path):
            return []
        return [
            f"scenes.{name}.path: {scene.path} is a file; give the folder that holds the images, "
            f"or a video ({', '.join(VIDEO_SUFFIXES)})"
        ]
    if scene.source == "mipnerf360":
        return _mipnerf360_layout(name, scene, path)
    if scene.source != "lerf_mask":
        return []
    if not (path / "images").is_dir():
        return [
            f"scenes.{name}.path: no folder images/ in {scene.path}, so it does not have "
            "LERF-Mask's layout; for a plain folder of photographs leave out `source: lerf_mask`"
        ]
    if (path / "test_mask").is_dir() and not (path / "images_train").is_dir():
        return [
            f"scenes.{name}.path: {scene.path} has test_mask/ but no images_train/, so the views "
            "of its masks are not known; add images_train/ with the training views"
        ]
    try:
        read_ground_truth(path / "ground_truth.json")
    except InputError as error:
        return [f"scenes.{name}.path: {error}"]
    return []


def _mipnerf360_layout(name: str, scene: Any, path: Path) -> list[str]:
    images = images_folder(scene.factor)
    if (path / images).is_dir():
        return []
    there = [factor for factor in (1, 2, 4, 8) if (path / images_folder(factor)).is_dir()]
    hint = f"; there are images for factor: {', '.join(map(str, there))}" if there else ""
    return [
        f"scenes.{name}.path: no folder {images}/ in {scene.path}, which `factor: {scene.factor}` "
        f"asks for{hint}"
    ]


def offline(
    name: str,
    sections: Mapping[str, Any],
    downloads: DownloadsConfig,
    folder: Path,
    edits: Iterable[Section] = (),
) -> list[str]:
    """Return the missing downloads of a scene if the network is not used.

    Args:
        name: The scene's name.
        sections: Its resolved sections by stage name.
        downloads: Section `downloads`.
        folder: What relative paths start from.
        edits: The operations of its edits.
    """
    if not downloads.offline:
        return []
    problems = []
    for stage, what, page, below in needed_downloads(sections, edits):
        target = Path(downloads.folder) / below
        if not (folder / target).exists():
            key = f"scenes.{name}.dataset" if stage == "scene" else f"scenes.{name}.{stage}"
            problems.append(f"{key}: {missing_offline(what, page, target)}")
    return problems


def same_grounding_twice(name: str, sections: Mapping[str, Any]) -> list[str]:
    """Refuse a second grounding by the backend of the first."""
    second = sections.get("second_grounding")
    if second is None or second.backend != sections["grounding"].backend:
        return []
    return [
        f"scenes.{name}.second_grounding.backend: '{second.backend}' is the backend of "
        "`grounding` already; name another, or remove `second_grounding`"
    ]


def surface_of_terms(name: str, sections: Mapping[str, Any], terms: Collection[str]) -> list[str]:
    """Refuse loss terms that read the surface of a scene that makes none.

    Args:
        name: Of the scene.
        sections: Of the stages that run.
        terms: The loss terms of a training that read it.
    """
    if "geometry" in sections:
        return []
    return [
        f"scenes.{name}.train.terms.{term}: reads the surface of stage `geometry`, which does not "
        "run for this scene; write `tracking: {backend: geometry}`, or leave the term out "
        f"(`train: {{terms: {{{term}: null}}}}`)"
        for term in terms
    ]


def _of_backends(name: str, sections: Mapping[str, Any], folder: Path, made: bool) -> list[str]:
    """Return the problems that the chosen backends find in their options."""
    problems = []
    for stage, section in sections.items():
        if isinstance(section, BackendConfig) and _runs(stage, sections):
            found = section.options.problems(
                sections["scene"], folder, "all" if stage == "tracking_2d" else "train", made=made
            )
            problems += [
                f"scenes.{name}.{stage}.{section.backend}.{key}: {why}"
                for key, why in found.items()
            ]
    return problems


def _runs(stage: str, sections: Mapping[str, Any]) -> bool:
    trackers = [sections[name] for name in ("tracking", "tracking_2d") if name in sections]
    return stage != "masks" or any(tracker.may_need_masks for tracker in trackers)
