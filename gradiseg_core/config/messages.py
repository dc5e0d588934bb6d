"""Turn validation errors into messages that name the full key and the nearest valid one."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gradiseg_core.config.base import NAME

_PLAIN = {
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "string_type": "expected text",
    "path_type": "expected a path",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a mapping (key: value)",
    "model_type": "expected a mapping (key: value)",
    "none_required": "expected null",
    "missing": "is required",
}


class BelowError(ValueError):
    """What a validator found wrong with keys below its own.

    Attributes:
        lines: As :func:`explain` returns them; each begins with the key.
    """

    def __init__(self, lines: list[str]) -> None:
        """Set up."""
        super().__init__("; ".join(lines))
        self.lines = lines


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest valid name, or the list of all."""
    options = list(valid)
    lowered = {option.lower(): option for option in options}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{lowered[close[0]]}'?"
    return f"; valid: {', '.join(options)}" if options else ""


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return one line per wrong key: its full path, what is wrong, and what would be right.

    Args:
        error: What pydantic raised.
        model: The model that was validated.
        prefix: Path of the model's own key, such as ``"scenes.kitchen"``.
    """
    lines: dict[tuple[str, bool], list[str]] = {}
    items = error.errors(include_url=False)
    for item in items:
        if item["type"] == "too_short" and any(
            other is not item and other["loc"][: len(item["loc"])] == item["loc"] for other in items
        ):
            continue  # a consequence of the wrong items that the other errors name
        of_name = item["loc"][-1:] == ("[key]",)  # the name of an entry, not what it holds
        keys, holder = _walk(model, item["loc"][:-1] if of_name else item["loc"])
        path = _dotted([prefix, *keys] if prefix else keys)
        raised = item.get("ctx", {}).get("error")
        if isinstance(raised, BelowError):
            for line in raised.lines:
                key, _, what = line.partition(": ")
                lines.setdefault((f"{path}.{key}", False), []).append(what)
            continue
        lines.setdefault((path, of_name), []).append(_what(item, keys, holder))
    return [f"{path or 'config'}: {_merge(whats)}" for (path, _), whats in lines.items()]


def _what(item: Any, keys: Sequence[str | int], holder: type[BaseModel] | None) -> str:
    kind, given = item["type"], item.get("input")
    if kind == "extra_forbidden":
        instead = getattr(holder, "removed", {}).get(keys[-1])
        if instead:
            return instead
        below = _key_of_entries(str(keys[-1]), holder)
        if below:
            return f"is no key here; it belongs below: `{below}`"
        return f"unknown key{nearest(keys[-1], holder.model_fields if holder else ())}"
    if kind == "missing":
        return _PLAIN[kind]
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "literal_error":
        instead = getattr(holder, "removed", {}).get(f"{keys[-1]}: {given}" if keys else "")
        if instead:
            return instead
        valid = [
            text.strip("' ") for text in item["ctx"]["expected"].replace(" or ", ",").split(",")
        ]
        return f"expected one of {', '.join(valid)}, got {given!r}{_did_you_mean(given, valid)}"
    if kind == "too_short":
        count = item["ctx"]["min_length"]
        return f"expected at least {count} entr{'y' if count == 1 else 'ies'}, got {_plain(given)}"
    if kind == "string_pattern_mismatch" and item["ctx"]["pattern"] == NAME:
        return (
            "the name becomes a folder: it must begin with a letter (a to z) or a digit, and have "
            "letters, digits, _ and - alone"
        )
    text = _PLAIN.get(kind) or item["msg"].replace("Input should be", "must be")
    return f"{text}, got {given!r}"


def _plain(given: object) -> object:
    """Return a list as YAML has it."""
    return list(given) if isinstance(given, tuple) else given


def _key_of_entries(key: str, holder: type[BaseModel] | None) -> str | None:
    """Return where a key belongs that entries by name have, such as ``scenes.<name>.path``."""
    for field, info in (holder.model_fields if holder else {}).items():
        annotation = _unwrap(info.annotation)
        if get_origin(annotation) is not dict:
            continue
        entry = _unwrap(get_args(annotation)[1])
        if isinstance(entry, type) and issubclass(entry, BaseModel) and key in entry.model_fields:
            return f"{field}.<name>.{key}"
    return None


def _did_you_mean(given: object, valid: Sequence[str]) -> str:
    hint = nearest(given, valid)
    return hint if "did you mean" in hint else ""


def _merge(whats: Sequence[str]) -> str:
    """Join the complaints of the alternatives of one key ('a whole number' or 'one of ...')."""
    unique = list(dict.fromkeys(whats))
    heads = [what.rpartition(", got ")[0] or what for what in unique[:-1]]
    return " or ".join([*heads, unique[-1].removeprefix("expected ") if heads else unique[-1]])


def _walk(
    model: type[BaseModel], loc: Sequence[str | int]
) -> tuple[list[str | int], type[BaseModel] | None]:
    """Return the keys of ``loc`` that the user wrote, and the innermost model on the way.

    Pydantic adds names of union members after the last field; they are dropped.
    """
    keys: list[str | int] = []
    current: Any = model
    holder: type[BaseModel] | None = model
    for step in loc:
        current = _unwrap(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            holder = current
            keys.append(step)
            field = current.model_fields.get(str(step))
            current = field.annotation if field else None
        elif get_origin(current) is dict:
            keys.append(step)
            current = get_args(current)[1]
        elif isinstance(step, int):
            keys.append(step)
            current = None
    return keys, holder


def _unwrap(annotation: Any) -> Any:
    """Return the model, mapping or list inside ``X | None``; anything else as it is."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            if get_origin(member) is dict or (
                isinstance(member, type) and issubclass(member, BaseModel)
            ):
                return member
    return annotation


def _dotted(keys: Iterable[str | int]) -> str:
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f"{'.' if text else ''}{key}"
    return text
