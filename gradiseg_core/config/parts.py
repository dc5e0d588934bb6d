"""Parts of training: strategies and loss terms, each one file, found by its name.

The file is ``gradiseg_core/splatting/<kind>/<name>.py``; the kind is ``strategies`` or ``terms``,
and ``splatting/parts.py`` describes its contents. The options of the paper's own strategies are
here, and are keys of section ``train``. A further part has them in its own file, as ``Options``,
and runs if the configuration names it::

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
from typing import Annotated, Any, ClassVar, Literal

from pydantic import SerializeAsAny, ValidationError, WithJsonSchema

from gradiseg_core.config.base import (
    OF_30_000,
    PAPER,
    THREE_DGS,
    Section,
    constant,
    imported,
    lacking,
    model_below,
    option,
    shadowing,
)
from gradiseg_core.errors import ConfigError

_PACKAGE = f"{__package__.partition('.')[0]}.splatting"
#: The paper's own parts, whose options are in section ``train``.
OWN = {
    "strategies": ("densification", "igd", "mcmc", "near"),
    "terms": ("photometric", "identity", "spatial"),
}
#: Files of the folders that are not parts; other helpers start with an underscore.
HELPERS = ("surgery",)
#: Gaussians of densification `mcmc` where the configuration sets no number; gsplat's.
MCMC_BUDGET = 1_000_000

_MCMC = "3DGS-MCMC, as in gsplat"


class PartOptions(Section):
    """Options of a strategy or a loss term.

    Attributes:
        needs_geometry: Whether a term reads the surface of stage `geometry`, so that training
            views have a `surface_depth`.
    """

    needs_geometry: ClassVar[bool] = False

    def file(self, key: str) -> str | None:
        """Return the name of the file that reads them; None if the part does not run.

        Args:
            key: Key of the options in the configuration.
        """
        return key


class Mcmc(Section):
    """3DGS-MCMC (Kheradmand 2024): Gaussians are moved and added within a budget."""

    removed: ClassVar[dict[str, str]] = {
        name: constant(name.upper(), "splatting/strategies/mcmc.py") for name in ("noise", "growth")
    }

    opacity_penalty: float = option(
        0.01, "Weight of the mean opacity in the loss.", source=_MCMC, ge=0
    )
    scale_penalty: float = option(
        0.01, "Weight of the mean scale in the loss.", unit="1 / world unit", source=_MCMC, ge=0
    )


class Densification(PartOptions):
    """3DGS densification: clone, split, prune, opacity reset."""

    removed: ClassVar[dict[str, str]] = {
        "until_baseline": "is no longer a key: densification ends at `densification.until` in "
        "every variant, and variant `baseline` sets that to 10,000, as Gaussian Grouping does; "
        "for another end write a variant of your own, `train: {igd: null, la_knn: null, "
        "densification: {until: ...}}`",
        "split_scale": constant("SPLIT_SCALE", "splatting/strategies/densification.py"),
        "prune_scale": constant("PRUNE_SCALE", "splatting/strategies/surgery.py"),
    }

    kind: Literal["adc", "mcmc"] = option(
        "adc",
        "`adc`: 3DGS's, as in the paper. `mcmc`: dead Gaussians are moved within the budget "
        "`max_gaussians` (1,000,000 if null); it also reads `start`, `until`, `every`, "
        "`prune_opacity`.",
        source=PAPER,
    )
    mcmc: Mcmc = option(Mcmc(), "Parameters of kind `mcmc`.")
    start: int = option(500, "First iteration.", unit=OF_30_000, source=PAPER, ge=0)
    until: int = option(
        12_000,
        "Last iteration; variant `baseline` sets 10,000.",
        unit=OF_30_000,
        source=PAPER,
        ge=0,
    )
    every: int = option(100, "Interval.", unit=OF_30_000, source=THREE_DGS, ge=1)
    grow_grad2d: float = option(
        2e-4,
        "Clone or split above this mean gradient of the projected centre.",
        unit="loss per half image",
        source=THREE_DGS,
        gt=0,
    )
    absgrad: bool = option(
        False,
        "Sum that gradient's absolute values; needs a GPU and a larger `grow_grad2d` (8e-4).",
        source="AbsGS (Ye 2024)",
    )
    prune_opacity: float = option(
        0.005, "Epsilon: prune below this opacity.", source=THREE_DGS, ge=0, lt=1
    )
    max_gaussians: int | None = option(
        None,
        "Densification stops here; IGD may add `igd.max_growth`. Null: no limit.",
        source="3DGS has none",
        ge=1,
    )
    opacity_reset_every: int = option(
        3000,
        "Interval at which opacities are capped at 0.01.",
        unit=OF_30_000,
        source=THREE_DGS,
        ge=1,
    )

    def file(self, key: str) -> str:
        """Return the file of the kind."""
        return "mcmc" if self.kind == "mcmc" else "densification"


class Igd(PartOptions):
    """Identity Gradient Guided Densification (Section 3.4, Algorithm 1)."""

    start: int = option(12_000, "First iteration.", unit=OF_30_000, source=PAPER, ge=0)
    until: int = option(15_000, "Last iteration.", unit=OF_30_000, source=PAPER, ge=0)
    every: int = option(
        100, "Interval of pruning and splitting.", unit=OF_30_000, source="as 3DGS", ge=1
    )
    monitor: Literal["sum", "mean"] = option(
        "sum",
        "Sum of the gradient norms, or their mean over views.",
        source="Algorithm 1",
    )
    threshold: Literal["quantile", "absolute"] = option(
        "quantile",
        "How tau is given; the paper prints no value.",
        source="measured (studies/options.md)",
    )
    quantile: float = option(
        0.99,
        "Split above this quantile of the monitor, of all Gaussians that were seen.",
        ge=0,
        lt=1,
    )
    tau: float = option(1e-4, "Absolute threshold of the monitor.", gt=0)
    split: Literal["sample", "longest_axis", "across"] = option(
        "across",
        "Where the two children go: drawn from the Gaussian (`sample`, 3DGS), along its "
        "`longest_axis`, or `across` the boundary.",
    )
    scale_factor: float = option(
        1.6, "`split: sample` divides the children's scales by this.", source=THREE_DGS, gt=1
    )
    children_opacity: Literal["copied", "shared"] = option(
        "copied",
        "The parent's o, or 1 - sqrt(1 - o), together as opaque as the parent.",
        source="Algorithm 1 adjusts position and scale only; `shared`: Bulo 2024, for clones",
    )
    prune: bool = option(
        True,
        "Prune by opacity and scale before splitting.",
        source="Algorithm 1",
    )
    max_growth: float = option(
        0.3, "Most Gaussians that IGD adds, as a share of those at its start.", ge=0
    )


class NearPruning(PartOptions):
    """Prune floaters in front of cameras, also after densification has ended."""

    removed: ClassVar[dict[str, str]] = {"every": constant("EVERY", "splatting/strategies/near.py")}

    ratio: float | None = option(
        None,
        "Prune Gaussians whose largest scale exceeds this share of their distance to the nearest "
        "training camera.",
        source="beyond the paper (docs/method.md)",
        gt=0,
    )
    start: int = option(12_000, "First iteration.", unit=OF_30_000, ge=0)

    def file(self, key: str) -> str | None:
        """Return its file; without a ratio it does not run."""
        return None if self.ratio is None else "near"


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
            from gradiseg_core.config.messages import BelowError, explain

            raise BelowError(explain(error, model, name)) from error
        file = found[name].file(name)
        if file is not None and file not in names(kind):
            raise ValueError(
                f"`file` of the options of {name!r} returns {file!r}, which is no file"
            )
    return found
