"""How a part of a trained scene is named: in the configuration, on the command line, in Python.

``red apple`` is a name or prompt, ``7`` an ID, a list is all of its entries together, and a mapping
says more::

    {of: red apple, probability: 0.3, largest_part: true, grow: 0.01}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema

from gradiseg_core.config.base import Conflict, InputPath, Section, option
from gradiseg_core.errors import InputError

Vector = tuple[float, float, float]
#: Stands for all Gaussians.
EVERYTHING = "everything"


class Click(Section):
    """A pixel of a view."""

    view: str = option(..., "File name of the view.")
    at: tuple[float, float] = option(
        ..., "Column and row in the photograph as `colmap/images` has it.", unit="px"
    )


class ViewBox(Section):
    """A rectangle in a view."""

    view: str = option(..., "File name of the view.")
    box: tuple[float, float, float, float] = option(
        ..., "Left, top, right, bottom in the photograph as `colmap/images` has it.", unit="px"
    )

    def conflicts(self) -> list[Conflict]:
        """Its sides are in order."""
        left, top, right, bottom = self.box
        wrong = [
            f"{names[0]} ({low:g}) must be less than {names[1]} ({high:g})"
            for names, low, high in (
                (("left", "right"), left, right),
                (("top", "bottom"), top, bottom),
            )
            if low >= high
        ]
        why = " and ".join(wrong) + "; write [left, top, right, bottom]"
        return [Conflict(("box",), why)] if wrong else []


class StoredSelection(Section):
    """A selection in a file of `gradiseg select`."""

    file: InputPath = option(..., "The file.")
    name: str = option(..., "What the selection is called in it.")


class SpaceBox(Section):
    """A box in the user's world."""

    centre: Vector = option(..., "Its centre.", unit="units of the model")
    size: tuple[
        Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
    ] = option(..., "Its edges.", unit="units of the model")
    rotate_deg: Vector = option(
        (0.0, 0.0, 0.0), "How it is turned around x, then y, then z.", unit="degrees"
    )


def _what(value: Any) -> Any:
    """Validate a :data:`What`; messages of mappings name the key."""
    if isinstance(value, Pick):
        return value
    if isinstance(value, bool) or value is None:
        raise ValueError(f"expected an ID, a name, a list or a mapping, got {value!r}")
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"IDs start at 0, got {value}")
        return value
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("a name cannot be empty")
        return value.strip()
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("the list is empty")
        return tuple(_what(entry) for entry in value)
    if isinstance(value, Mapping):
        try:
            return Pick.model_validate(dict(value))
        except ValidationError as error:
            from gradiseg_core.config.messages import explain

            lines = [line.removeprefix("config: ") for line in explain(error, Pick)]
            raise ValueError("; ".join(lines)) from error
    raise ValueError(f"expected an ID, a name, a list or a mapping, got {value!r}")


def plain(what: Any) -> Any:
    """Return a :data:`What` as JSON types, without defaults."""
    if isinstance(what, Pick):
        return what.model_dump(mode="json", exclude_defaults=True)
    return [plain(entry) for entry in what] if isinstance(what, tuple) else what


What = Annotated[
    Any,
    PlainValidator(_what),
    PlainSerializer(plain),
    WithJsonSchema({"type": ["integer", "string", "array", "object"]}),
]
"""An ID, a name, a tuple of them, or a :class:`Pick`."""

OptionalWhat = Annotated[
    Any,
    PlainValidator(lambda value: None if value is None else _what(value)),
    PlainSerializer(plain),
    WithJsonSchema({"type": ["integer", "string", "array", "object", "null"]}),
]

_SOURCES = ("of", "any", "all", "click", "in_view", "in_box", "selection")


class Pick(Section):
    """A part of a scene, and how it is refined; the keys from `without` on apply in this order."""

    of: OptionalWhat = option(None, "An ID, a name or prompt, or a list of them.")
    any: tuple[What, ...] | None = option(None, "All of these together.", min_length=1)
    all: tuple[What, ...] | None = option(None, "What all of these share.", min_length=1)
    click: Click | None = option(
        None, "The object that makes most of a pixel: `{view: ..., at: [column, row]}`, px."
    )
    in_view: ViewBox | None = option(
        None,
        "Objects that a view shows more inside than outside: `{view: ..., box: [left, top, right, "
        "bottom]}`, px.",
    )
    in_box: SpaceBox | None = option(
        None, "Gaussians with their centre in the box: `{centre: ..., size: ..., rotate_deg: ...}`."
    )
    selection: StoredSelection | None = option(
        None,
        "One that `gradiseg select` or Python made of this training: `{file: ..., name: ...}`.",
    )
    probability: float | None = option(
        None,
        "Least probability of the IDs together; null: one is the most probable.",
        gt=0,
        lt=1,
    )
    without: OptionalWhat = option(None, "What is taken away; alone: all but this.")
    drop_floaters: bool = option(
        False, "Leave out small unconnected parts (of a fiftieth or less)."
    )
    largest_part: bool = option(False, "Keep the largest connected part alone.")
    shrink: float = option(
        0.0, "Leave out what is this near to the rest.", unit="units of the model", ge=0
    )
    grow: float = option(0.0, "Add what is this near.", unit="units of the model", ge=0)
    hull: bool = option(
        False,
        "Add all in the convex hull, as Gaussian Grouping does.",
    )

    def conflicts(self) -> list[Conflict]:
        """One source, or `without` alone."""
        given = tuple(key for key in _SOURCES if getattr(self, key) is not None)
        if len(given) > 1:
            return [Conflict(given, f"give one of {', '.join(given)}; `all` joins several")]
        if not given and self.without is None:
            return [Conflict((), f"nothing is chosen: give one of {', '.join(_SOURCES)}")]
        return []


def entries(what: Any) -> Iterator[Any]:
    """Yield the IDs, names and picks of a :data:`What`, those inside of others too."""
    if isinstance(what, tuple):
        for entry in what:
            yield from entries(entry)
        return
    yield what
    if isinstance(what, Pick):
        for inside in (what.of, what.any, what.all, what.without):
            if inside is not None:
                yield from entries(inside)


def stored(what: Any) -> Iterator[StoredSelection]:
    """Yield the selections of files in a :data:`What`."""
    for entry in entries(what):
        if isinstance(entry, Pick) and entry.selection is not None:
            yield entry.selection


def parsed(what: Any) -> Any:
    """Return a validated :data:`What`.

    Raises:
        InputError: If it is none.
    """
    try:
        return _what(what)
    except ValueError as error:
        raise InputError(f"what is meant is not clear: {error}") from error
