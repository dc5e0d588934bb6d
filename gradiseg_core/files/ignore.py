"""Pixels of photographs that take no part: ``ignore/<view>.png`` in a scene or ``colmap`` folder.

An 8-bit PNG of the size of the view's image in ``images/`` beside it, 255 where a pixel is ignored
and 0 elsewhere; ``<view>`` is the image's name without its ending. A view without a file has no
ignored pixels. Stage ``scene`` writes the folder for the photographs, stage ``colmap`` carries it
to the undistorted views. Readers ask for one view at a time, and get None where nothing is ignored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.files.images import opened, write_image

FOLDER = "ignore"


def ignore_file(folder: Path, view: str) -> Path:
    """Return where the ignored pixels of a view are in a scene or ``colmap`` folder.

    Args:
        folder: The folder that holds ``images/``.
        view: The view's name without its ending.
    """
    return Path(folder) / FOLDER / f"{view}.png"


def write_ignored(folder: Path, view: str, ignored: NDArray[np.bool_]) -> bool:
    """Ignore pixels of a view, beside those that its file already ignores.

    Args:
        folder: The folder that holds ``images/``.
        view: The view's name without its ending.
        ignored: [H, W], of the size of the view's image.

    Returns:
        Whether any pixel of the view is ignored; else no file is written.

    Raises:
        InputError: If the view's file is there and of another size.
    """
    known = read_ignored(folder, view)
    if known is not None:
        if known.shape != ignored.shape:
            raise InputError(
                f"{ignore_file(folder, view)} is of another size than the view; rerun stage `scene`"
            )
        ignored = ignored | known
    if not ignored.any():
        return False
    write_image(ignore_file(folder, view), np.where(ignored, 255, 0).astype(np.uint8))
    return True


def read_ignored(
    folder: Path, view: str, size: tuple[int, int] | None = None
) -> NDArray[np.bool_] | None:
    """Return which pixels of a view are ignored, [H, W]; None if none is.

    Args:
        folder: The folder that holds ``images/``.
        view: The view's name without its ending.
        size: (width, height) to resample to, px: a pixel is ignored if any part of it is. None
            keeps the file's size.

    Raises:
        InputError: If the file cannot be read.
    """
    path = ignore_file(folder, view)
    if not path.is_file():
        return None
    with opened(path, "a mask of ignored pixels") as file:
        image = file.convert("L")
    if size is not None and image.size != size:
        image = image.resize(size, Image.Resampling.BOX)
    ignored = np.asarray(image) > 0
    return ignored if ignored.any() else None
