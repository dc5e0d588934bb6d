"""Sections that are written in layers: for all scenes, for one scene, for one variant.

A single layer is checked only for keys and types, because a layer above may change its values. The
merged section is checked for values that conflict, and messages name the keys where the user wrote
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gradiseg_core.config.base import AS_LAYER, Conflict, Section

Model = TypeVar("Model", bound=Section)


@dataclass(frozen=True)
class Layer:
    """The values of a section that are written in one place of a configuration file.

    Attributes:
        path: The place, such as ``"scenes.kitchen.train"``.
        values: The values there, possibly none.
        ships: Whether it ships and was not written by the user; ``path`` then names its owner.
    """

    path: str
    values: Mapping[str, Any]
    ships: bool = False


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` laid on it, mapping by mapping; anything else is replaced.

    So null replaces a whole mapping, and a mapping over null starts from the defaults.
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merge(below, value)
        merged[key] = value
    return merged


def resolve(model: type[Model], layers: Sequence[Layer]) -> Model:
    """Return a section with its layers merged, the last on top, not yet checked for conflicts.

    Args:
        model: The section's model.
        layers: Valid layers.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer.values)
    return model.model_validate(merged, context=AS_LAYER)


def conflicts(section: Section, layers: Sequence[Layer]) -> list[str]:
    """Return a line for every conflict in a merged section.

    Args:
        section: What :func:`resolve` made of the layers.
        layers: Where its values were written, the last on top.
    """
    lines = []
    for conflict in _all_conflicts(section):
        keys, others = [], []
        for key in conflict.keys:
            layer = written_in(key, layers)
            if layer is not None and not layer.ships:
                keys.append(f"{layer.path}.{key}")
            else:
                whose = "by default" if layer is None else f"in {layer.path}"
                others.append(f"{key} is {_shown(section, key)} {whose}")
        lines.append(
            f"{' and '.join(keys) or layers[-1].path}: {conflict.why}"
            + (f"; {', '.join(others)}" if others else "")
        )
    return lines


def written_in(key: str, layers: Sequence[Layer]) -> Layer | None:
    """Return the layer from which a section's value comes; None for the default.

    Args:
        key: Dotted, below the section.
        layers: The last on top.
    """
    for layer in reversed(layers):
        value: Any = layer.values
        for part in key.split("."):
            if not isinstance(value, Mapping):
                return None  # this layer replaces those below it
            if part not in value:
                break
            value = value[part]
        else:
            return layer
    return None


def _all_conflicts(section: Section, prefix: str = "") -> Iterator[Conflict]:
    for name, value in section:
        if isinstance(value, Section):
            yield from _all_conflicts(value, f"{prefix}{name}.")
        for key, further in value.items() if isinstance(value, Mapping) else ():
            if isinstance(further, Section):
                yield from _all_conflicts(further, f"{prefix}{name}.{key}.")
    for conflict in section.conflicts():
        yield Conflict(tuple(f"{prefix}{key}" for key in conflict.keys), conflict.why)


def _shown(section: Section, key: str) -> str:
    value: Any = section
    for part in key.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return "null" if value is None else str(value).lower() if value in (True, False) else str(value)
