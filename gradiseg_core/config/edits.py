"""Section `edits`: what is made of trained scenes, as lists of operations under names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from gradiseg_core.config.base import NAME, Conflict, InputPath, Section, option
from gradiseg_core.config.filling import Fill, Filled, fill_option
from gradiseg_core.config.picks import EVERYTHING, StoredSelection, Vector, What, stored

_UNITS = "units of the model"
#: Names that always mean the same, and no new object may have.
RESERVED = (EVERYTHING, "background")
_LONGEST_NAME = 100


class Operation(Section):
    """One operation; the key of its name says what it is done to."""

    #: Its name in the configuration.
    name: ClassVar[str]

    @property
    def whats(self) -> tuple[Any, ...]:
        """What it names: one part of a scene, or several."""
        return (getattr(self, self.name),)

    @property
    def stored(self) -> list[StoredSelection]:
        """The selections of files that it names."""
        return [entry for what in self.whats for entry in stored(what)]

    def weights(self) -> dict[str, Path | None]:
        """Return the checkpoints that it needs, as :meth:`Section.weights`."""
        fill = getattr(self, "fill", True)
        return fill.weights() if isinstance(fill, Fill) else {}


def shadow_option(default: bool = True) -> Any:
    """Return the field of an operation that may take a shadow along."""
    return option(
        default,
        "With `fill`: also take its shadow from what it stood on, as far as it fades around it; "
        "`swap`: false.",
    )


def _new_name(value: str | None) -> str | None:
    """Return a name that a new object may have, blanks tidied.

    Raises:
        ValueError: If it is empty or too long, or a word or number that means something else.
    """
    if value is None:
        return None
    name = " ".join(value.split())
    if not name:
        raise ValueError("a name cannot be empty; leave `called` out for the old name")
    if name.lower() in RESERVED:
        raise ValueError(f"{name!r} has a meaning of its own; choose another name")
    if re.fullmatch(r"(id ?)?\d+", name.lower()):
        raise ValueError(f"{name!r} reads as an ID, and IDs are given; choose a name")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"a name has at most {_LONGEST_NAME} characters, got {len(name)}")
    return name


Called = Annotated[str | None, AfterValidator(_new_name)]
"""The name of a new object."""


def called_option() -> Any:
    """Return the field of an operation that makes a new object."""
    return option(
        None,
        "Name of what is new, of several things the largest; no other may have it. null: its old "
        "name, with a number.",
    )


class Remove(Operation):
    """Take something out of the scene, with what it left on its neighbours."""

    name = "remove"
    remove: What = option(..., "What goes.")
    fill: Filled = fill_option()
    shadow: bool = shadow_option()
    cut: bool = option(True, "Cut Gaussians that reach across the boundary.")
    halo: bool = option(
        True, "Also take its inside, and neighbours that training views show as a part of it."
    )


class Keep(Operation):
    """Take everything else out of the scene."""

    name = "keep"
    keep: What = option(..., "What stays.")
    cut: bool = option(True, "Cut Gaussians that reach across the boundary.")


class Recolour(Operation):
    """Give something another colour; its shading stays."""

    name = "recolour"
    recolour: What = option(..., "What changes.")
    colour: str = option(
        ..., "A name of CSS, `#rrggbb`, `rgb(r, g, b)`, or a list of three, 0 to 255."
    )

    @field_validator("colour", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return _hexadecimal(value)
        if isinstance(value, str):
            value = value.strip()
            rgb(value)
        return value


class _Placed(Operation):
    """What moves things; they turn and grow around the middle of what they stand on."""

    by_m: Vector = option((0.0, 0.0, 0.0), "Shift along x, y, z.", unit=_UNITS)
    rotate_deg: Vector = option((0.0, 0.0, 0.0), "Turn around x, then y, then z.", unit="degrees")
    factor: float = option(1.0, "Scale factor.", gt=0)
    axes: Literal["support", "world"] = option(
        "support",
        "x, y, z of what things stand on (z is up), or of the `world`, the model's own.",
    )
    cut: bool = option(True, "Cut Gaussians that reach across the boundary.")

    def conflicts(self) -> list[Conflict]:
        """Something must change."""
        if self.by_m == self.rotate_deg == (0.0, 0.0, 0.0) and self.factor == 1.0:
            return [Conflict((), "nothing would change: give by_m, rotate_deg or factor")]
        return []


class Move(_Placed):
    """Move something; it may turn and grow on the way."""

    name = "move"
    move: What = option(..., "What moves.")
    fill: Filled = fill_option()
    shadow: bool = shadow_option()


class Rotate(_Placed):
    """Turn something where it stands."""

    name = "rotate"
    rotate: What = option(..., "What turns.")


class Scale(_Placed):
    """Make something larger or smaller where it stands."""

    name = "scale"
    scale: What = option(..., "What grows.")


class Duplicate(_Placed):
    """Put a copy of something elsewhere; the copy is an object of its own."""

    name = "duplicate"
    duplicate: What = option(..., "What is copied.")
    called: Called = called_option()


class Swap(Operation):
    """Let each of two things stand where the other stood, in the shadow that the other left."""

    name = "swap"
    swap: tuple[What, What] = option(..., "The two.")
    fill: Filled = fill_option()
    shadow: bool = shadow_option(False)
    cut: bool = option(True, "Cut Gaussians that reach across the boundary.")

    @property
    def whats(self) -> tuple[Any, ...]:
        """The two."""
        return self.swap


class Insert(Operation):
    """Put something of another trained scene into this one."""

    name = "insert"
    insert: What = option(..., "What it is called there.")
    scene: InputPath = option(..., "The other scene's run, `<results>/<scene>/<variant>/seed<n>`.")
    at_m: Vector | None = option(
        None,
        "Where the middle of its foot comes to lie; null: the free place nearest to the middle of "
        "this scene's objects.",
        unit=_UNITS,
    )
    rotate_deg: Vector = option((0.0, 0.0, 0.0), "Turn around x, then y, then z.", unit="degrees")
    factor: float = option(1.0, "Scale factor.", gt=0)
    called: Called = called_option()


class Style(Operation):
    """Give something the colours of a picture: their mean and how they vary together."""

    name = "style"
    style: What = option(..., "What changes.")
    like: InputPath = option(..., "The picture.")
    strength: float = option(1.0, "How much of the way to the picture's colours.", ge=0, le=1)


#: Every operation by its name.
OPERATIONS: dict[str, type[Operation]] = {
    model.name: model
    for model in (Remove, Keep, Recolour, Move, Rotate, Scale, Duplicate, Swap, Insert, Style)
}


def operation(given: Any) -> Operation:
    """Return a validated operation: the one of whose name there is a key.

    Raises:
        ValueError: If it is none, or its values are wrong.
    """
    if isinstance(given, Operation):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"expected a mapping such as {{remove: red apple}}, got {given!r}")
    names = [key for key in given if key in OPERATIONS]
    if not given:
        raise ValueError(f"the entry is empty; write one of {', '.join(OPERATIONS)}")
    if not names:
        from gradiseg_core.config.messages import nearest

        key = next(iter(given))
        raise ValueError(f"{key!r} is no operation{nearest(key, OPERATIONS)}")
    if len(names) > 1:
        raise ValueError(
            f"{' and '.join(names)} are {len(names)} operations in one entry; write one entry for "
            f"each: [{{{names[0]}: ...}}, {{{names[1]}: ...}}]"
        )
    model = OPERATIONS[names[0]]
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        from gradiseg_core.config.messages import explain

        lines = [line.removeprefix("config: ") for line in explain(error, model)]
        raise ValueError("; ".join(lines)) from error


def operations(given: Any) -> tuple[Operation, ...]:
    """Return validated operations, in order.

    Raises:
        ValueError: Of everything that is wrong, with its number in the list, from 1.
    """
    if isinstance(given, Mapping | Operation):
        given = [given]
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise ValueError("expected a list of operations such as [{remove: red apple}]")
    found, wrong = [], []
    for number, entry in enumerate(given, 1):
        try:
            found.append(operation(entry))
        except ValueError as error:
            wrong.append(f"operation {number}: {error}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(found)


def written(operation: Operation) -> dict[str, Any]:
    """Return an operation as a user may write it: JSON types, without defaults."""
    values = operation.model_dump(mode="json", exclude_defaults=True)
    return {operation.name: values.pop(operation.name), **values}


_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "oneOf": [{"required": [name]} for name in OPERATIONS],
    },
}

Edit = Annotated[
    tuple[SerializeAsAny[Operation], ...], BeforeValidator(operations), WithJsonSchema(_SCHEMA)
]
"""A list of operations, done one after the other."""

Edits = dict[Annotated[str, Field(pattern=NAME)], Edit]
"""Edits by name; each name is a folder and a target."""


def read_by(edit: Sequence[Operation]) -> list[Path]:
    """Return what an edit reads beside the trained scene: files, and runs of other scenes."""
    return list(
        dict.fromkeys(
            [path for _, path in own_files(edit)]
            + [step.scene for step in edit if isinstance(step, Insert)]
        )
    )


def rgb(colour: str) -> tuple[float, float, float]:
    """Return a colour, 0..1.

    Raises:
        ValueError: If there is no such colour.
    """
    if re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        return tuple(int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5))  # type: ignore[return-value]
    from PIL import ImageColor

    try:
        values = ImageColor.getrgb(colour)
    except ValueError as error:
        near = get_close_matches(colour.lower(), ImageColor.colormap, n=1, cutoff=0.7)
        meant = f"did you mean {near[0]!r}?" if near else "write #rrggbb or a name of CSS"
        raise ValueError(f"there is no colour {colour!r}; {meant}") from error
    if len(values) > 3:
        raise ValueError(
            f"{colour!r} has a fourth number, for transparency, which no colour of an edit has; "
            f"write {'#{:02x}{:02x}{:02x}'.format(*values[:3])}"
        )
    return tuple(value / 255.0 for value in values[:3])  # type: ignore[return-value]


def _hexadecimal(values: Sequence[Any]) -> str:
    """Return `#rrggbb` of three numbers from 0 to 255."""
    if len(values) != 3 or any(type(v) is not int or not 0 <= v <= 255 for v in values):
        raise ValueError(
            "expected a name of CSS, #rrggbb, or three whole numbers from 0 to 255, got "
            f"{list(values)}"
        )
    return "#{:02x}{:02x}{:02x}".format(*values)


def own_files(edit: Sequence[Operation]) -> Iterator[tuple[str, Path]]:
    """Yield the user's own files that an edit reads, each with its key below the edit."""
    for index, step in enumerate(edit):
        if isinstance(step, Style):
            yield f"[{index}].like", step.like
        for selection in step.stored:
            yield f"[{index}].{step.name}", selection.file
        for path in filter(None, step.weights().values()):
            yield f"[{index}].fill.checkpoint", path


def with_weights(edit: Sequence[Operation], lama: Path) -> list[Operation]:
    """Return operations in which LaMa's file is named wherever it is not.

    Args:
        edit: The operations.
        lama: The downloaded file.
    """
    return [
        step.model_copy(update={"fill": step.fill.model_copy(update={"checkpoint": lama})})  # type: ignore[attr-defined]
        if None in step.weights().values()
        else step
        for step in edit
    ]
