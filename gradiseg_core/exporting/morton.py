"""Morton's curve: neighbours in space are near one another in the file, which packs better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spread_bits(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put two zeros after each of the lowest 21 bits of integers [N], for Morton's curve."""
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        value = (value | (value << np.uint64(shift))) & np.uint64(mask)
    return value
