"""ID maps: how they are read, written and resampled.

An ID map is [H, W] integers: the ID of the object that each pixel shows, 0 where it shows none. On
disk it is a 16-bit grey PNG file.

IDs cannot be averaged: every way of resampling takes whole IDs. They differ in which one:

* :func:`resize_by_area`: the ID that covers most of the target pixel. For maps that are compared
  with photographs or trained on; outlines stay where an averaged photograph shows them.
* :func:`resize_by_centres`: the pixel in which the target pixel's centre lies, as in Gaussian
  Grouping's scripts. For predictions and annotations that are scored against each other.
* :func:`resize_by_corners`: the pixel in which the target pixel's upper left corner lies. For
  segments between the size at which an image is segmented and its own.
* :func:`sample_cells` and :func:`spread_cells`: to a coarse grid of square cells and back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.errors import GradisegError, InputError
from gradiseg_core.files.images import (
    is_lossy,
    opened,
    refuse_changed_values,
    stored_bits,
    stored_values,
)

_ENDINGS = (".png", ".PNG", ".Png", ".tif", ".tiff", ".TIF", ".TIFF")

#: The largest ID that a file holds.
MAX_ID = 65535
_INEXACT_FLOAT = 2**24  # from here on 32-bit floats skip whole numbers
_TIE = 1e-4  # share of a pixel: breaks ties of areas and decides nothing else


def read_id_map(path: Path) -> NDArray[np.int32]:
    """Read an ID map.

    Args:
        path: A grey or palette PNG or TIFF file, or one with equal channels.

    Returns:
        [H, W] int32.

    Raises:
        InputError: If the file is missing, unreadable or lossy, carries an orientation, or has
            colours or values that are not IDs.
    """
    with opened(path, "an ID map") as file:
        if is_lossy(file):
            raise InputError(
                f"{path} is a {file.format} file, which changes the IDs; save ID maps as png"
            )
        refuse_changed_values(path, file, "an ID map")
        try:
            return ids_of(file, stored_bits(path, file))
        except ValueError as error:
            raise InputError(f"{path} has {error}") from error


def ids_of(image: Image.Image, bits: int = 8) -> NDArray[np.int32]:
    """Return the values of an ID map, [H, W] int32.

    Args:
        image: The map.
        bits: Bits a channel of its file.

    Raises:
        ValueError: If the image has several channels that differ, or values that are not IDs.
    """
    values = stored_values(image, bits)
    if values.ndim == 3:
        if image.mode in ("LA", "PA", "RGBA") and np.ptp(values[..., -1]) == 0:
            values = values[..., :-1]
        if image.mode not in ("L", "LA", "PA", "RGB", "RGBA") or np.any(values != values[..., :1]):
            raise ValueError(
                f"{len(image.getbands())} channels; an ID map is one grey channel whose value is "
                "the object's ID (a coloured visualisation cannot be used)"
            )
        values = values[..., 0]
    if image.mode in ("P", "PA"):
        _refuse_other_greys(image, values)
    if values.dtype.kind == "f":
        if not np.array_equal(values, np.rint(values)):
            raise ValueError("values that are not whole numbers")
        if values.max(initial=0) >= _INEXACT_FLOAT:
            raise ValueError(
                f"values up to {values.max():g}, and floats are exact below {_INEXACT_FLOAT} "
                "only, so they are not IDs"
            )
    if values.min(initial=0) < 0:
        raise ValueError(f"negative values (down to {values.min():g}), which are not IDs")
    return values.astype(np.int32)


def id_map_file(folder: Path, stem: str) -> Path | None:
    """Return the file of a view's ID map, `<stem>.png` or `.tif` in any case; None without one."""
    for ending in _ENDINGS:
        path = folder / f"{stem}{ending}"
        if path.is_file():
            return path
    return None


