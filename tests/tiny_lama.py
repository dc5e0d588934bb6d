"""A network of LaMa's interface with random weights, as a file of TorchScript."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


class TinyLama(nn.Module):
    """Three halvings, as LaMa has, so that sides must be multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(4, 8, 8, stride=8)
        self.up = nn.ConvTranspose2d(8, 3, 8, stride=8)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        masked = image * (1.0 - mask)
        inside = self.up(self.down(torch.cat([masked, mask], 1))).sigmoid()
        return inside * mask + masked


def save(path: Path, *, seed: int = 0, bias: Sequence[float] = (0.0, 0.0, 0.0)) -> TinyLama:
    """Write a file and return the network in it; a bias, before the sigmoid, makes a colour."""
    torch.manual_seed(seed)
    network = TinyLama().eval()
    with torch.no_grad():
        network.up.bias += torch.tensor(bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(network).save(str(path))
    return network
