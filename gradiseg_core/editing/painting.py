"""What paints the colours of a hole: `fill` of an operation, and the function behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.downloads import DownloadsConfig
from gradiseg_core.config.filling import LAMA, Fill
from gradiseg_core.editing.patches import inpainted, sources

Cells = NDArray[np.bool_]
Painter = Callable[[NDArray[np.float64], Cells, Cells], NDArray[np.float64]]
"""From colours [rows, columns, 3], known cells and wanted ones to colours with these filled."""


def painter(fill: bool | Fill) -> Painter:
    """Return what paints holes.

    Raises:
        InputError: If LaMa's file is missing or damaged.
    """
    if not isinstance(fill, Fill) or fill.backend != "lama":
        return inpainted
    from gradiseg_core.models.lama import load_lama

    path = fill.checkpoint or LAMA.path(Path(DownloadsConfig().folder))
    network = load_lama(path, key="fill.checkpoint")

    def paint(colours: NDArray[np.float64], known: Cells, wanted: Cells) -> NDArray[np.float64]:
        """Fill by LaMa, which sees the same cells as the embedded way: no rims, no other things."""
        painted = network(colours, ~sources(colours, known, wanted))
        return np.where(wanted[..., None], painted, colours)

    return paint
