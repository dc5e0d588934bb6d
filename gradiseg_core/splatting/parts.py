"""The strategies and the loss terms of one training, made from its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.placement import LossBackends
from gradiseg_core.config.parts import load
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.splatting.schedule import Schedule

if TYPE_CHECKING:
    from gradiseg_core.splatting.strategies.base import Strategy
    from gradiseg_core.splatting.terms.base import LossTerm


@dataclass(frozen=True)
class Run:
    """The training that a strategy or a loss term is made for.

    Attributes:
        config: All its parameters.
        schedule: Scales iteration numbers to its length.
        cameras: Of the training views.
        extent: Scene extent, world units.
        device: Where the Gaussians live.
        backends: What computes the losses.
        generator: Source of random numbers, in main memory.
        device_generator: Source of random numbers, on the device.
    """

    config: TrainConfig
    schedule: Schedule
    cameras: Sequence[Camera]
    extent: float
    device: torch.device
    backends: LossBackends
    generator: torch.Generator
    device_generator: torch.Generator


def strategies_of(run: Run) -> dict[str, Strategy]:
    """Return the strategies of a training, in the order in which they run."""
    return _made("strategies", run)


def terms_of(run: Run) -> dict[str, LossTerm]:
    """Return the terms of a training's loss, in the order in which they are added up."""
    return _made("terms", run)


def _made(kind: str, run: Run) -> dict[str, Any]:
    parts = run.config.parts(kind)
    return {p.name: load(kind, p.file).make(p.options, run) for p in parts}
