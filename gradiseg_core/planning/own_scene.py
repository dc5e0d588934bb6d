"""A folder of photographs, or a video, as a scene: its name and its configuration file."""

from __future__ import annotations

import json
import os
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from gradiseg_core.config.checks import is_of_a_name, is_scene_name
from gradiseg_core.config.messages import nearest
from gradiseg_core.config.photo_files import (
    LEAST_PHOTOGRAPHS,
    VIDEO_SUFFIXES,
    files_below,
    is_begun,
    is_photo,
    is_video,
    needed,
)
from gradiseg_core.config.quality import Quality
from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import load
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.planning.budgets import photographs_of
from gradiseg_core.planning.place import CONFIGURATIONS, FOLDER, is_configuration
from gradiseg_core.stages.scene.listing import too_few

#: Names of folders that say nothing of what is photographed.
_OF_ANY = {
    *("images", "image", "imgs", "img", "input", "rgb", "frames", "raw", "jpg", "jpeg", "jpegs"),
    *("photos", "photo", "photographs", "pictures", "pics", "foto", "fotos", "bilder", "heic"),
    *("dcim", "camera", "camera roll", "camera uploads", "exports", "export"),
}
_OF_A_CARD = re.compile(r"\d{3}[A-Za-z0-9_]{5}")  # 101CANON: folders below DCIM (JEITA CP-3461)
#: Folders above one's own, whose names say nothing either.
_OF_MACHINES = {
    *("home", "users", "mnt", "media", "volumes", "run", "tmp", "root", "data", "work"),
    *("desktop", "documents", "downloads", "download", "library", "sdcard", "storage"),
}

#: Folders of a scene's results with pictures.
_MADE = {"scene", "colmap", "geometry", "masks", "tracking", "tracks_2d", "figures", "association"}

_TEXT = """\
# Made by `gradiseg run`, and yours to change: what is written here is never overwritten.
# `gradiseg run {file}` goes on where it stopped, and makes again what a change concerns.
# All keys: docs/configuration.md.
scenes:
  {name}:
    path: {path}

# draft: a first look, about 8 minutes on two cores. standard: about 30. paper: the paper's 30,000
# iterations at full size, for a GPU. What it means here is in {results}/<scene>/budget.json.
quality: {quality}

# What is written wins over `quality`, for example
# train: {{iterations: 10000, longest_side: 960}}
# tracking: {{geometry: {{granularity: parts}}}}  # finer objects; `groups`: coarser ones
"""


@dataclass(frozen=True)
class OwnScene:
    """A scene for `gradiseg run`.

    Attributes:
        configfile: Its configuration.
        text: What is to be written there; None where the file is there already.
        note: What a user should know about its name; None where there is nothing.
    """

    configfile: Path
    text: str | None = None
    note: str | None = None

    def write(self) -> None:
        """Write the configuration, where it is new.

        Raises:
            InputError: If another run has written it since this one began.
        """
        if self.text is None:
            return
        try:
            with self.configfile.open("x", encoding="utf-8") as file:
                file.write(self.text)
        except FileExistsError as error:
            if not self.configfile.exists():  # a link that leads nowhere
                raise
            raise InputError(
                f"another run is at work here: it has just written {self.configfile}. "
                "`gradiseg status` shows it; let it end, or stop it (Ctrl+C in its terminal), and "
                "give this command again"
            ) from error


def one_path(paths: Sequence[Path]) -> Path:
    """Return what a user means who gives several paths, as a shell makes them of `photos/*`.

    Args:
        paths: One or more.

    Raises:
        InputError: If they are not all photographs and videos of one folder.
    """
    if len(paths) == 1:
        return paths[0]
    parents = {path.parent for path in paths}
    folder = next(iter(parents))
    if all(path.is_dir() for path in paths):
        ways = "; ".join(f"gradiseg run {shlex.quote(str(path))}" for path in paths[:3])
        raise InputError(
            f"{len(paths)} folders are given, and a run makes one scene. A scene each: {ways}"
            f"{'; ...' if len(paths) > 3 else ''}. All as one scene: give the folder that they are "
            "in, whose sub-folders belong to it"
        )
    if len(parents) == 1 and all(path.exists() for path in paths):
        given = {photo for path in paths for photo in _photographs_in(path)}
        every = set(_photographs_in(folder))
        if every and every <= given:
            return folder
        if given and all(path.is_file() for path in paths):
            raise InputError(
                f"{len(given)} of the {len(every)} photographs and videos in {folder} are given, "
                "and a scene is a folder: put these into one of their own (links will do), or give "
                f"all, `gradiseg run {shlex.quote(str(folder))}`"
            )
    raise InputError(
        f"{len(paths)} paths are given ({', '.join(map(str, paths[:3]))}"
        f"{', ...' if len(paths) > 3 else ''}), and a run makes one scene: give one folder, video "
        "or configuration; names with spaces need quotes"
    )


def _photographs_in(path: Path) -> list[Path]:
    files = [path] if path.is_file() else files_below(path)
    return [file for file in files if is_photo(file) or is_video(file)]


def scene_of(path: Path, quality: Quality, reserved: Collection[str]) -> OwnScene:
    """Return the scene that a user means.

    A configuration lies in the working directory, as results do. That of a folder is found by the
    folder's name and by the path in it, so that two folders of one name become two scenes.

    Args:
        path: A folder of photographs, a video, or a configuration file.
        quality: Written into a new configuration.
        reserved: Names that no scene may have.

    Raises:
        InputError: If there is no such folder, or it holds too few photographs.
        ConfigError: If a configuration that may be the folder's is not valid.
    """
    if is_configuration(path):
        return OwnScene(path)
    _check(path)
    wanted = _called(path.resolve())
    name = scene_name(wanted, reserved)
    for candidate in _candidates(name, reserved):
        configfile = Path(f"{candidate}.yaml")
        if configfile.is_file():
            if _is_of(configfile, path):
                return OwnScene(configfile)
            continue
        if Path("results", candidate).exists():
            continue
        note = None
        if candidate != name:
            note = f"the scene is called {candidate}: {name} is another folder's here"
        elif candidate != wanted:
            note = (
                f"the scene is called {candidate}: names have letters, digits, - and _ only, and "
                "those of the workflow's targets are taken"
            )
        text = _TEXT.format(
            file=configfile, name=_quoted(candidate), path=_written(path), results="results",
            quality=quality,
        )  # fmt: skip
        return OwnScene(configfile, text, note)
    raise AssertionError("there is always another number")


@contextmanager
def naming(configfile: Path) -> Iterator[None]:
    """Name a configuration file in the errors of what it says.

    Args:
        configfile: The file that the body validates.

    Raises:
        ConfigError: That of the body.
    """
    try:
        yield
    except ConfigError as error:
        text = str(error).replace("the configuration is", f"{configfile} is", 1)
        raise ConfigError(text) from error


def _called(path: Path) -> str:
    """Return what a user calls a folder or a video: a folder `images` is that of the one above."""
    if path.is_file():
        return path.stem
    telling = next(folder for folder in (path, *path.parents) if not _says_nothing(folder.name))
    nobodys = telling in (Path.home(), FOLDER) or telling.name.lower() in _OF_MACHINES
    return telling.name if telling == path or not (nobodys or telling.name == "") else path.name


def _says_nothing(name: str) -> bool:
    return name.lower() in _OF_ANY or _OF_A_CARD.fullmatch(name) is not None


def scene_name(text: str, reserved: Collection[str]) -> str:
    """Return a name that a scene may have and that is like a folder's.

    Args:
        text: The folder's name.
        reserved: Names that are taken by the workflow.
    """
    # macOS gives letters with accents as two characters each; they are typed as one.
    plain = "".join(
        letter if is_of_a_name(letter) else " " for letter in unicodedata.normalize("NFC", text)
    )
    name = re.sub(r"[ _]*\s[ _]*", "_", plain).strip("_- ")
    name = name if is_scene_name(name) else "scene"
    return f"{name}_scene" if name in reserved or name == "scene" else name


def _candidates(name: str, reserved: Collection[str]) -> Iterator[str]:
    yield name
    number = 2
    while True:
        if f"{name}_{number}" not in reserved:
            yield f"{name}_{number}"
        number += 1


def _is_of(configfile: Path, path: Path) -> bool:
    """Tell whether a configuration has a scene of these photographs.

    Raises:
        ConfigError: If it does not say of what its scenes are, so that it may be of these.
    """
    raw = read_files([configfile])
    scenes = raw.get("scenes")
    entries = list(scenes.values()) if isinstance(scenes, dict) else []
    given = [entry.get("path") for entry in entries if isinstance(entry, dict)]
    paths = [Path(own).expanduser().resolve() for own in given if isinstance(own, str)]
    if not paths:
        with naming(configfile):
            load(raw)
    return path.resolve() in paths


def _check(path: Path) -> None:
    if not path.exists():
        raise InputError(
            f"{path}: no such folder of photographs, video or configuration{_like(path)}"
        )
    if path.is_file():
        if not is_video(path):
            raise InputError(
                f"{path} is a file, but no video ({', '.join(VIDEO_SUFFIXES)}) and no "
                f"configuration ({', '.join(CONFIGURATIONS)}); give the folder of the photographs"
            )
        return
    if not any(path.iterdir()):
        raise InputError(f"{path} is empty; {needed()}")
    results = _results_around(path.resolve())
    if results is not None:
        raise InputError(
            f"{path} belongs to the results of a scene, {results}: its pictures are no photographs "
            "to begin with. To go on with that scene, give its configuration; for a new one, the "
            "folder of its photographs"
        )
    count = photographs_of(SceneConfig(source="folder", path=path.absolute())).count
    if count is not None and count < LEAST_PHOTOGRAPHS:
        raise InputError(too_few(path, count, nested=True))
    try:
        os.fspath(path.resolve()).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the name of {os.fsencode(path)!r} is not in UTF-8, so that no configuration can hold "
            "it; rename the folder, or make a link of another name to it"
        ) from error


def _results_around(path: Path) -> Path | None:
    """Return the scene's results that a folder is or that a stage made it in; None if in none."""
    for folder in (path, *path.parents):
        if not ((folder / "scene" / "scene.json").is_file() or is_begun(folder)):
            continue
        inner = path.relative_to(folder).parts
        if not inner or inner[0] in _MADE or any(re.fullmatch(r"seed\d+", part) for part in inner):
            return folder
    return None


def _like(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    hint = nearest(path.name, [other.name for other in path.parent.iterdir() if other.is_dir()])
    return hint if "did you mean" in hint else ""


def _written(path: Path) -> str:
    """Return a path as YAML: relative to the working directory where it is below it."""
    place = Path(os.path.abspath(path))
    here = Path.cwd()
    text = str(place.relative_to(here)) if place.is_relative_to(here) else str(place)
    if text.startswith(("~", "$")):  # which configurations read as a shell does
        text = str(place)
    return _quoted(text)


def _quoted(text: str) -> str:
    """Return text as YAML, in quotes where it would be read as anything else without them."""
    plain = re.fullmatch(r"[A-Za-z0-9_./-]+", text) and yaml.safe_load(text) == text
    return text if plain else json.dumps(text, ensure_ascii=False)
