"""How far a video's picture moves and how sharp its frames are, and which of them are taken.

Notation: frames 0..n-1 in order of time; ``path[i]`` is how far the picture has moved until
frame i, in widths of the picture; it never decreases.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

STEP = 0.04
"""Taken frames are at least this far apart, in widths: neighbours overlap by more than 90 %."""
_LEAST_FRAMES = 12  # if the video has so many, however little the picture moves
_WINDOW = 0.35  # of the distance between taken frames: how far one may be from its place
_KEPT_PX = 2.0  # motion up to this is measured against one frame, so that trembling does not add up
_DARK, _CLIPPED = 16.0, 240.0  # of 255: brightness is compared between these
_LEAST_EXPOSED = 0.05  # of the pixels
_CUT = 0.5  # widths that a motion counts at most
_LEVELS = (4, 2, 1)
_ITERATIONS = 3

Grey = NDArray[np.float32]


class Travel:
    """The path of the picture, fed frame by frame."""

    def __init__(self) -> None:
        """Begin with no frame."""
        self._reference: Grey | None = None
        self._so_far = self._bright_so_far = 0.0
        self.path: list[float] = []
        self.brightness: list[float] = []
        """By how many stops, factors of two, the same content is brighter than at the start."""

    def add(self, grey: Grey) -> None:
        """Measure the next frame.

        Args:
            grey: [h, w] about 160 px wide, 0..255.
        """
        if self._reference is None:
            self._reference = grey
        if grey.shape != self._reference.shape:  # a cut to another size: cameras turned, joined
            self._reference, self._so_far = grey, self.path[-1] + _CUT
        width = grey.shape[1]
        flow = _flow(self._reference, grey)
        moved_px = _mean_px(flow, grey.shape)
        moved = self._so_far + moved_px / width
        brighter = self._bright_so_far + _stops(self._reference, grey, flow)
        if moved_px > _KEPT_PX:
            self._reference, self._so_far, self._bright_so_far = grey, moved, brighter
        self.brightness.append(brighter)
        self.path.append(max(moved, self.path[-1] if self.path else 0.0))


def sharpness(grey: Grey) -> float:
    """Return the variance of the Laplacian (Pech-Pacheco et al. 2000), relative to contrast.

    Args:
        grey: [h, w], 0..255.
    """
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(laplacian.var() / (grey.var() + 1.0))


def motion_px(first: Grey, second: Grey) -> float:
    """Return how far the picture moves between two frames, the mean over all pixels, px.

    An affine motion and a change of brightness, by least squares from coarse to fine (Lucas and
    Kanade 1981; Bergen et al. 1992): turns and steps towards the scene count, parallax on average.

    Args:
        first: [h, w], 0..255.
        second: The same.
    """
    return _mean_px(_flow(first, second), first.shape)


def _flow(first: Grey, second: Grey) -> NDArray:
    """Return the affine motion, [2, 3]: (drow, dcolumn) = flow @ (row, column, 1), px.

    Rows and columns count from the middle.
    """
    flow = np.zeros((2, 3))
    for level in _LEVELS:
        if min(first.shape) // level < 16:
            continue
        small, other = _reduced(first, level), _reduced(second, level)
        for _ in range(_ITERATIONS):
            flow += _update(small, other, flow, level)
    return flow


def _stops(first: Grey, second: Grey, flow: NDArray) -> float:
    """Return by how many stops the second frame is brighter where both show the same.

    Values are about the 2.2th root of light, as in all videos but HDR, where it is less exact. The
    median over pixels: the motion fits but a part of them, as things that are near move farther,
    and what is seen in their place is brighter or darker, which adds up over a video. Of seven
    scenes without any change, 36 or 44 views each, means gave 0.5 to 1.4 stops, medians 0.3 to 0.6.
    """
    moved = _warped(second, flow, fill=np.nan)
    shared = np.isfinite(moved)
    if shared.mean() < 0.5:
        return 0.0  # a cut: nothing is shared
    before, after = first[shared], moved[shared]
    exposed = (np.minimum(before, after) > _DARK) & (np.maximum(before, after) < _CLIPPED)
    if exposed.mean() < _LEAST_EXPOSED:
        return 0.0
    return 2.2 * float(np.median(np.log2(after[exposed] / before[exposed])))


def _mean_px(flow: NDArray, shape: tuple[int, ...]) -> float:
    height, width = shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    rows, columns = rows - (height - 1) / 2, columns - (width - 1) / 2
    drow = flow[0, 0] * rows + flow[0, 1] * columns + flow[0, 2]
    dcolumn = flow[1, 0] * rows + flow[1, 1] * columns + flow[1, 2]
    moved = float(np.hypot(drow, dcolumn).mean())
    # Beyond this, frames hardly overlap and the fit means nothing: a cut, or a very fast turn.
    return min(moved, _CUT * width) if np.isfinite(moved) else _CUT * width


def _reduced(grey: Grey, level: int) -> Grey:
    height, width = (side // level * level for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // level, level, width // level, level)
    return ndimage.gaussian_filter(blocks.mean(axis=(1, 3)), 1.0)


def _warped(second: Grey, flow: NDArray, fill: float | None = None) -> Grey:
    """Return the second frame as the first saw it; outside it, its edge or ``fill``."""
    matrix = np.eye(2) + flow[:, :2]
    centre = (np.array(second.shape) - 1) / 2
    offset = centre + flow[:, 2] - matrix @ centre
    if fill is None:
        return ndimage.affine_transform(second, matrix, offset, order=1, mode="nearest")
    return ndimage.affine_transform(second, matrix, offset, order=1, mode="constant", cval=fill)


def _update(first: Grey, second: Grey, flow: NDArray, level: int) -> NDArray:
    """Return what is to be added to the flow, [2, 3], from one step at one level."""
    height, width = first.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    rows, columns = rows - (height - 1) / 2, columns - (width - 1) / 2
    moved = _warped(second, flow / [1.0, 1.0, level])
    row_step, column_step = np.gradient(0.5 * (first + moved))
    ones = np.ones_like(rows)
    basis = np.stack(
        [row_step * rows, row_step * columns, row_step, column_step * rows, column_step * columns,
         column_step, ones],
        axis=-1,
    )[2:-2, 2:-2].reshape(-1, 7)  # fmt: skip
    difference = (first - moved)[2:-2, 2:-2].reshape(-1)
    weights = 1.0 / (1.0 + (difference / 10.0) ** 2)  # what moves on its own counts little
    weighted = basis * weights[:, None]
    normal = weighted.T @ basis
    normal[np.diag_indices(7)] += (
        1e-3 * normal.diagonal().mean() * np.array([1e-3, 1e-3, 1, 1e-3, 1e-3, 1, 1e-3]) + 1e-9
    )
    found = np.linalg.solve(normal, weighted.T @ difference)[:6].reshape(2, 3)
    found[:, 2] *= level
    return found


def chosen_frames(path: NDArray, sharp: NDArray, most: int) -> list[int]:
    """Return which frames to take: evenly along the path, of each neighbourhood the sharpest.

    Args:
        path: [n], widths, never decreasing.
        sharp: [n] sharpness.
        most: At most so many.

    Returns:
        Indices in their order, no more than ``most`` and than the picture's motion asks for.
    """
    number = len(path)
    whole = float(path[-1])
    wanted = min(most, number, max(_LEAST_FRAMES, round(whole / STEP) + 1))
    if whole <= 0:
        return sorted({int(i) for i in np.linspace(0, number - 1, wanted).round()})
    apart = whole / wanted
    taken: set[int] = set()
    for k in range(wanted):
        place = (k + 0.5) * apart
        first, last = np.searchsorted(path, [place - _WINDOW * apart, place + _WINDOW * apart])
        near = [i for i in range(first, last) if i not in taken]
        if near:
            taken.add(max(near, key=lambda i: (sharp[i], -i)))
        else:  # the picture jumps over this place
            nearest = int(np.abs(path - place).argmin())
            taken.add(nearest)
    return sorted(taken)
