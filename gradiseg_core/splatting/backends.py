"""Which rasterizer and which kernels of the losses run on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gradiseg_core.compute.triton_runtime import runs_on
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.splatting.rasterization.interface import Rasterizer
from gradiseg_core.splatting.rasterization.registry import get_rasterizer


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
    if device.type == "cpu":
        return LossBackends("cpu", "cpu")
    compiled = "triton" if runs_on(device) else "torch"
    return LossBackends(compiled, compiled)


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