def write_id_map(path: Path, ids: NDArray) -> None:
    """Write [H, W] integer IDs as a 16-bit grey PNG.

    Raises:
        ValueError: If an ID lies outside 0..65535 (it would wrap).
    """
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    if low < 0 or high > MAX_ID:
        raise ValueError(f"IDs {low}..{high} do not fit 16 bits: {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint16)).save(path)


def check_ids(ids: Any, shape: tuple[int, int], maker: str, *, most: int = MAX_ID) -> None:
    """Make sure that what a backend returned for a view is an ID map of it.

    Args:
        ids: What it returned.
        shape: (H, W) of the view's undistorted photograph, px.
        maker: The backend and the view, as the message names them.
        most: The largest ID that is allowed.

    Raises:
        GradisegError: If it is not an [H, W] array of integers in 0..most.
    """
    if not isinstance(ids, np.ndarray):
        wrong = f"{type(ids).__name__}, no NumPy array"
    elif not np.issubdtype(ids.dtype, np.integer):
        wrong = f"values of type {ids.dtype}, not whole numbers"
    elif ids.shape != tuple(shape):
        wrong = f"an array of shape {list(ids.shape)}"
    elif ids.min(initial=0) < 0:
        wrong = f"the ID {int(ids.min())}; IDs count from 0, which stands for no segment"
    elif ids.max(initial=0) > most:
        wrong = f"IDs up to {int(ids.max())}; they go up to {most}, so it must find fewer segments"
    else:
        return
    raise GradisegError(
        f"{maker}: returned {wrong}. Expected an array of integers, {list(shape)}, as high and "
        f"wide as the undistorted photograph, with IDs in 0..{most}: correct the backend's file or "
        "its options"
    )


def resize_by_area(ids: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Resample an ID map so that every target pixel gets the ID that covers most of it.

    The nearest source pixel alone would move outlines against the photograph, whose pixels are
    averages: at half size by half a source pixel, right and down. Where two IDs cover equal parts,
    as along straight outlines at half size, the source pixels just before and just after the middle
    decide in turn, like the squares of a chessboard, so that outlines stay where they are.

    Args:
        ids: [h, w] IDs.
        shape: (H, W), px; enlarging repeats the nearest pixels.

    Returns:
        [H, W] int32.
    """
    values = ids.astype(np.int32)
    if values.shape == tuple(shape):
        return values
    (height, width), (out_height, out_width) = values.shape, shape
    rows, columns = _middle_pixels(height, out_height), _middle_pixels(width, out_width)
    black = np.add.outer(np.arange(out_height), np.arange(out_width)) % 2 == 0
    middle = np.where(
        black, values[np.ix_(rows[0], columns[0])], values[np.ix_(rows[1], columns[1])]
    )
    if out_width > width or out_height > height:
        return middle
    best, covered = middle, np.full(middle.shape, -1.0, np.float32)
    for label in np.unique(values):
        mask = Image.fromarray((values == label).astype(np.float32))
        share = np.asarray(mask.resize((out_width, out_height), Image.Resampling.BOX)) + _TIE * (
            middle == label
        )
        best = np.where(share > covered, label, best)
        covered = np.maximum(covered, share)
    return best


def resize_by_centres(values: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Resample IDs or a mask by the source pixels in which the centres of target pixels lie.

    Args:
        values: [h, w] booleans or integers.
        shape: (H, W), px.

    Returns:
        [H, W] of the same type.
    """
    if values.shape == tuple(shape):
        return values
    plain = values.astype(np.uint8) if values.dtype == np.bool_ else values.astype(np.int32)
    resized = Image.fromarray(plain).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(values.dtype)


def resize_by_corners(ids: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Resample an ID map by the source pixels in which the corners of target pixels lie.

    Args:
        ids: [h, w] IDs.
        shape: (H, W), px, larger or smaller.
    """
    if ids.shape == tuple(shape):
        return ids
    height, width = shape
    rows = (np.arange(height) * ids.shape[0]) // height
    columns = (np.arange(width) * ids.shape[1]) // width
    return ids[np.ix_(rows, columns)]


def sample_cells(values: NDArray, stride: int) -> NDArray:
    """Return the values of a map [H, W] at the centres of cells of ``stride`` x ``stride`` px."""
    return values[stride // 2 :: stride, stride // 2 :: stride]


def spread_cells(cells: NDArray, shape: tuple[int, ...], stride: int) -> NDArray:
    """Return a map [H, W] in which each pixel has the value of its cell.

    Args:
        cells: From :func:`sample_cells`; pixels beyond the last cell take its value.
        shape: (H, W), px.
        stride: Side of a cell, px.
    """
    rows = np.minimum(np.arange(shape[0]) // stride, cells.shape[0] - 1)
    columns = np.minimum(np.arange(shape[1]) // stride, cells.shape[1] - 1)
    return cells[rows[:, None], columns[None, :]]


def _middle_pixels(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for every target pixel, the source pixels just before and just after its middle."""
    doubled = (2 * np.arange(target) + 1) * source  # the middle, times 2 * target
    before = -(-doubled // (2 * target)) - 1
    return before, np.minimum(doubled // (2 * target), source - 1)


def _refuse_other_greys(image: Image.Image, indices: NDArray) -> None:
    """Refuse a palette of greys that are not their indices: either may be meant as the ID.

    A program that reduces colours sorts them anew in every file, and the index means nothing.
    """
    palette = np.asarray(image.getpalette("RGB") or [], dtype=np.int64).reshape(-1, 3)
    used = np.unique(indices)
    used = used[used < len(palette)]
    if np.any(palette != palette[:, :1]) or np.array_equal(palette[used, 0], used):
        return
    entry = int(used[palette[used, 0] != used][0])
    raise ValueError(
        f"a palette of greys that differ from their place in it (entry {entry} is grey "
        f"{palette[entry, 0]}), so it cannot be told which is the ID; save it as a grey png"
    )
