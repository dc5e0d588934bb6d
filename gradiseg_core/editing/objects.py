"""The table of a trained scene's objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.editing.boxes import Box, box_around
from gradiseg_core.editing.regions import body
from gradiseg_core.errors import InputError

#: What the name of ID 0 is; prompts do not have it.
BACKGROUND = "background"


@dataclass(frozen=True)
class SceneObject:
    """One ID that Gaussians have.

    Attributes:
        id: ID; 0 is background.
        name: Of the prompt that grounding chose it for; None where there is none.
        count: Gaussians of which it is the most probable ID.
        centre: [3], mean of their centres, user's world, of its body (:func:`.regions.body`).
        box: Around most of these, user's world; its size is in the units of the user's model.
        probability: Mean over its Gaussians of the probability of the ID.
        views: Training views in which tracking saw it; None where that is unknown.
    """

    id: int
    name: str | None
    count: int
    centre: NDArray[np.float64]
    box: Box
    probability: float
    views: int | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "id": self.id,
            "name": self.name,
            "count": self.count,
            "centre": self.centre.tolist(),
            "box": self.box.as_json(),
            "probability": round(self.probability, 4),
            "views": self.views,
        }


def object_table(
    ids: NDArray[np.int64],
    certainty: NDArray[np.float32],
    points: NDArray[np.float64],
    opacities: NDArray[np.float32],
    names: Mapping[int, str],
    views: Mapping[int, int],
    up: NDArray[np.float64] | None = None,
) -> tuple[SceneObject, ...]:
    """Return a row for every ID that Gaussians have, sorted by ID, background first.

    Args:
        ids: [N] most probable IDs.
        certainty: [N] their probabilities.
        points: [N, 3] centres, user's world.
        opacities: [N] in 0..1.
        names: By ID.
        views: Training views by ID; empty where unknown.
        up: What is up in the user's world, [3], for upright boxes.
    """
    order = np.argsort(ids, kind="stable")
    present, starts = np.unique(ids[order], return_index=True)
    rows = []
    for index, members in zip(present, np.split(order, starts[1:]), strict=True):
        own = points[members][body(points[members], opacities[members])]
        rows.append(
            SceneObject(
                id=int(index),
                name=names.get(int(index)),
                count=len(members),
                centre=own.mean(axis=0),
                box=box_around(own, up),
                probability=float(certainty[members].mean()),
                views=views.get(int(index), 0) if views and index > 0 else None,
            )
        )
    return tuple(rows)


def ids_of(
    what: int | str, present: Sequence[int], prompts: Mapping[str, Sequence[int]]
) -> list[int]:
    """Return the IDs of an ID, a name or a prompt.

    A name may be a part of one prompt alone: `teapot` is `white teapot`.

    Args:
        what: As a user writes it.
        present: IDs that Gaussians have.
        prompts: IDs by prompt.

    Raises:
        InputError: If there is no such object, or several are meant; the message lists what there
            is.
    """
    if isinstance(what, int):
        if what not in present:
            raise InputError(f"no Gaussian has ID {what}; {listing(present, prompts)}")
        return [what]
    named = {**{name: list(ids) for name, ids in prompts.items()}, BACKGROUND: [0]}
    lowered = {name.lower(): ids for name, ids in named.items()}
    words = what.lower()
    matches = [name for name in named if set(words.split()) <= set(name.lower().split())]
    # A copy is called as the first with a number; the bare name means the first.
    matches = [name for name in matches if _first_of(name) not in matches]
    if words in lowered:
        found = lowered[words]
    elif len(matches) == 1:
        found = named[matches[0]]
    elif matches:
        raise InputError(
            f"{what!r} may be {', '.join(map(repr, matches))}; write one of them in full, or an ID"
        )
    else:
        meant = _meant(words, {name for name in named if set(named[name]) & set(present)})
        raise InputError(f"no object is called {what!r}{meant}; {listing(present, prompts)}")
    if not set(found) & set(present):
        raise InputError(
            f"{what!r} was not found in this scene: no ID was chosen for it, or no Gaussian has "
            f"its IDs; {listing(present, prompts)}"
        )
    return sorted(set(found) & set(present))


def check_all(
    names: Iterable[int | str], present: Sequence[int], prompts: Mapping[str, Sequence[int]]
) -> None:
    """Check that there is an object for each of some IDs and names.

    Args:
        names: As a user writes them.
        present: IDs that Gaussians have.
        prompts: IDs by prompt.

    Raises:
        InputError: If one is not there, or may be several; of all that are wrong.
    """
    there, wrong = f"; {listing(present, prompts)}", []
    for name in dict.fromkeys(names):
        try:
            ids_of(name, present, prompts)
        except InputError as error:
            wrong.append(str(error))
    if wrong:
        listed = there if any(text.endswith(there) for text in wrong) else ""
        raise InputError("; ".join(text.removesuffix(there) for text in wrong) + listed)


def _meant(words: str, names: Collection[str]) -> str:
    """Return `` (did you mean 'apple'?)`` of the nearest name or word of one; empty if far."""
    known = {name.lower() for name in names}
    known |= {word for name in known for word in name.split() if len(word) > 2}
    near = get_close_matches(words, sorted(known), n=1, cutoff=0.7)
    return f" (did you mean {near[0]!r}?)" if near else ""


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: with a number from 2 on."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name} {number}", number + 1
    return free


def check_free(name: str, present: Sequence[int], prompts: Mapping[str, Sequence[int]]) -> None:
    """Check that no object of the scene has a name, in small or large letters.

    Args:
        name: Of what is new.
        present: IDs that Gaussians have; names of what is gone are free.
        prompts: IDs by name.

    Raises:
        InputError: If one has.
    """
    for other, ids in prompts.items():
        own = sorted(set(ids) & set(present))
        if own and other.lower() == name.lower():
            raise InputError(
                f"called: {other!r} is ID {', '.join(map(str, own))} already; choose another name"
            )


def _first_of(name: str) -> str | None:
    """Return what :func:`free_name` gave a number to; None where it has none."""
    first, _, number = name.rpartition(" ")
    return first if number.isdecimal() else None


def listing(ids: Sequence[int], prompts: Mapping[str, Sequence[int]]) -> str:
    """Return what there is to choose from, for messages."""
    present = set(ids)
    named = [
        f"{prompt!r} (ID {', '.join(map(str, ids))})"
        for prompt, ids in prompts.items()
        if set(ids) & present
    ]
    rest = sorted(present - {index for ids in prompts.values() for index in ids} - {0})
    parts = [", ".join(named)] if named else []
    parts += [f"without a name: IDs {', '.join(map(str, rest))}"] if rest else []
    return "there are " + "; ".join([*parts, f"{BACKGROUND!r} (ID 0)"])
