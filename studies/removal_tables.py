"""Tables without a thing, or with two of them swapped, and where their pictures lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from studies.options import TabletopConfig
from studies.tabletop.objects import Thing
from studies.tabletop.viewpoints import viewpoints


def without(things: Sequence[Thing], prompt: str) -> list[Thing]:
    """Return the things but one.

    Raises:
        InputError: If there is no such thing.
    """
    index_of(things, prompt)
    return [thing for thing in things if thing.prompt != prompt]


def swapped(things: Sequence[Thing], first: str, second: str) -> list[Thing]:
    """Return the things with two in each other's places: middle of the plan, and foot.

    Raises:
        InputError: If there is no such thing.
    """
    one, two = things[index_of(things, first)], things[index_of(things, second)]
    way = _foot(two) - _foot(one)
    moved = {first: one.moved(offset=way), second: two.moved(offset=-way)}
    return [moved.get(thing.prompt, thing) for thing in things]


def edited(things: Sequence[Thing], prompts: Sequence[str]) -> list[Thing]:
    """Return the things without one, or with two swapped.

    Raises:
        InputError: If there is no such thing.
    """
    return without(things, *prompts) if len(prompts) == 1 else swapped(things, *prompts)


def truth_files(config: TabletopConfig, folder: Path) -> dict[str, Path]:
    """Return where the pictures of the test views lie, by the name of the view."""
    return {
        camera.name: folder / f"{camera.stem}.png"
        for camera, is_test in viewpoints(config)
        if is_test
    }


def ids_file(picture: Path) -> Path:
    """Return where the exact IDs of such a picture lie: those that the things have in the table."""
    return picture.parent / "ids" / picture.name


def index_of(things: Sequence[Thing], prompt: str) -> int:
    """Return the place of a thing; its exact ID is one more.

    Raises:
        InputError: If there is no such thing.
    """
    names = [thing.prompt for thing in things]
    if prompt not in names:
        raise InputError(f"no thing is called {prompt!r}; there are {', '.join(names)}")
    return names.index(prompt)


def _foot(thing: Thing) -> NDArray[np.float64]:
    low, high = thing.vertices.min(axis=0), thing.vertices.max(axis=0)
    return np.array([*(0.5 * (low + high))[:2], low[2]])
