"""Parts of training: strategies and loss terms, each one file, found by its name.

The file is ``gradiseg_core/splatting/<kind>/<name>.py``; the kind is ``strategies`` or ``terms``,
and ``splatting/parts.py`` describes its contents. The parts of the paper have their options in
section ``train``. A further part has them in its own file, as ``Options``, and runs if the
configuration names it::

    train:
      strategies:
        my_strategy: {every: 500}

``{}`` takes the defaults; null leaves a part out, for example in a scene or a variant. These files
import PyTorch, which takes seconds, so one is imported only if it is named.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import SerializeAsAny, ValidationError, WithJsonSchema

from gradiseg_core.config.base import Section, imported, lacking, model_below, shadowing
from gradiseg_core.errors import ConfigError

_PACKAGE = f"{__package__.partition('.')[0]}.splatting"
#: The paper's own parts, whose options are in section ``train``.
OWN = {
    "strategies": ("densification", "igd", "mcmc", "near"),
    "terms": ("photometric", "identity", "spatial"),
}
#: Files of the folders that are not parts; other helpers start with an underscore.
HELPERS = ("surgery",)


class PartOptions(Section):
    """Options of a strategy or a loss term."""

    def file(self, key: str) -> str | None:
        """Return the name of the file that reads them; None if the part does not run.

        Args:
            key: Key of the options in the configuration.
        """
        return key


#: Further parts: the name of each, and its options.
FurtherParts = dict[
    str,
    Annotated[SerializeAsAny[PartOptions], WithJsonSchema({"type": ["object", "null"]})],
]


def load(kind: str, name: str) -> ModuleType:
    """Return the module of a part.

    Args:
        kind: ``strategies`` or ``terms``.
        name: Name of the file.

    Raises:
        ConfigError: If the file cannot be imported, or lacks something that a part must hold.
    """
    what = {"strategies": "strategy", "terms": "loss term"}[kind]
    module = imported(f"{_PACKAGE}.{kind}.{name}", f"{what} `{name}`")
    contents: dict[str, Any] = {"make": ("a function", callable)}
    if name not in OWN[kind]:
        contents["Options"] = ("a class derived from PartOptions", model_below(PartOptions))
    wrong = lacking(module, contents)
    if wrong:
        raise ConfigError(
            f"{module.__file__} lacks {wrong}; splatting/parts.py says what the file of a "
            f"{what} holds"
        )
    shadowed = "" if name in OWN[kind] else shadowing(module.Options, PartOptions)
    if shadowed:
        raise ConfigError(
            f"{module.__file__}: PartOptions has something called {shadowed} itself; give the "
            "option another name"
        )
    return module


def path_of(kind: str, name: str) -> Path:
    """Return where the file of a part lies, without importing it."""
    spec = find_spec(f"{_PACKAGE}.{kind}.{name}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).resolve()


def names(kind: str) -> list[str]:
    """Return the parts of a kind, sorted."""
    folders = importlib.import_module(f"{_PACKAGE}.{kind}").__path__
    files = (file for folder in folders for file in Path(folder).glob("*.py"))
    stems = {file.stem for file in files if not file.stem.startswith(("_", "."))}
    return sorted(stems.difference(HELPERS))


def further(kind: str, given: Mapping[str, Any], context: Any) -> dict[str, PartOptions]:
    """Return the options of further parts, each validated by its file's ``Options``.

    A part that is null in the configuration is left out.

    Args:
        kind: ``strategies`` or ``terms``.
        given: Options of each part, from the configuration.
        context: Context of pydantic's validation.

    Raises:
        ValueError: If there is no such part, it has a section of its own, or its options are wrong.
        ConfigError: If its file is wrong.
    """
    found = {}
    for name, values in given.items():
        if name not in names(kind):
            from gradiseg_core.config.messages import nearest

            raise ValueError(f"there is no {name!r}{nearest(name, names(kind))}")
        if name in OWN[kind]:
            raise ValueError(f"{name!r} is configured by the keys of section `train`, not here")
        if values is None:
            continue
        model = load(kind, name).Options
        try:
            found[name] = model.model_validate(values, context=context)
        except ValidationError as error:
            from gradiseg_core.config.messages import explain

            raise ValueError("; ".join(explain(error, model, name))) from error
        file = found[name].file(name)
        if file is not None and file not in names(kind):
            raise ValueError(
                f"`file` of the options of {name!r} returns {file!r}, which is no file"
            )
    return found
