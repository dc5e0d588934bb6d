"""A backend of stage `masks` that a newcomer might write."""

from __future__ import annotations

FILE = "gradiseg_core/stages/masks/backends/toy.py"


TOY = '''\
"""Backend `toy`: segments by brightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import option
from gradiseg_core.stages.masks.interface import OfPhotographs, Request

REQUIRES = Requires("scene", mem_mb=1234, runtime_min=7)


class Options(BackendOptions):
    """Bands of equal brightness, for a test."""

    levels: int = option(4, "Number of bands.", ge=1, le=255)


def segment(image: NDArray[np.uint8], options: Options) -> NDArray[np.int32]:
    """Return the band of each pixel, 1..levels."""
    return 1 + (image.mean(axis=-1) * options.levels / 256).astype(np.int32)


def run(request: Request) -> OfPhotographs:
    """Return the segmenter of a scene."""
    return OfPhotographs(request, segment, "1")
'''
