"""Variants: the trainings that a configuration compares.

A built-in variant says which of the paper's modules run. A preset or an own variant is one of
these with other training parameters, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gradiseg_core.config.base import Section, option
from gradiseg_core.config.messages import nearest
from gradiseg_core.config.train import VARIANTS, TrainConfig, Variant


class OwnVariant(Section):
    """A variant of one's own: a built-in one with other training parameters."""

    base: Variant = option(..., "The built-in variant that it starts from.")
    label: str | None = option(None, "Its name in tables; null takes its key.")
    train: TrainConfig | None = option(
        None, "What it has different in section `train`; it goes before a scene's own overrides."
    )


#: Variants that ship beside the built-in ones, as a user would write them under `own_variants`.
PRESETS: dict[str, dict[str, Any]] = {
    "gradiseg_plus": {
        "base": "gradiseg",
        "label": "GradiSeg+",
        "train": {
            "losses": {
                "robustness": 0.5,
                "disagreement_width": 0.007,
                "robust_start": 12_000,
                "identity_geometry_start": 12_000,
            },
            "labels": "probabilities",
            "near_pruning": {"ratio": 1.0},
        },
    },
}

#: Parts of ``train`` that only some variants use; the others do not rerun when they change.
_ONLY_VARIANTS: dict[str, tuple[Variant, ...]] = {
    "igd": ("igd", "gradiseg"),
    "la_knn": ("la_knn", "gradiseg"),
}


def definitions(raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every variant that a configuration may name, as written: base, label, train.

    Args:
        raw: The parsed configuration file, valid.
    """
    built_in = {name: {"base": name} for name in VARIANTS}
    return built_in | PRESETS | dict(raw.get("own_variants") or {})


def wrong_names(
    key: str, names: Iterable[str], known: Iterable[str], folder_name: Any
) -> list[str]:
    """Return what is wrong with a list of variants.

    Args:
        key: The list's key.
        names: Its entries.
        known: All variants that there are.
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
        if name in {*VARIANTS, *PRESETS}
    ]


def used_part(train: TrainConfig, base: Variant) -> dict[str, Any]:
    """Return the training parameters that a variant uses, as plain data."""
    values = train.model_dump(mode="json")
    for part, users in _ONLY_VARIANTS.items():
        if base not in users:
            values.pop(part)
    return values
