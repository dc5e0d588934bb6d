"""Configuration of stage `geometry`: a surface of the scene, from colour alone."""

from __future__ import annotations

from pathlib import Path

from gradiseg_core.config.base import ITERATIONS, Device, Section, device_option, option
from gradiseg_core.config.parts import Densification
from gradiseg_core.config.train import Losses, TrainConfig

_MEASURED = "measured on two scenes (studies/geometry.md)"


class GeometryConfig(Section):
    """The training from colour alone whose depth gives the surface."""

    device: Device = device_option()
    iterations: int = option(
        1000, "Length of the training.", unit=ITERATIONS, source=_MEASURED, ge=1
    )
    longest_side: int = option(
        320, "Longest side of its images.", unit="px", source=_MEASURED, ge=32
    )

    @property
    def files(self) -> list[Path]:
        """The files of the strategies and loss terms that its training runs."""
        return colour_only().files


def colour_only(
    iterations: int = 1000,
    longest_side: int = 320,
    max_gaussians: int = 15_000,
    sh_degree: int = 3,
) -> TrainConfig:
    """Return a training without masks: identities have no weight, the paper's modules are out.

    Args:
        iterations: Its length.
        longest_side: Of its images, px.
        max_gaussians: Most Gaussians.
        sh_degree: Of the colours' spherical harmonics.
    """
    return TrainConfig(
        iterations=iterations,
        longest_side=longest_side,
        num_classes=2,
        sh_degree=sh_degree,
        losses=Losses(alpha=0.0, beta=0.0),
        densification=Densification(max_gaussians=max_gaussians),
        igd=None,
        la_knn=None,
    )
