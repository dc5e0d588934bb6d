"""Draws what a rendering returns: features, depth, labels; and rows of pictures with titles.

All but :func:`shown_photograph` are pure: arrays in, [H, W, 3] uint8 pictures out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.palette import id_colors

GAP_PX = 8
"""White space around every panel."""


@dataclass(frozen=True)
class PcaBasis:
    """A projection of encodings to colour that stays the same for all views of a scene.

    Attributes:
        mean: [D].
        components: [D, 3], orthonormal columns by falling variance.
        deviation: [3], standard deviation along each component (at least 1e-12).
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def colors(self, features: NDArray) -> NDArray[np.uint8]:
        """Return [H, W, 3] uint8 for features [H, W, D]; +-2.5 deviations span the range."""
        scores = (features.astype(np.float64) - self.mean) @ self.components / self.deviation
        return np.clip((scores / 5.0 + 0.5) * 255.0 + 0.5, 0, 255).astype(np.uint8)


class Moments:
    """Mean and covariance of feature vectors, gathered view by view in constant memory."""

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self.total = np.zeros(dimensions)
        self.products = np.zeros((dimensions, dimensions))

    def add(self, features: NDArray) -> None:
        """Add the pixels of features [H, W, D]."""
        rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.products += rows.T @ rows

    def pca(self) -> PcaBasis:
        """Return the three main axes; each axis' sign makes its largest entry positive.

        Raises:
            ValueError: If nothing was added.
        """
        if self.count == 0:
            raise ValueError("a PCA needs at least one pixel")
        mean = self.total / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1][:3], vectors[:, ::-1][:, :3]
        if len(values) < 3:  # fewer than three feature channels
            missing = 3 - len(values)
            values = np.pad(values, (0, missing))
            vectors = np.pad(vectors, ((0, 0), (0, missing)))
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(3)]
        vectors = vectors * np.where(largest < 0, -1.0, 1.0)
        deviation = np.sqrt(np.maximum(values, 0.0))
        return PcaBasis(mean, vectors, np.maximum(deviation, 1e-12))


def depth_picture(
    depth: NDArray[np.float32], visible: NDArray[np.bool_], near: float, far: float
) -> NDArray[np.uint8]:
    """Colour depth by its inverse: near is bright, far is dark, nothing is black.

    Args:
        depth: [H, W], world units.
        visible: [H, W], False where the pixel shows nothing.
        near: Depth of the brightest colour.
        far: Depth of the darkest colour, at least ``near``.
    """
    from matplotlib import colormaps

    inverse = 1.0 / np.maximum(depth, 1e-12)
    low, high = 1.0 / max(far, 1e-12), 1.0 / max(near, 1e-12)
    scaled = np.clip((inverse - low) / max(high - low, 1e-12), 0.0, 1.0)
    # The lowest tenth of the colour map is nearly black, which means "nothing" here.
    picture = colormaps["magma"](0.1 + 0.9 * scaled)[..., :3]
    picture[~visible] = 0.0
    return (picture * 255.0 + 0.5).astype(np.uint8)


def overlay_ids(
    photo: NDArray[np.uint8],
    ids: NDArray[np.integer],
    opacity: float,
    palette: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Lay object colours over a greyed photograph; ID 0 leaves the grey as it is.

    Args:
        photo: [H, W, 3].
        ids: [H, W].
        opacity: Weight of the object colour, 0..1.
        palette: [num_ids, 3]; default is :func:`gradiseg_core.files.palette.id_colors`.
    """
    if palette is None:
        palette = id_colors(int(ids.max(initial=0)) + 1)
    grey = photo.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    grey = np.repeat(grey[..., None], 3, axis=-1)
    colored = (1.0 - opacity) * grey + opacity * palette[ids]
    return np.where((ids == 0)[..., None], 0.85 * grey, colored).astype(np.uint8)


def hatched(picture: NDArray[np.uint8], ignored: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a picture [H, W, 3] whose ignored pixels [H, W] are dark under diagonal stripes."""
    height, width = ignored.shape
    stripe = max(3, round(max(height, width) / 60))
    lines = (np.add.outer(np.arange(height), np.arange(width)) // stripe) % 2 == 0
    grey = picture.mean(axis=-1, keepdims=True)
    covered = np.where(lines[..., None], 0.3 * grey + 80.0, 0.3 * grey)
    return np.where(ignored[..., None], covered, picture).astype(np.uint8)


def shown_photograph(
    colmap_dir: Path, name: str, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read a view's photograph to be looked at, [H, W, 3]: what is ignored in it is hatched.

    Args:
        colmap_dir: Output folder of stage `colmap`.
        name: File name of the view.
        size: (width, height) to resample to, px; None keeps the file's.
    """
    picture = read_image(colmap_dir / "images" / name, size)
    ignored = read_ignored(colmap_dir, name.rsplit(".", 1)[0], picture.shape[1::-1])
    return picture if ignored is None else hatched(picture, ignored)


def matched_palette(
    predicted: NDArray[np.integer], truth: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Give true objects the colours of the predicted IDs that cover them: equal means correct.

    Args:
        predicted: [H, W] predicted IDs.
        truth: [H, W] true IDs of the same view; 0 is background.

    Returns:
        [truth.max() + 1, 3] palette for ``truth``. A true object that no predicted ID overlaps, or
        whose ID covers another object more, is light grey.
    """
    palette = np.full((int(truth.max(initial=0)) + 1, 3), 200, dtype=np.uint8)
    palette[0] = 0
    colors = id_colors(int(predicted.max(initial=0)) + 1)
    claims: dict[int, tuple[float, int]] = {}
    for true_id in np.unique(truth[truth > 0]):
        inside = truth == true_id
        counts = np.bincount(predicted[inside])
        counts[0] = 0
        if not counts.any():
            continue
        best = int(counts.argmax())
        overlap = counts[best] / np.count_nonzero(inside | (predicted == best))
        if overlap > claims.get(best, (0.0, 0))[0]:
            claims[best] = (float(overlap), int(true_id))
    for best, (_, true_id) in claims.items():
        palette[true_id] = colors[best]
    return palette


@lru_cache(maxsize=8)
def font(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib."""
    from matplotlib import font_manager

    properties = font_manager.FontProperties(
        family="DejaVu Sans", weight="bold" if bold else "normal"
    )
    return ImageFont.truetype(font_manager.findfont(properties), size_px)


def panel_row(panels: Sequence[tuple[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Set pictures of one size side by side on white, each under its title.

    Args:
        panels: (title, [H, W, 3] uint8), all of one size.

    Raises:
        ValueError: If there are no panels or their sizes differ.
    """
    sizes = {picture.shape for _, picture in panels}
    if len(sizes) != 1:
        raise ValueError(f"panels must be of one size, got {sorted(sizes)}")
    height, width = next(iter(sizes))[:2]
    text_px = int(np.clip(round(height / 18), 11, 40))
    top = text_px + 2 * GAP_PX
    canvas = Image.new(
        "RGB", (len(panels) * (width + GAP_PX) + GAP_PX, top + height + GAP_PX), "white"
    )
    draw = ImageDraw.Draw(canvas)
    for index, (title, picture) in enumerate(panels):
        left = GAP_PX + index * (width + GAP_PX)
        draw.text((left, top - GAP_PX // 2), title, fill="#222222", font=font(text_px), anchor="ls")
        canvas.paste(Image.fromarray(picture), (left, top))
    return np.asarray(canvas)
