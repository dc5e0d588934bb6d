"""Options that a configuration file sets for backends that none of its scenes chooses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gradiseg_core.config.backends import names
from gradiseg_core.config.layers import Layer


def unused_options(
    layers: Iterable[tuple[str, Layer]], used: Mapping[str, Collection[str]]
) -> list[str]:
    """Return one line for each backend that has options and no use.

    A value may be there for another scene, or for a backend that is switched by hand, so it is no
    error.

    Args:
        layers: Where sections with backends are written, and the stage whose backends they name.
        used: By stage, the backends that any scene uses.
    """
    lines = []
    for stage, layer in layers:
        for name in names(stage):
            options = layer.values.get(name)
            if not isinstance(options, Mapping) or not options or name in used[stage]:
                continue
            keys = ", ".join(f"{layer.path}.{name}.{key}" for key in options)
            chosen = " and ".join(f"`{backend}`" for backend in sorted(used[stage]))
            lines.append(
                f"{keys} {'has' if len(options) == 1 else 'have'} no effect: no scene uses backend "
                f"`{name}` of `{stage}`, but {chosen}"
            )
    return list(dict.fromkeys(lines))
