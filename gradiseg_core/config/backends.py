"""Backends of a stage: found by their file, described in it, listed nowhere else.

A backend is one file, ``gradiseg_core/stages/<stage>/backends/<name>.py``, and the configuration
uses its name. The file holds

- ``Options``: a :class:`BackendOptions`, its part of the configuration, ``<stage>.<name>``; the
  first line of its docstring says in the reference what the backend is;
- ``REQUIRES``: a :class:`Requires`, the environment and the machine that it needs;
- ``CHECKPOINTS``, if it has weights: a tuple of :class:`.checkpoints.Checkpoint`;
- ``run(request)``: the work, from the stage's request to its result
  (``stages/<stage>/interface.py``).

Importing the file must be quick and need no optional package: heavy imports go into functions, and
``run`` raises an error if something is missing on the machine.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

from pydantic import SerializeAsAny, create_model, model_validator
from pydantic.fields import FieldInfo

from gradiseg_core.config.base import (
    AS_LAYER,
    Contents,
    Section,
    imported,
    lacking,
    model_below,
    option,
    shadowing,
)
from gradiseg_core.errors import BackendUnavailableError, ConfigError

if TYPE_CHECKING:
    from gradiseg_core.config.checkpoints import Checkpoint
    from gradiseg_core.config.scene import SceneConfig

Split = Literal["train", "all"]

#: Message of a backend that reads ID images and has none.
NO_ID_IMAGES = (
    "`backend: precomputed` needs the folder of the ID images here, because the scene brings no "
    "object_mask/ of its own"
)

#: Stages that have backends.
STAGES = ("masks", "tracking", "grounding")
_PACKAGE = __package__.partition(".")[0]


@dataclass(frozen=True)
class Requires:
    """What a backend needs.

    Attributes:
        environment: Name of its file in ``envs/``.
        mem_mb: Memory, MB.
        runtime_min: Time limit of the job, minutes.
        gpu: Whether it can use a GPU; its options then have a field ``device``.
    """

    environment: str
    mem_mb: int = 4000
    runtime_min: int = 120
    gpu: bool = False


class BackendOptions(Section):
    """A backend's part of the configuration."""

    @property
    def needs_masks(self) -> bool:
        """Whether a backend of ``tracking`` reads the segments of stage ``masks``."""
        return False

    @property
    def needs_geometry(self) -> bool:
        """Whether a backend of ``tracking`` reads the surface of stage ``geometry``."""
        return False

    def problems(
        self, scene: SceneConfig, folder: Path, split: Split, *, made: bool
    ) -> dict[str, str]:
        """Return what is wrong with the options for a scene, before any job starts.

        Args:
            scene: Where the scene's photographs come from.
            folder: Start of relative paths.
            split: ``all`` if test views are needed as well.
            made: Whether another rule makes the scene's folder, so that its contents are not known
                yet.

        Returns:
            By key of the options, why it cannot work.
        """
        return {}

    def for_photographs(self) -> Self:
        """Return the options of a backend of ``grounding`` for the method without training.

        It has photographs and no renderings, and the IDs of the tracked views.
        """
        return self


@dataclass(frozen=True)
class Backend:
    """A backend's file.

    Attributes:
        stage: Its stage.
        name: Its name in the configuration.
        module: The file, imported.
    """

    stage: str
    name: str
    module: ModuleType

    @property
    def file(self) -> Path:
        """Where the file lies."""
        return folder_of(self.stage) / f"{self.name}.py"

    @property
    def options(self) -> type[BackendOptions]:
        """The model of its options."""
        return self.module.Options

    @property
    def requires(self) -> Requires:
        """What it needs."""
        return self.module.REQUIRES

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The weights that it may need."""
        return tuple(getattr(self.module, "CHECKPOINTS", ()))

    @property
    def given_ids(self) -> bool:
        """Whether the IDs of a backend of ``tracking`` are the user's own (``GIVEN_IDS``)."""
        return getattr(self.module, "GIVEN_IDS", False)

    def run(self, request: Any) -> Any:
        """Do the work: from the stage's request to its result."""
        return self.module.run(request)


#: What the file of a backend must hold: a description, and a test.
_PARTS: Contents = {
    "Options": ("a BackendOptions", model_below(BackendOptions)),
    "REQUIRES": ("a Requires", lambda part: isinstance(part, Requires)),
    "run": ("a function", callable),
}


def folder_of(stage: str) -> Path:
    """Return the folder of a stage's backends."""
    return Path(__file__).resolve().parents[1] / "stages" / stage / "backends"


@cache
def names(stage: str) -> tuple[str, ...]:
    """Return the backends of a stage, sorted."""
    files = folder_of(stage).glob("*.py")
    return tuple(sorted(file.stem for file in files if not file.stem.startswith(("_", "."))))


