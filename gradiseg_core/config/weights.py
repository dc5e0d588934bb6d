"""The checkpoints that backends, scores and edits need.

Their names are those of ``Section.weights()`` and of the files in ``<downloads>/checkpoints/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from gradiseg_core.config import backends
from gradiseg_core.config.checkpoints import Checkpoint
from gradiseg_core.config.filling import LAMA

#: Weights that a score needs.
_OF_SCORES = (
    Checkpoint(
        "lpips_vgg",
        "VGG-16 of torchvision, the backbone of LPIPS",
        "BSD-3-Clause (torchvision); trained on ImageNet, whose terms allow research",
        553_433_881,
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        sha256_prefix="397923af",
    ),
)


@cache
def checkpoints() -> Mapping[str, Checkpoint]:
    """Return every checkpoint by name: those of the backends, of scores, and of edits."""
    found = [
        entry
        for stage in backends.STAGES
        for name in backends.names(stage)
        for entry in backends.load(stage, name).checkpoints
    ]
    return MappingProxyType({entry.name: entry for entry in (*found, *_OF_SCORES, LAMA)})
