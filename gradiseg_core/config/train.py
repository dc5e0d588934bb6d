"""Configuration of stage 5, training.

Numbers of the schedule have the unit "iterations of 30,000", the length of the paper's run: a run
of another length scales them with it (:class:`gradiseg_core.splatting.schedule.Schedule`), so that
``iterations: 30000`` is exactly the paper. The unit "iterations" counts those of the run itself,
whatever its length: how often the 3D loss runs, search trees are rebuilt, a run logs and saves.
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

#: The most classes that `num_classes: auto` makes. More objects than this come from segments that
#: were not associated, or from given IDs whose numbers say nothing about how many there are.
AUTO_CLASSES = 4096
#: Parts of section `train` that null leaves out: the paper's two modules.
MODULES = ("igd", "la_knn")
#: Gaussians of densification `mcmc` where the configuration sets no number; gsplat's.
MCMC_BUDGET = 1_000_000
#: The terms of Eq. 5, in the order in which they are added up.
TERMS = ("photometric", "identity", "spatial")
LabelRule = Literal["encodings", "probabilities"]

_PAPER = "GradiSeg 4.1"
_GG = "Gaussian Grouping"
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
        "Centres at the end, times the scene extent; log-linear between.",
        source=_3DGS,
        gt=0,
    )
    identities: float = option(2.5e-3, "Identity encodings.", source=_GG, gt=0)
    classifier: float = option(5e-4, "The classifier F.", source=_GG, gt=0)


class Losses(Section):
    """Weights of Eq. 5."""

    removed: ClassVar[dict[str, str]] = {
        "identity_geometry": "is no key any more: all of the gradient passes from "
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
        "What Eq. 2 blends for the 2D identity loss: encodings, and F classifies the blend, or "
        "every Gaussian's probabilities F(e), as `labels: probabilities` reads them. The latter "
        "takes a rendering of as many channels as a view's mask has IDs.",
        source="Gaussian Grouping; measured (studies/method.md)",
    )
    robustness: float = option(
        0.0,
        "q: every pixel's identity loss is weighted by p^q, p the probability of its mask's ID, so "
        "that masks that the model has reason to doubt hardly pull (generalised cross-entropy); 0 "
        "is the paper's cross-entropy.",
        source="Zhang and Sabuncu 2018; measured (studies/method.md)",
        ge=0,
        le=1,
    )
    robust_start: int = option(
        12_000,
        "Iteration from which `robustness` and `disagreement_width` hold: until then the model "
        "learns what to believe.",
        unit=OF_30_000,
        source="measured (studies/method.md)",
        ge=0,
    )
    disagreement_width: float = option(
        0.0,
        "Leave out, from `robust_start` on, regions in which the mask and the rendered label "
        "disagree over more than twice this width, as where an object is missed, merged or "
        "renamed; thinner ones, as along outlines, stay. 0 leaves nothing out.",
        unit="share of the image diagonal",
        source="measured (studies/method.md)",
        ge=0,
        lt=0.5,
    )
    identity_geometry_start: int = option(
        0,
        "Iteration from which the gradient of the 2D identity loss reaches opacities, scales, "
        "rotations and positions through the blending weights; before it, a GPU blends identities "
        "in a call of their own.",
        unit=OF_30_000,
        source="Gaussian Grouping detaches nothing; measured (studies/method.md)",
        ge=0,
    )
    beta: float = option(2.0, "Weight of the 3D identity loss (Eq. 3).", source=_PAPER, ge=0)
    spatial_every: int = option(
        5, "The 3D loss runs every so many iterations.", unit=ITERATIONS, source=_GG, ge=1
    )
    samples: int = option(1000, "M: Gaussians sampled for the 3D loss.", source=_PAPER, ge=1)
    neighbours: int = option(5, "K: neighbours of each sample.", source=_PAPER, ge=1)
    stop_target: bool = option(
        False, "Stop Eq. 3's gradient at the neighbours instead of letting both sides learn."
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
        "until_baseline": "is no key any more: densification ends at `densification.until` in "
        "every variant, and variant `baseline` sets that to 10,000, as Gaussian Grouping does; "
        "for another end write a variant of your own, `train: {igd: null, la_knn: null, "
        "densification: {until: ...}}`",
        "split_scale": constant("SPLIT_SCALE", "splatting/strategies/densification.py"),
        "prune_scale": constant("PRUNE_SCALE", "splatting/strategies/surgery.py"),
    }

    kind: Literal["adc", "mcmc"] = option(
        "adc",
        "`adc`: 3DGS's adaptive density control, as in the paper. `mcmc`: a fixed budget, "
        "max_gaussians (1,000,000 where that is null), of which dead Gaussians are moved; it uses "
        "start, until, every and prune_opacity of the fields below.",
        source=_PAPER,
    )
    mcmc: Mcmc = option(Mcmc(), "Parameters of kind `mcmc`.")
    start: int = option(500, "First iteration.", unit=OF_30_000, source=_PAPER, ge=0)
    until: int = option(
        12_000,
        "Last iteration; the variant `baseline` sets 10,000, as Gaussian Grouping has it.",
        unit=OF_30_000,
        source=_PAPER,
        ge=0,
    )
    every: int = option(100, "Interval.", unit=OF_30_000, source=_3DGS, ge=1)
    grow_grad2d: float = option(
        2e-4,
        "Clone or split where the mean gradient of the projected centre exceeds this.",
        unit="loss per half image",
        source=_3DGS,
        gt=0,
    )
    absgrad: bool = option(
        False,
        "Sum that gradient by absolute value over pixels, so that pulls to both sides do not "
        "cancel; wants a larger `grow_grad2d` (8e-4) and a GPU.",
        source="AbsGS (Ye 2024)",
    )
    prune_opacity: float = option(
        0.005, "Epsilon: prune below this opacity.", source=_3DGS, ge=0, lt=1
    )
    max_gaussians: int | None = option(
        None,
        "Densification adds no Gaussians beyond this number, those of the largest gradient first; "
        "IGD adds at most the share `igd.max_growth` to it. Null sets no limit.",
        source="3DGS has none",
        ge=1,
    )
    opacity_reset_every: int = option(
        3000, "Opacities are capped at 0.01 this often.", unit=OF_30_000, source=_3DGS, ge=1
    )

    def file(self, key: str) -> str:
        """Return the file of the kind."""
        return "mcmc" if self.kind == "mcmc" else "densification"


class Igd(PartOptions):
    """Identity Gradient Guided Densification (Section 3.4, Algorithm 1)."""

    start: int = option(12_000, "First iteration.", unit=OF_30_000, source=_PAPER, ge=0)
    until: int = option(15_000, "Last iteration.", unit=OF_30_000, source=_PAPER, ge=0)
    every: int = option(
        100, "Interval of pruning and splitting.", unit=OF_30_000, source="METHOD: as 3DGS", ge=1
    )
    monitor: Literal["sum", "mean"] = option(
        "sum",
        "Accumulated gradient norm as in Algorithm 1, or its mean over the views that saw the "
        "Gaussian.",
        source="Algorithm 1",
    )
    threshold: Literal["quantile", "absolute"] = option(
        "quantile",
        "How tau is given. The paper prints no value. An absolute one transfers between image "
        "sizes, but not between masks with more and fewer errors, nor numbers of Gaussians.",
        source="measured (studies/options.md)",
    )
    quantile: float = option(
        0.99,
        "Split the Gaussians whose monitor exceeds this quantile over those that were seen.",
        ge=0,
        lt=1,
    )
    tau: float = option(1e-4, "Absolute threshold of the monitor.", gt=0)
    split: Literal["sample", "longest_axis", "across"] = option(
        "across",
        "Where the two children go: drawn from the Gaussian (3DGS), on both sides along its "
        "longest axis, or along the axis in which the neighbours' identities change most.",
    )
    scale_factor: float = option(
        1.6, "Children of `sample` have all scales divided by this.", source=_3DGS, gt=1
    )
    children_opacity: Literal["copied", "shared"] = option(
        "copied",
        "Opacity of the two children: the parent's, or 1 - sqrt(1 - o), with which both together "
        "are as opaque as the parent was where they overlap.",
        source="Algorithm 1 names position and scale only; `shared`: Bulo 2024, for clones",
    )
    prune: bool = option(
        True,
        "Prune by opacity and scale before splitting, as `densification` does until its end.",
        source="Algorithm 1",
    )
    max_growth: float = option(
        0.3, "IGD stops adding Gaussians beyond this share of those at its start.", ge=0
    )


class NearPruning(PartOptions):
    """Prune floaters in front of cameras, also after densification has ended."""

    removed: ClassVar[dict[str, str]] = {"every": constant("EVERY", "splatting/strategies/near.py")}

    ratio: float | None = option(
        None,
        "Prune Gaussians whose largest scale exceeds this share of the distance from their centre "
        "to the nearest training camera. Null: none.",
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
        "Iteration from which it replaces global KNN; the supplement says 15,000.",
        unit=OF_30_000,
        source=_PAPER,
        ge=0,
    )
    candidates: int | Literal["all"] = option(
        32,
        "Eq. 4 ranges over this many nearest Gaussians; `all` reads it literally.",
    )
    direction: Literal["first_moment", "last"] = option(
        "first_moment",
        "Position gradient that gives the direction: the optimizer's running first moment, or the "
        "gradient of the last view that saw the Gaussian.",
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
        "sparse_grad": "is no key any more: gradients are dense, as Adam's fused step takes them",
    }

    channels: Literal["padded", "split"] = option(
        "split",
        "Blend colour and identity in one call, padded to 32 channels, or in two calls of 3 and 16 "
        "over the same lists. The same numbers; benchmarks/gpu.py tells which is faster on a GPU.",
        source="registers of the compiled kernels (studies/cuda_core.md); not yet timed",
    )
    packed: bool = option(
        False,
        "Keep intermediate results of the visible Gaussians only: less memory where a view sees a "
        "small part of the scene.",
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
        "Where training runs: on an NVIDIA GPU through gsplat (docs/cuda_core.md), or on the "
        "compiled CPU core; `auto` takes a CUDA device where there is one.",
        changes_result=False,
    )
    iterations: int = option(
        30_000,
        "Length of the run; what is given in iterations of 30,000 is scaled to it.",
        unit=ITERATIONS,
        source=_PAPER,
        ge=1,
    )
    longest_side: int | None = option(
        None, "Resample images to this longest side (never enlarges).", unit="px", ge=16
    )
    downsample: float | None = option(
        None, "Or downsample images by this factor.", source="GradiSeg 4.1: 8 on Mip-NeRF 360", ge=1
    )
    num_classes: int | Literal["auto"] = option(
        256,
        "Classes of F, background included; `auto` is the scene's number of objects plus one, "
        f"{AUTO_CLASSES} at most: memory and time grow with it.",
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
    igd: Igd | None = option(
        Igd(), "Identity Gradient Guided Densification; null trains without it."
    )
    la_knn: LaKnn | None = option(
        LaKnn(), "Local Adaptive KNN; null keeps to the nearest neighbours, global KNN, throughout."
    )
    near_pruning: NearPruning = option(NearPruning(), "Pruning of floaters near cameras.")
    labels: LabelRule = option(
        "encodings",
        "What a pixel's label is read from: `encodings` blends encodings and classifies the blend "
        "(Eq. 2), `probabilities` classifies every Gaussian and blends the probabilities, so that "
        "no third object's label appears between two. It is kept with the trained scene; training "
        "is the same.",
        source="Gaussian Grouping; measured (studies/method.md)",
        changes_result=False,
    )
    strategies: FurtherParts = option(
        {},
        "Further strategies: the name of each file in gradiseg_core/splatting/strategies/, and its "
        "options; null leaves it out (docs/architecture.md).",
    )
    terms: FurtherParts = option(
        {},
        "Further terms of the loss: the name of each file in gradiseg_core/splatting/terms/, and "
        "its options; null leaves it out (docs/architecture.md).",
    )
    gsplat: Gsplat = option(Gsplat(), "The GPU's rasterizer.", changes_result=False)
    views_gb: float = option(
        16.0,
        "Photographs and ID maps (5 bytes a pixel) kept in main memory; what exceeds it is read "
        "from disk whenever its turn comes.",
        unit="GB",
        ge=0,
        changes_result=False,
    )
    gpu_views_gb: float = option(
        4.0,
        "Of these, kept on the GPU; the others are copied while the one before is used.",
        unit="GB",
        ge=0,
        changes_result=False,
    )
    checkpoint_every: int = option(
        1000,
        "A killed run resumes from the last checkpoint.",
        unit=ITERATIONS,
        ge=1,
        changes_result=False,
    )
    log_every: int = option(
        50, "Interval of the metrics log.", unit=ITERATIONS, ge=1, changes_result=False
    )
    evaluations: int = option(
        6,
        "How often, evenly spread over the run, PSNR is measured on the test views.",
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
        """What two parts of training want of each other."""
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
