"""Things at the same place in every photograph: a gripper, a date stamp, a turntable's room.

Their features match without motion in every pair, and compete with the scene's for the geometry of
the pair. At reduced size this module finds edges that have the same place and direction in nearly
all photographs while the rest of the picture changes. COLMAP then takes no features there. Plain
areas (a white sky, a black background) have no features anyway. A shadow on changing ground is
found only if its edges are stronger than those of the ground.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gradiseg_core.files.ignore import read_ignored

FEWEST = 6  # photographs; fewer agree too often by chance
_MOST = 48  # photographs that are read, evenly spread
_SIDE = 320  # px, longest side of the reduced pictures
_EDGE = 6.0  # grey levels per pixel of an edge
_COSINE = 0.8  # of an edge's direction with its median over the photographs
_NEARLY_ALL = 0.9
_STEADY = 0.5  # change of the grey value, divided by that of the whole picture
_CHANGES = 6.0  # grey levels (median deviation) by which the whole picture must change
_SMALLEST = 0.0015  # share of the picture
_MARGIN = 0.012  # of the longest side, around it: features reach over what they are centred on


def find_standing(
    image_dir: Path, names: list[str], scene_dir: Path | None = None
) -> NDArray[np.bool_] | None:
    """Return a mask [h, w], at reduced size, of what stands still in all photographs, or None.

    Args:
        image_dir: Folder of the photographs.
        names: Their file names. None is returned if they are not all of one size.
        scene_dir: Folder of the scene, whose ignore masks say what does not count; None without.
    """
    if len(names) < FEWEST:
        return None
    spread = np.unique(np.linspace(0, len(names) - 1, _MOST).round().astype(int))
    grey = _read(image_dir, [names[i] for i in spread])
    if grey is None:
        return None
    known = _counting(scene_dir, [names[i] for i in spread], grey)
    if known is None:
        middle = np.median(grey, axis=0)
        change = np.median(np.abs(grey - middle), axis=0)  # [h, w]
        counted = change
    else:
        gaps = np.ma.masked_array(grey, ~known)
        median = np.ma.median(gaps, axis=0)
        middle = median.filled(0.0)
        change = np.ma.median(np.abs(gaps - median), axis=0).filled(np.inf)
        counted = change[np.isfinite(change)]
        grey = np.where(known, grey, middle)
        if counted.size == 0:
            return None
    typical = float(np.median(counted))
    if typical < _CHANGES:
        # Either most of the picture stands still (a turntable before a wall), or the camera hardly
        # moved and small changes mean nothing. The upper quarter of the changes tells which.
        typical = float(np.percentile(counted, 90))
        if typical < _CHANGES:
            return None
    steady = change < _STEADY * typical
    agree = _same_edges(grey, known) & steady
    margin = max(2, round(_MARGIN * max(middle.shape)))
    closed = ndimage.binary_closing(np.pad(agree, margin), _disc(margin))
    closed = closed[margin:-margin, margin:-margin]
    # What changes inside is no part of it: the object on a turntable, of which the outline may
    # stand still (a vase, a ball) as the room around it does.
    filled = closed | (ndimage.binary_fill_holes(closed) & steady)
    # Edges that agree by chance are thin and scattered; a thing survives the opening.
    solid = ndimage.binary_opening(filled, _disc(1))
    labels, count = ndimage.label(solid)
    if count == 0:
        return None
    areas = np.bincount(labels.ravel())[1:]
    large = np.flatnonzero(areas >= _SMALLEST * solid.size) + 1
    if len(large) == 0:
        return None
    return ndimage.binary_dilation(np.isin(labels, large), _disc(margin))


def write_mask(standing: NDArray[np.bool_], size: tuple[int, int], path: Path) -> None:
    """Write COLMAP's mask for all photographs: black where no features are taken.

    Args:
        standing: Result of `find_standing`.
        size: (width, height) of the photographs, px.
        path: PNG file to write.
    """
    mask = Image.fromarray(np.where(standing, 0, 255).astype(np.uint8))
    mask.resize(size, Image.Resampling.NEAREST).save(path, format="PNG")


def _read(image_dir: Path, names: list[str]) -> NDArray[np.float32] | None:
    """Return grey values at reduced size, [n, h, w]; None if sizes differ."""
    pictures, sizes = [], set()
    for name in names:
        with Image.open(image_dir / name) as file:
            sizes.add(file.size)
            if len(sizes) > 1:
                return None
            scale = min(1.0, _SIDE / max(file.size))
            small = (max(1, round(file.width * scale)), max(1, round(file.height * scale)))
            file.draft("L", (2 * small[0], 2 * small[1]))  # JPEG: decodes a reduced picture
            grey = file.convert("L").resize(small, Image.Resampling.BOX)
        pictures.append(np.asarray(grey, dtype=np.float32))
    return np.stack(pictures)


def _counting(
    scene_dir: Path | None, names: list[str], grey: NDArray[np.float32]
) -> NDArray[np.bool_] | None:
    """Return where the photographs are not ignored, [n, h, w]; None if nothing is."""
    if scene_dir is None:
        return None
    size = grey.shape[2], grey.shape[1]
    ignored = [read_ignored(scene_dir, name.rsplit(".", 1)[0], size) for name in names]
    if all(mask is None for mask in ignored):
        return None
    nothing = np.zeros(grey.shape[1:], np.bool_)
    return ~np.stack([nothing if mask is None else mask for mask in ignored])


def _same_edges(
    grey: NDArray[np.float32], known: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Return the mask [h, w] of pixels at which nearly all photographs have the same edge.

    Args:
        grey: [n, h, w].
        known: [n, h, w], which pixels count; None: all.
    """
    smooth = ndimage.gaussian_filter(grey, (0, 0.7, 0.7))
    dy, dx = np.gradient(smooth, axis=(1, 2))
    my, mx = np.median(dy, axis=0), np.median(dx, axis=0)
    length = np.hypot(mx, my)
    along = (dx * mx + dy * my) / np.maximum(length, 1e-6)
    straight = along >= _COSINE * np.maximum(np.hypot(dx, dy), 1e-6)
    strong = (along > 0.5 * length) & (along < 2.0 * length)
    same = straight & strong
    if known is None:
        return (length >= _EDGE) & (same.mean(axis=0) >= _NEARLY_ALL)
    enough = known.sum(axis=0) >= FEWEST
    return (
        (length >= _EDGE) & enough & ((same & known).sum(axis=0) >= _NEARLY_ALL * known.sum(axis=0))
    )


def _disc(radius: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius
