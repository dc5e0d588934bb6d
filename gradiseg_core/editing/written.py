"""Edits and selections as users write them on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gradiseg_core.config.edits import Operation, operations
from gradiseg_core.errors import ConfigError

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene
    from gradiseg_core.editing.selection import Selection


def read_edit(text: str) -> tuple[Operation, ...]:
    """Return the operations of a list in YAML, or of a file that holds one.

    Raises:
        ConfigError: If it is no YAML, or an operation is wrong.
    """
    where = "the edit"
    if _is_file(text):
        where = text
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} cannot be read ({error})") from error
    try:
        return operations(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is no valid YAML: {error}") from error
    except ValueError as error:
        if text.endswith((".yaml", ".yml")):
            raise ConfigError(f"there is no file {text}") from error
        raise ConfigError(f"{where} is not valid: {error}") from error


def read_selections(scene: Scene, text: str, name: str) -> dict[str, Selection]:
    """Return the selection that a text in YAML means, by its name; or those of a file, by theirs.

    Raises:
        ConfigError: If it is no YAML.
        InputError: If it is not clear, or means something that there is not.
    """
    if text.endswith(".npz"):
        return scene.load_selections(text)
    return {name: scene.select(read_what(text))}


def read_what(text: str) -> Any:
    """Return what is meant, of a name, an ID, or a list or mapping in YAML.

    Raises:
        ConfigError: If it is no YAML.
    """
    text = text.strip()
    if text.isdecimal():
        return int(text)
    try:
        what = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"what is meant is no valid YAML: {error}") from error
    # A name such as `yes` or `12-1` is no truth value and no date here.
    return what if isinstance(what, Mapping | list | str) else text


def _is_file(text: str) -> bool:
    try:
        return "\n" not in text and Path(text).is_file()
    except OSError:  # a list of several operations is longer than a name may be
        return False
