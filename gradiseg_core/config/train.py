"""Configuration of stage 5, training.

Numbers of the schedule have the unit "iterations of 30,000", the length of the paper's run: a run
of another length scales them (:class:`gradiseg_core.splatting.parts.Schedule`), so that
``iterations: 30000`` is exactly the paper. The unit "iterations" counts those of the run itself:
how often the 3D loss runs, search trees are rebuilt, a run logs and saves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import ValidationInfo, field_validator

from gradiseg_core.config.base import (
    ITERATIONS,
    OF_30_000,
    PAPER,
    THREE_DGS,
    Conflict,
    Device,
    Section,
    UserPath,
    constant,
    option,
)
from gradiseg_core.config.parts import (
    Densification,
    FurtherParts,
    Igd,
    NearPruning,
    PartOptions,
    further,
    path_of,
)
from gradiseg_core.version import __version__

#: Limit of `num_classes: auto`. More objects than this come from segments that were not associated,
#: or from given IDs that are not numbered from 1.
AUTO_CLASSES = 4096
#: Parts of section `train` that null leaves out: the paper's two modules.
MODULES = ("igd", "la_knn")
#: The terms of Eq. 5, in the order in which they are added up.
TERMS = ("photometric", "identity", "spatial")
LabelRule = Literal["encodings", "probabilities"]

_GG = "GG"
_MEASURED = "measured (studies/method.md)"


class LearningRates(Section):
    """Adam's learning rates; those of the other parameters are 3DGS's."""

    removed: ClassVar[dict[str, str]] = {
        name: constant("LEARNING_RATES", "splatting/trainer.py")
        for name in ("quats", "scales", "opacities", "sh0", "shN")
    }

    means: float = option(
        1.6e-4, "Centres at the start, times the scene extent.", source=THREE_DGS, gt=0
    )
    means_final: float = option(
        1.6e-6,
        "Centres at the end, times the scene extent.",
        source=THREE_DGS,
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
        "Share of 1 - SSIM in the colour loss; 0: L1 alone, as Eq. 5 is printed.",
        source="3DGS; Table 3 reports an SSIM that L1 alone would not reach",
        ge=0,
        le=1,
    )
    alpha: float = option(1.0, "Weight of the 2D identity loss.", source=PAPER, ge=0)
    blended: LabelRule = option(
        "encodings",
        "What Eq. 2 blends for the 2D identity loss: encodings, or probabilities F(e).",
        source=f"{_GG}; {_MEASURED}",
    )
    robustness: float = option(
        0.0,
        "q: weight a pixel's identity loss by p^q, p the probability of the mask's ID; 0 is the "
        "paper's cross-entropy.",
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
        "Leave out regions wider than twice this in which mask and rendered label disagree; 0: "
        "none.",
        unit="share of the image diagonal",
        source=_MEASURED,
        ge=0,
        lt=0.5,
    )
    identity_geometry_start: int = option(
        0,
        "First iteration in which the 2D identity loss also moves the geometry.",
        unit=OF_30_000,
        source=f"GG: 0; {_MEASURED}",
        ge=0,
    )
    beta: float = option(2.0, "Weight of the 3D identity loss (Eq. 3).", source=PAPER, ge=0)
    spatial_every: int = option(5, "Interval of the 3D loss.", unit=ITERATIONS, source=_GG, ge=1)
    samples: int = option(1000, "M: Gaussians sampled for the 3D loss.", source=PAPER, ge=1)
    neighbours: int = option(5, "K: neighbours of each sample.", source=PAPER, ge=1)
    stop_target: bool = option(False, "Stop the gradient of Eq. 3 at the neighbours.")


class LaKnn(Section):
    """Local Adaptive K-Nearest Neighbours (Section 3.5, Eq. 4)."""

    start: int = option(
        12_000,
        "First iteration; until then global KNN.",
        unit=OF_30_000,
        source=PAPER,
        ge=0,
    )
    candidates: int | Literal["all"] = option(
        32,
        "Eq. 4 chooses among this many nearest Gaussians, or `all` (as printed).",
    )
    direction: Literal["first_moment", "last"] = option(
        "first_moment",
        "Adam's first moment of the position, or its gradient in the last view.",
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
        "Blend colour and identity in two calls (`split`), or in one of 32 channels (`padded`): "
        "the same numbers.",
        source="registers of the compiled kernels (studies/cuda_core.md); not yet timed",
    )
    packed: bool = option(
        False,
        "Keep results of visible Gaussians only: less memory if views see little.",
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
        "`auto`: a GPU if there is one.",
        changes_result=False,
    )
    iterations: int = option(
        30_000,
        "Length of the run.",
        unit=ITERATIONS,
        source=PAPER,
        ge=1,
    )
    init_from: UserPath | None = option(
        None,
        "PLY of Gaussians that another program trained with this COLMAP model: identities alone "
        "are trained (docs/exporting.md).",
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
        source=PAPER,
    )
    identity_dim: Literal[8, 16, 32] = option(
        16, "Length D of the Identity Encoding.", source=PAPER
    )
    sh_degree: int = option(
        3, "Largest degree of spherical harmonics.", source=THREE_DGS, ge=0, le=3
    )
    background: Literal["black", "white"] = option(
        "black", "Colour behind the Gaussians.", source=THREE_DGS
    )
    learning_rates: LearningRates = option(LearningRates(), "Adam's learning rates.")
    losses: Losses = option(Losses(), "Loss weights.")
    densification: Densification = option(Densification(), "3DGS densification.")
    igd: Igd | None = option(Igd(), "Identity Gradient Guided Densification; null leaves it out.")
    la_knn: LaKnn | None = option(LaKnn(), "Local Adaptive KNN; null uses global KNN throughout.")
    near_pruning: NearPruning = option(NearPruning(), "Pruning of floaters near cameras.")
    labels: LabelRule = option(
        "encodings",
        "How a pixel is labelled: by blended encodings (Eq. 2), or by blended probabilities, so "
        "that no third object appears between two.",
        source=f"{_GG}; {_MEASURED}",
        changes_result=False,
    )
    strategies: FurtherParts = option(
        {},
        "Further strategies by name, with options (docs/architecture.md); null leaves one out.",
    )
    terms: FurtherParts = option(
        {},
        "Further terms of the loss, likewise. `surface_depth: {weight: 0.2}` holds rendered depth "
        "to the surface of stage `geometry`.",
    )
    gsplat: Gsplat = option(Gsplat(), "The GPU's rasterizer.", changes_result=False)
    views_gb: float = option(
        16.0,
        "Main memory for photographs and ID maps: 5 bytes a pixel, with `surface_depth` 9.",
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

    @property
    def terms_on_geometry(self) -> list[str]:
        """The loss terms that read the surface of stage `geometry`."""
        terms = self.terms.items()
        return [key for key, term in terms if term.needs_geometry and term.file(key)]

    @property
    def needs_geometry(self) -> bool:
        """Whether training reads the surface of stage `geometry`."""
        return bool(self.terms_on_geometry)

    def digest(self, seed: int, *inputs: str) -> str:
        """Return a hash of what a training depends on; a checkpoint of another is not resumed.

        The device does not count, although it changes last digits: a run may move to another.

        Args:
            seed: Of all randomness.
            inputs: Hashes of what it reads.
        """
        text = json.dumps([self.changing_results(), seed, *inputs, __version__], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

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
