"""The base of all configuration models: frozen, typed, and documented field by field; path fields.

Each stage has one module beside this one with one model. A field's default, description, unit and
source live in its declaration, so that the JSON schema and ``docs/configuration.md`` are generated
and cannot disagree with the code. Backends, strategies and loss terms declare theirs in files of
their own, which are found by name (:func:`imported`).

In paths ``~`` is a home directory, as in a shell; ``./x``, ``x//y`` and a slash at the end are
normalised. Environment variables are not replaced. A path that starts with one is refused, because
otherwise a folder of that name would be made or looked for.
"""

from __future__ import annotations

import importlib
import os
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from gradiseg_core.errors import ConfigError

Device = Literal["auto", "cuda", "cpu"]
"""Where something runs; `auto` takes a CUDA device if there is one."""


#: Unit of a number that counts iterations of the run itself.
ITERATIONS = "iterations"
#: Unit of a number that is scaled with the length of the run
#: (:mod:`gradiseg_core.splatting.parts`). Every such number, and no other, goes through the
#: run's ``Schedule``.
OF_30_000 = "iterations of 30,000"

#: Sources of defaults that several sections name: the paper's section on its experiments, and 3DGS.
PAPER = "GradiSeg 4.1"
THREE_DGS = "3DGS"

#: Validation context of a part of a section that is merged later: only keys and types are checked.
AS_LAYER = {"layer": True}


#: Characters in a path that Snakemake reads as a wildcard (``{name}``) or a path variable
#: (``<name>``), warns about (line breaks), or cannot write (bytes that are not UTF-8).
_MARKS = re.compile("[{}<>\x00-\x1f\x7f\ud800-\udfff]")

#: What a name looks like that becomes a folder and a target.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"

#: What a file must hold, by name: a description, and a test.
Contents = Mapping[str, tuple[str, Callable[[Any], bool]]]


class Conflict(NamedTuple):
    """Values of one section that conflict.

    Attributes:
        keys: Their keys, dotted, below the section.
        why: What is wrong, and what to do.
    """

    keys: tuple[str, ...]
    why: str


class Section(BaseModel):
    """A frozen part of the configuration that refuses unknown keys."""

    # `.nan` and `.inf` are numbers of YAML, and would spread to whatever they touch.
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    #: Removed keys and what to write instead; ``"key: value"`` stands for a removed value.
    removed: ClassVar[dict[str, str]] = {}

    def conflicts(self) -> Iterable[Conflict]:
        """Return which of its values conflict.

        A check of several fields belongs here and not in a pydantic validator: file, scene and
        variant each write a part of a section, and only the merged section can be checked.
        """
        return ()

    @model_validator(mode="after")
    def _goes_together(self, info: ValidationInfo) -> Self:
        if info.context != AS_LAYER:
            whys = [conflict.why for conflict in self.conflicts()]
            if whys:
                raise ValueError("; ".join(whys))
        return self

    def changing_results(self) -> dict[str, Any]:
        """Return its values as JSON, without fields declared with ``changes_result=False``."""
        values = {}
        for name, value in self.model_dump(mode="json").items():
            extra = type(self).model_fields[name].json_schema_extra
            if isinstance(extra, dict) and extra.get("changes_result") is False:
                continue
            part = getattr(self, name)
            values[name] = part.changing_results() if isinstance(part, Section) else value
        return values

    def weights(self) -> dict[str, Path | None]:
        """Return the checkpoints that the chosen backend needs, in the order it is handed them.

        Keys are names of :func:`gradiseg_core.config.weights.checkpoints`; a value is the
        user's own file or folder, or None for the downloaded one.
        """
        return {}


def constant(name: str, file: str) -> str:
    """Return the text in :attr:`Section.removed` for a key that became a constant.

    Args:
        name: The constant's name.
        file: Its file, below ``gradiseg_core/``.
    """
    return f"is no longer a key; the value is the constant {name} in gradiseg_core/{file}"


def renamed(key: str) -> str:
    """Return the text in :attr:`Section.removed` for a key that moved: its full new name."""
    return f"is called `{key}` now"


