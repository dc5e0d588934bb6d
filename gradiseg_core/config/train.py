"""Configuration of stage 5, training.

Numbers of the schedule have the unit "iterations of 30,000", the length of the paper's run: a run
of another length scales them (:class:`gradiseg_core.splatting.parts.Schedule`), so that
``iterations: 30000`` is exactly the paper. The unit "iterations" counts those of the run itself:
how often the 3D loss runs, search trees are rebuilt, a run logs and saves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import ValidationInfo, field_validator

from gradiseg_core.config.base import (
    ITERATIONS,
    OF_30_000,
    Conflict,
    Device,
    Section,
    constant,
    option,
)
from gradiseg_core.config.parts import FurtherParts, PartOptions, further, path_of
from gradiseg_core.config.paths import UserPath

#: Limit of `num_classes: auto`. More objects than this come from segments that were not associated,
#: or from given IDs that are not numbered from 1.
AUTO_CLASSES = 4096
#: Parts of section `train` that null leaves out: the paper's two modules.
MODULES = ("igd", "la_knn")
#: Gaussians of densification `mcmc` where the configuration sets no number; gsplat's.
MCMC_BUDGET = 1_000_000
#: The terms of Eq. 5, in the order in which they are added up.
TERMS = ("photometric", "identity", "spatial")
LabelRule = Literal["encodings", "probabilities"]

_PAPER = "GradiSeg 4.1"
_GG = "GG"
_MEASURED = "measured (studies/method.md)"
_3DGS = "3DGS"
_MCMC = "3DGS-MCMC, as in gsplat"


class LearningRates(Section):
    """Adam's learning rates; those of the other parameters are 3DGS's."""

    removed: ClassVar[dict[str, str]] = {
        name: constant("LEARNING_RATES", "splatting/trainer.py")
        for name in ("quats", "scales", "opacities", "sh0", "shN")
    }

    means: float = option(
        1.6e-4, "Centres at the start, times the scene extent.", source=_3DGS, gt=0
    )
    means_final: float = option(
        1.6e-6,
        "Centres at the end, times the scene extent.",
        source=_3DGS,
        gt=0,
    )
    identities: float = option(2.5e-3, "Identity encodings.", source=_GG, gt=0)
    classifier: float = option(5e-4, "The classifier F.", source=_GG, gt=0)


class Losses(Section):
    """Weights of Eq. 5."""

    removed: ClassVar[dict[str, str]] = {
        "identity_geometry": "is no longer a key: all of the gradient passes from "
        "`identity_geometry_start` on, and none before; a share made no difference",
    }

    lambda_dssim: float = option(
        0.2,
        "Share of 1 - SSIM in the colour loss; 0 is Eq. 5 as printed (L1 alone).",
        source="3DGS; Table 3 reports an SSIM that L1 alone would not reach",
        ge=0,
        le=1,
    )
    alpha: float = option(1.0, "Weight of the 2D identity loss.", source=_PAPER, ge=0)
    blended: LabelRule = option(
        "encodings",
        "What Eq. 2 blends for the 2D identity loss: encodings, or the probabilities F(e) of every "
        "Gaussian.",
        source=f"{_GG}; {_MEASURED}",
    )
    robustness: float = option(
        0.0,
        "q: weight a pixel's identity loss by p^q, p the probability of the mask's ID, so that "
        "doubtful masks count less; 0 is the paper's cross-entropy.",
        source=f"Zhang and Sabuncu 2018; {_MEASURED}",
        ge=0,
        le=1,
    )
    robust_start: int = option(
        12_000,
        "First iteration of `robustness` and `disagreement_width`.",
        unit=OF_30_000,
        source=_MEASURED,
        ge=0,
    )
    disagreement_width: float = option(
        0.0,
        "Leave out regions wider than twice this in which mask and rendered label disagree (a "
        "missed, merged or renamed object). 0 leaves nothing out.",
        unit="share of the image diagonal",
        source=_MEASURED,
        ge=0,
        lt=0.5,
    )
    identity_geometry_start: int = option(
        0,
        "First iteration in which the 2D identity loss also moves opacities, scales, rotations and "
        "positions.",
        unit=OF_30_000,
        source=f"GG: 0; {_MEASURED}",
        ge=0,
    )
    beta: float = option(2.0, "Weight of the 3D identity loss (Eq. 3).", source=_PAPER, ge=0)
    spatial_every: int = option(5, "Interval of the 3D loss.", unit=ITERATIONS, source=_GG, ge=1)
    samples: int = option(1000, "M: Gaussians sampled for the 3D loss.", source=_PAPER, ge=1)
    neighbours: int = option(5, "K: neighbours of each sample.", source=_PAPER, ge=1)
    stop_target: bool = option(
        False, "Stop the gradient of Eq. 3 at the neighbours: only the sample learns."
    )


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
        "`adc`: 3DGS's adaptive density control, as in the paper. `mcmc`: dead Gaussians are moved "
        "within the budget `max_gaussians` (1,000,000 if null); it also reads `start`, `until`, "
        "`every` and `prune_opacity`.",
        source=_PAPER,
    )
    mcmc: Mcmc = option(Mcmc(), "Parameters of kind `mcmc`.")
    start: int = option(500, "First iteration.", unit=OF_30_000, source=_PAPER, ge=0)
    until: int = option(
        12_000,
        "Last iteration; variant `baseline` sets 10,000.",
        unit=OF_30_000,
        source=_PAPER,
        ge=0,
    )
    every: int = option(100, "Interval.", unit=OF_30_000, source=_3DGS, ge=1)
    grow_grad2d: float = option(
        2e-4,
        "Clone or split above this mean gradient of the projected centre.",
        unit="loss per half image",
        source=_3DGS,
        gt=0,
    )
    absgrad: bool = option(
        False,
        "Sum that gradient's absolute values over pixels; needs a GPU and a larger `grow_grad2d` "
        "(8e-4).",
        source="AbsGS (Ye 2024)",
    )
    prune_opacity: float = option(
        0.005, "Epsilon: prune below this opacity.", source=_3DGS, ge=0, lt=1
    )
    max_gaussians: int | None = option(
        None,
        "Densification stops here, largest gradients first; IGD may add `igd.max_growth`. Null: no "
        "limit.",
        source="3DGS has none",
        ge=1,
    )
    opacity_reset_every: int = option(
        3000, "Interval at which opacities are capped at 0.01.", unit=OF_30_000, source=_3DGS, ge=1
    )

    def file(self, key: str) -> str:
        """Return the file of the kind."""
        return "mcmc" if self.kind == "mcmc" else "densification"


class Igd(PartOptions):
    """Identity Gradient Guided Densification (Section 3.4, Algorithm 1)."""

    start: int = option(12_000, "First iteration.", unit=OF_30_000, source=_PAPER, ge=0)
    until: int = option(15_000, "Last iteration.", unit=OF_30_000, source=_PAPER, ge=0)
    every: int = option(
        100, "Interval of pruning and splitting.", unit=OF_30_000, source="as 3DGS", ge=1
    )
    monitor: Literal["sum", "mean"] = option(
        "sum",
        "Sum of the gradient norms, or their mean over views that saw the Gaussian.",
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
        "`longest_axis`, or `across` the boundary, along the axis in which the neighbours' "
        "identities change most.",
    )
    scale_factor: float = option(
        1.6, "`split: sample` divides the children's scales by this.", source=_3DGS, gt=1
    )
    children_opacity: Literal["copied", "shared"] = option(
        "copied",
        "The parent's o, or 1 - sqrt(1 - o), so that both together are as opaque as the parent.",
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
        "training camera. Null: none.",
        source="beyond the paper (docs/method.md)",
        gt=0,
    )
    start: int = option(12_000, "First iteration.", unit=OF_30_000, ge=0)

    def file(self, key: str) -> str | None:
        """Return its file; without a ratio it does not run."""
        return None if self.ratio is None else "near"


class LaKnn(Section):
    """Local Adaptive K-Nearest Neighbours (Section 3.5, Eq. 4)."""

    start: int = option(
        12_000,
        "First iteration; until then global KNN.",
        unit=OF_30_000,
        source=_PAPER,
        ge=0,
    )
    candidates: int | Literal["all"] = option(
        32,
        "Eq. 4 chooses among this many nearest Gaussians, or `all` (as printed).",
    )
    direction: Literal["first_moment", "last"] = option(
        "first_moment",
        "Adam's first moment of the position, or its gradient in the last view that saw the "
        "Gaussian.",
    )

    @field_validator("candidates")
    @classmethod
    def _enough_candidates(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError(f"expected at least 1, or 'all', got {value}")
        return value


class Gsplat(Section):
    """How gsplat rasterizes on a GPU; see docs/cuda_core.md."""

    removed: ClassVar[dict[str, str]] = {
        "sparse_grad": "is no longer a key: gradients are dense, as Adam's fused step takes them",
    }

    channels: Literal["padded", "split"] = option(
        "split",
        "Blend colour and identity in one call of 32 channels, or in two of 3 and 16: the same "
        "numbers.",
        source="registers of the compiled kernels (studies/cuda_core.md); not yet timed",
    )
    packed: bool = option(
        False,
        "Keep intermediate results of visible Gaussians only: less memory if views see little of "
        "the scene.",
    )


class Part(NamedTuple):
    """A strategy or a loss term that runs.

    Attributes:
        name: Its key in the configuration.
        file: The name of its file.
        options: Its options.
    """

    name: str
    file: str
    options: Section


class TrainConfig(Section):
    """Stage 5: training of 3D Gaussians with identities."""

    removed: ClassVar[dict[str, str]] = {
        "sh_degree_every": constant("SH_DEGREE_EVERY", "splatting/trainer.py"),
        "initial_opacity": constant("INITIAL_OPACITY", "splatting/gaussians.py"),
        "knn_refresh": constant("REFRESH_EVERY", "splatting/terms/spatial.py"),
        "max_gaussians": "is called `train.densification.max_gaussians` now; IGD adds at most the "
        "share `train.igd.max_growth` to it",
    }

    device: Device = option(
        "auto",
        "Where training runs; `auto` takes a GPU if there is one.",
        changes_result=False,
    )
    iterations: int = option(
        30_000,
        "Length of the run.",
        unit=ITERATIONS,
        source=_PAPER,
        ge=1,
    )
    init_from: UserPath | None = option(
        None,
        "PLY of Gaussians that another program trained with this COLMAP model: they are held, and "
        "identities alone are trained (docs/exporting.md).",
    )
    init_transform: UserPath | None = option(
        None,
        "For `init_from` of nerfstudio: its dataparser_transforms.json.",
    )
    longest_side: int | None = option(None, "Reduce images to this longest side.", unit="px", ge=16)
    downsample: float | None = option(
        None, "Or reduce images by this factor.", source="GradiSeg 4.1: 8 on Mip-NeRF 360", ge=1
    )
    num_classes: int | Literal["auto"] = option(
        256,
        "Classes of F with background; `auto`: the scene's objects plus one, at most "
        f"{AUTO_CLASSES}. Memory and time grow with it.",
        source=_PAPER,
    )
    identity_dim: Literal[8, 16, 32] = option(
        16, "Length D of the Identity Encoding.", source=_PAPER
    )
    sh_degree: int = option(3, "Largest degree of spherical harmonics.", source=_3DGS, ge=0, le=3)
    background: Literal["black", "white"] = option(
        "black", "Colour behind the Gaussians.", source=_3DGS
    )
    learning_rates: LearningRates = option(LearningRates(), "Adam's learning rates.")
    losses: Losses = option(Losses(), "Loss weights.")
    densification: Densification = option(Densification(), "3DGS densification.")
    igd: Igd | None = option(Igd(), "Identity Gradient Guided Densification; null leaves it out.")
    la_knn: LaKnn | None = option(LaKnn(), "Local Adaptive KNN; null uses global KNN throughout.")
    near_pruning: NearPruning = option(NearPruning(), "Pruning of floaters near cameras.")
    labels: LabelRule = option(
        "encodings",
        "How a pixel is labelled after training: classify the blended encodings (Eq. 2), or blend "
        "the probabilities of every Gaussian, so that no third object appears between two.",
        source=f"{_GG}; {_MEASURED}",
        changes_result=False,
    )
    strategies: FurtherParts = option(
        {},
        "Further strategies: names of files in gradiseg_core/splatting/strategies/, with options; "
        "null leaves one out.",
    )
    terms: FurtherParts = option(
        {},
        "Further terms of the loss, likewise, of gradiseg_core/splatting/terms/.",
    )
    gsplat: Gsplat = option(Gsplat(), "The GPU's rasterizer.", changes_result=False)
    views_gb: float = option(
        16.0,
        "Main memory for photographs and ID maps (5 bytes a pixel); others are read again from "
        "disk.",
        unit="GB",
        ge=0,
        changes_result=False,
    )
    gpu_views_gb: float = option(
        4.0,
        "GPU memory for them.",
        unit="GB",
        ge=0,
        changes_result=False,
    )
    checkpoint_every: int = option(
        1000,
        "Interval of checkpoints, from which a killed run resumes.",
        unit=ITERATIONS,
        ge=1,
        changes_result=False,
    )
    log_every: int = option(
        50, "Interval of the metrics log.", unit=ITERATIONS, ge=1, changes_result=False
    )
    evaluations: int = option(
        6,
        "How often PSNR is measured on the test views during the run.",
        ge=0,
        changes_result=False,
    )

    @field_validator("num_classes")
    @classmethod
    def _enough_classes(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 2 <= value <= 65536:
            raise ValueError(f"expected 2 to 65536, or 'auto', got {value}")
        return value

    @field_validator("strategies", "terms", mode="before")
    @classmethod
    def _further_parts(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return further(info.field_name, value, info.context) if isinstance(value, dict) else value

    def parts(self, kind: str) -> list[Part]:
        """Return the strategies or the loss terms that run, in order.

        Args:
            kind: ``strategies`` or ``terms``.
        """
        if kind == "terms":
            own = [Part(name, name, self.losses) for name in TERMS]
        else:
            sections = [(key, value) for key, value in self if isinstance(value, PartOptions)]
            files = ((key, section.file(key), section) for key, section in sections)
            own = [Part(key, file, section) for key, file, section in files if file is not None]
        given: dict[str, PartOptions] = getattr(self, kind)
        further = ((key, options.file(key), options) for key, options in given.items())
        return [*own, *(Part(key, file, options) for key, file, options in further if file)]

    @property
    def files(self) -> list[Path]:
        """The files of the strategies and loss terms that run, and of no others."""
        kinds = ("strategies", "terms")
        return [path_of(kind, part.file) for kind in kinds for part in self.parts(kind)]

    def conflicts(self) -> Iterator[Conflict]:
        """Yield settings of two parts of training that do not go together."""
        if self.init_transform is not None and self.init_from is None:
            yield Conflict(
                ("init_transform", "init_from"), "init_transform needs init_from, the Gaussians"
            )
        if self.longest_side is not None and self.downsample is not None:
            yield Conflict(
                ("longest_side", "downsample"), "give longest_side or downsample, not both"
            )
        if self.igd is not None and self.igd.until < self.igd.start:
            yield Conflict(
                ("igd.start", "igd.until"),
                f"igd.until ({self.igd.until}) lies before igd.start ({self.igd.start})",
            )
        if self.densification.absgrad and self.gsplat.channels == "split":
            yield Conflict(
                ("densification.absgrad", "gsplat.channels"),
                "densification.absgrad needs gsplat.channels: padded",
            )
