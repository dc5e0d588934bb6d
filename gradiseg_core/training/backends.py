"""Which rasterizer and which kernels of the losses run on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.losses import identity, photometric
from gradiseg_core.rasterization import get_rasterizer
from gradiseg_core.rasterization.interface import Rasterizer
from gradiseg_core.triton_runtime import runs_on


@dataclass(frozen=True)
class LossBackends:
    """Values of the losses' argument ``backend``.

    Attributes:
        identity: Of ``identity_loss``.
        photometric: Of ``photometric_loss``.
    """

    identity: str
    photometric: str


def loss_backends(device: torch.device) -> LossBackends:
    """Return the compiled losses of a device, PyTorch's own where it has none.

    A GPU has none where Triton is not installed, or does not compile our kernels for it.
    """
    if device.type != "cpu" and not runs_on(device):
        return LossBackends("torch", "torch")
    compiled = "cpu" if device.type == "cpu" else "triton"

    def choose(known: tuple[str, ...]) -> str:
        return compiled if compiled in known else "torch"

    return LossBackends(choose(identity.BACKENDS), choose(photometric.BACKENDS))


def make_rasterizer(config: TrainConfig, device: torch.device) -> Rasterizer:
    """Return the compiled rasterizer of a device, as configured.

    Raises:
        BackendUnavailableError: If it cannot run here, or lacks what the configuration asks for.
    """
    absgrad = config.densification.absgrad
    if device.type == "cpu":
        if absgrad:
            raise BackendUnavailableError(
                "train.densification.absgrad needs gsplat's rasterizer, so a GPU; set it to false "
                "or train.device to cuda"
            )
        return get_rasterizer("cpu")
    return get_rasterizer("cuda", absgrad=absgrad, **config.gsplat.model_dump())
