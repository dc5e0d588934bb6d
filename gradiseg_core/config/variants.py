"""Variants: the trainings that a configuration compares.

A variant is a set of changes to section ``train`` of the whole method. Those that ship are in
``presets/variants.yaml``, in the form of the user's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from gradiseg_core.config.base import Section, option
from gradiseg_core.config.labels import PRESETS
from gradiseg_core.config.layers import Layer, resolve, written_in
from gradiseg_core.config.messages import nearest
from gradiseg_core.config.train import MODULES, TrainConfig


class OwnVariant(Section):
    """A variant of one's own: the whole method with other training parameters."""

    removed: ClassVar[dict[str, str]] = {
        "base": "is no longer a key: a variant lists its changes to the whole method. Instead of "
        "`base: baseline` write `train: {igd: null, la_knn: null, densification: {until: 10000}}`, "
        "instead of `base: igd` `train: {la_knn: null}`, instead of `base: la_knn` "
        "`train: {igd: null}`; leave out `base: gradiseg`",
    }

    label: str | None = option(None, "Its name in tables; null: its key.")
    train: TrainConfig | None = option(
        None,
        "Keys of section `train`; they override a scene's own.",
    )


def definitions(raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every variant that a configuration may name, as written: label and train.

    Args:
        raw: The parsed configuration file, valid.
    """
    return PRESETS | dict(raw.get("own_variants") or {})


def with_variant(train: TrainConfig, name: str) -> TrainConfig:
    """Return training parameters with the changes of a variant that ships."""
    return resolve(TrainConfig, [Layer("train", train.model_dump()), layer_of(name, PRESETS[name])])


def layer_of(name: str, entry: Mapping[str, Any]) -> Layer:
    """Return what a variant changes in section ``train``.

    Args:
        name: Its name.
        entry: Its definition.
    """
    if name in PRESETS:
        return Layer(f"variant {name}", entry.get("train") or {}, ships=True)
    return Layer(f"own_variants.{name}.train", entry.get("train") or {})


def contradicted(name: str, layers: Sequence[Layer]) -> list[str]:
    """Return where a user leaves out a module that a shipped variant is named for.

    Args:
        name: The variant.
        layers: Where its training parameters are written, its own on top.
    """
    *below, own = layers
    problems = []
    for module in MODULES if own.ships else ():
        layer = written_in(module, below)
        if own.values.get(module) is not None and layer and layer.values[module] is None:
            problems.append(
                f"{layer.path}.{module}: null leaves out what variant '{name}' trains with; take "
                f"'{name}' out of `variants`, or write one of `own_variants` with "
                f"`train: {{{module}: null}}`"
            )
    return problems


def wrong_names(
    key: str, names: Iterable[str], known: Iterable[str], folder_name: Any
) -> list[str]:
    """Return problems with a list of variants.

    Args:
        key: The list's key.
        names: Its entries.
        known: All variants.
        folder_name: Pattern of names that can be folders.
    """
    problems = []
    valid = list(known)
    for index, name in enumerate(names):
        if name not in valid:
            hint = nearest(name, valid)
            problems.append(
                f"{key}[{index}]: expected one of {', '.join(valid)}, got {name!r}"
                + (hint if "did you mean" in hint else "")
            )
        elif not folder_name.fullmatch(name):
            problems.append(
                f"own_variants.{name}: a variant's name may hold letters, digits, '-' and '_' "
                "only, and starts with a letter or digit"
            )
    return problems


def shadowed(own: Iterable[str]) -> list[str]:
    """Return a problem for every own variant that has the name of one that ships."""
    return [
        f"own_variants.{name}: there is a variant of this name already; call it something else"
        for name in own
        if name in PRESETS
    ]