@cache
def load(stage: str, name: str) -> Backend:
    """Return a backend by its name.

    Raises:
        BackendUnavailableError: If there is none of that name, or its file is wrong.
        ConfigError: If its file cannot be imported.
    """
    if name not in names(stage):
        from gradiseg_core.config.messages import nearest

        raise BackendUnavailableError(
            f"{stage}.backend: there is no {name!r}{nearest(name, names(stage))}"
        )
    module = imported(
        f"{_PACKAGE}.stages.{stage}.backends.{name}", f"backend `{name}` of stage `{stage}`"
    )
    missing = lacking(module, _PARTS)
    if missing:
        raise BackendUnavailableError(
            f"{module.__file__} lacks {missing}; {Path(__file__).name} says what the file of a "
            "backend holds"
        )
    shadowed = shadowing(module.Options, BackendOptions)
    if shadowed:
        raise BackendUnavailableError(
            f"{module.__file__}: BackendOptions has something called {shadowed} itself; give the "
            "option another name"
        )
    _check_environment(module)
    return Backend(stage, name, module)


def _check_environment(module: ModuleType) -> None:
    """Check that a backend's environment exists, in a checkout (a wheel has no ``envs/``)."""
    folder = Path(__file__).resolve().parents[2] / "envs"
    name = module.REQUIRES.environment
    if folder.is_dir() and not (folder / f"{name}.yaml").is_file():
        from gradiseg_core.config.messages import nearest

        there = sorted(file.stem for file in folder.glob("*.yaml"))
        raise BackendUnavailableError(
            f"{module.__file__}: REQUIRES names the environment {name!r}, and there is no "
            f"envs/{name}.yaml{nearest(name, there)}"
        )


def _check_names(model: type[BackendConfig]) -> None:
    """Check that every backend's name can be a key of its stage's section.

    Raises:
        ConfigError: If a name is not plain lower case, or is already a key of the section.
    """
    for name in names(model.stage):
        file = f"backend {folder_of(model.stage) / name}.py"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
            raise ConfigError(
                f"{file}: a backend is called by lower-case letters, digits and '_', starting with "
                "a letter, and by no keyword of Python; rename the file"
            )
        if name in model.model_fields or hasattr(model, name):
            raise ConfigError(
                f"{file}: section `{model.stage}` has something called {name!r} already; rename "
                "the file"
            )


class BackendConfig(Section):
    """Configuration of a stage that has backends: the chosen one, and its options.

    Options of other backends are not part of it, so they rerun nothing. In Python, as in the
    configuration file, options are given under the backend's name:
    ``MasksConfig(backend="graph", graph={"min_area": 50})``.
    """

    stage: ClassVar[str]
    #: Fields that follow from the chosen backend and are no keys of the configuration file.
    internal: ClassVar[tuple[str, ...]] = ("options",)

    backend: str
    options: SerializeAsAny[BackendOptions] = option(
        None, "Options of the chosen backend.", validate_default=False
    )

    @model_validator(mode="before")
    @classmethod
    def _choose(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        name = values.get("backend", cls.model_fields["backend"].default)
        sections = {key: values.pop(key) for key in names(cls.stage) if key in values}
        given = values.get("options", sections.get(name))
        backend = load(cls.stage, name)
        if not isinstance(given, BackendOptions):
            given = backend.options.model_validate(given or {})
        return {**cls.with_shared(values, sections), "backend": name, "options": given}

    @classmethod
    def with_shared(cls, values: dict[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values, plus those of other backends that the stage uses: by default none."""
        return values

    @property
    def chosen(self) -> Backend:
        """The backend."""
        return load(self.stage, self.backend)

    @property
    def uses(self) -> tuple[str, ...]:
        """The backends whose options have an effect."""
        return (self.backend,)

    @property
    def files(self) -> list[Path]:
        """The files that run only for this choice of backend."""
        return [self.chosen.file]

    def weights(self) -> dict[str, Path | None]:
        """Return the checkpoints that the backend needs."""
        return self.options.weights()


def _with_backends(field: FieldInfo, stage: str) -> FieldInfo:
    """Return a field `backend` whose description explains every backend of the stage."""
    described = copy(field)
    lines = [field.description or ""]
    for name in names(stage):
        lines.append(f"`{name}`: {(load(stage, name).options.__doc__ or '').partition(chr(10))[0]}")
    described.description = " ".join(lines)
    return described


Config = TypeVar("Config", bound=BackendConfig)


@cache
def section_of(model: type[BackendConfig]) -> type[Section]:
    """Return the model of a stage's section of the configuration file: all backends' options.

    Args:
        model: The stage's own model.

    Raises:
        BackendUnavailableError: If the file of a backend is wrong, chosen or not.
        ConfigError: If it cannot be imported, or its name cannot be a key.
    """
    _check_names(model)
    fields: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        if key == "backend":
            fields[key] = (Literal[names(model.stage)], _with_backends(field, model.stage))
        elif key not in model.internal:
            fields[key] = (field.annotation, field)
    for name in names(model.stage):
        options = load(model.stage, name).options
        if options.model_fields:
            fields[name] = (options, option(options(), f"Options of backend `{name}`."))
    shared = {name: getattr(model, name) for name in ("conflicts", "removed", "__doc__")}
    base = type(model.__name__, (Section,), shared)
    return cast("type[Section]", create_model(model.__name__, __base__=base, **fields))


def chosen(model: type[Config], section: Section) -> Config:
    """Return the stage's configuration from its section of the file.

    Args:
        model: The stage's own model.
        section: An instance of :func:`section_of`.
    """
    keys = (*model.model_fields, *names(model.stage))
    values = {key: getattr(section, key) for key in keys if hasattr(section, key)}
    return model.model_validate(values, context=AS_LAYER)