def option(
    default: Any,
    description: str,
    *,
    unit: str | None = None,
    source: str | None = None,
    changes_result: bool = True,
    **constraints: Any,
) -> Any:
    """Declare one configuration field.

    Args:
        default: Value used when the key is absent; ``...`` makes the key required.
        description: One sentence on what the value changes.
        unit: Unit of the value, such as ``"px"``, :data:`ITERATIONS` or :data:`OF_30_000`; None for
            pure numbers.
        source: Where the default comes from (paper and section, Gaussian Grouping, 3DGS, measured).
        changes_result: Whether another value may change the result. A killed job resumes if only
            values changed that do not.
        **constraints: Passed to ``pydantic.Field`` (``ge``, ``le``, ``gt``, ``lt``, ...).

    Returns:
        A pydantic field whose JSON schema carries ``unit`` and ``source``.
    """
    extra: dict[str, Any] = {k: v for k, v in (("unit", unit), ("source", source)) if v}
    if not changes_result:
        extra["changes_result"] = False
    return Field(default, description=description, json_schema_extra=extra or None, **constraints)


def device_option() -> Any:
    """Declare the field `device` of a model that runs on a GPU or a CPU."""
    return option("auto", "`auto`: a GPU if there is one.")


def autocast_option(source: str) -> Any:
    """Declare the field `half` of a model that runs in mixed precision on a GPU by default."""
    return option(
        True,
        "Half precision on CUDA.",
        source=source,
    )


def imported(module: str, what: str) -> ModuleType:
    """Import the file of a backend, a strategy or a loss term.

    Args:
        module: Its full name.
        what: Its description, for the message.

    Raises:
        ConfigError: If it cannot be imported; the message names the file and the line.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever the code of the file raises
        raise ConfigError(
            f"{what} ({_place(module, error)}) cannot be imported: {type(error).__name__}: "
            f"{error}. Correct the file, or move it out of the folder"
        ) from error


def lacking(module: ModuleType, contents: Contents) -> str:
    """Return the missing parts of a file as text; empty if it has all."""
    return ", ".join(
        f"`{name}`, {words}"
        for name, (words, there) in contents.items()
        if not there(getattr(module, name, None))
    )


def model_below(base: type) -> Callable[[Any], bool]:
    """Return a test for ``base`` and classes derived from it."""
    return lambda part: isinstance(part, type) and issubclass(part, base)


def shadowing(options: Any, base: Any) -> str:
    """Return, as text, the options whose name ``base`` itself uses."""
    return ", ".join(f"`{name}`" for name in options.model_fields if hasattr(base, name))


def _place(module: str, error: Exception) -> str:
    spec = find_spec(module)
    file = None if spec is None else spec.origin
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{file}:{lines[-1]}" if lines else str(file)


def expanded(path: Path) -> Path:
    """Return a path with its ``~`` replaced.

    Raises:
        ValueError: If it starts with a variable, or with the ``~`` of an unknown user.
    """
    text = str(path)
    if text.startswith("$") and os.path.expandvars(text) != text:
        raise ValueError(
            f"variables such as {text.split('/')[0]} are not replaced here; write the path itself, "
            "or ~ for your home directory"
        )
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text.split('/')[0]}: {error}") from error


def named_by_rules(path: Path) -> Path:
    """Return a path that rules can name, such as those of outputs and checkpoints.

    Raises:
        ValueError: If Snakemake would interpret a part of it.
    """
    if not can_be_named(path):
        raise ValueError(
            f"Snakemake cannot use the path {str(path)!r}: braces, < and >, line breaks and spaces "
            "at an end mean something else there; use another name, or a link of another name"
        )
    # "." would be written into every path, as "./tables"; Snakemake warns of each.
    return path.absolute() if path == Path() else path


def can_be_named(path: Path) -> bool:
    """Whether Snakemake takes a path as it is, as the input or output of a rule."""
    text = str(path)
    return not _MARKS.search(text) and text == text.strip()


def _not_empty(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("the path is empty")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"the path {value!r} holds a null character")
    return value


def _folder_text(text: str) -> str:
    return str(named_by_rules(expanded(Path(text))))


#: The user's own file or folder.
UserPath = Annotated[Path, BeforeValidator(_not_empty), AfterValidator(expanded)]

#: The user's own file or folder that a rule has as a named input, such as a checkpoint.
InputPath = Annotated[
    Path, BeforeValidator(_not_empty), AfterValidator(expanded), AfterValidator(named_by_rules)
]

#: A folder or file that the workflow writes, as text.
OutputPath = Annotated[str, BeforeValidator(_not_empty), AfterValidator(_folder_text)]
