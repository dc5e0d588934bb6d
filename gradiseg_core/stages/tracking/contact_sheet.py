"""The contact sheet: all views at a glance, every object in its colour, and a picture of each."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gradiseg_core.files.manifest import in_order
from gradiseg_core.files.palette import id_colors
from gradiseg_core.files.pictures import font, shown_photograph

THUMB_WIDTH = 240  # px
GAP = 6  # px
CAPTION = 16  # px, height of the line under a thumbnail
TEXT = 11  # px
SWATCH = 14  # px, side of a legend square
ENTRY_WIDTH = 120  # px, of a legend entry
PICTURE_WIDTH, PICTURE_HEIGHT = ENTRY_WIDTH - 8, 84  # px at most, of an object's picture in it
MAX_ENTRIES = 96
OPACITY = 0.6  # of the colour over the photograph


def contact_sheet(
    maps: dict[str, NDArray],
    photographs: dict[str, Path],
    areas: dict[int, int],
    pictures: Mapping[int, NDArray[np.uint8]],
    *,
    max_views: int,
) -> NDArray[np.uint8]:
    """Draw the views in a grid, IDs over the photographs, and a legend with the objects' pictures.

    Args:
        maps: [H, W] ID maps by stem; 0 is left as the photograph, darkened.
        photographs: Image files by stem.
        areas: Pixels of each ID over all views; the legend lists the largest first, as
            "ID share of all pixels".
        pictures: [h, w, 3] of the objects that have one.
        max_views: Most views shown; evenly spaced over the sorted stems.

    Returns:
        [H', W', 3] uint8.
    """
    stems = evenly(in_order(maps), max_views)
    palette = id_colors(max(areas, default=0) + 1)
    height = _row_height([maps[stem].shape for stem in stems])
    thumbs = [overlay(maps[stem], photographs[stem], palette, height) for stem in stems]
    columns = min(len(stems), max(3, round(math.sqrt(len(stems) * 1.2))))
    rows = math.ceil(len(stems) / columns)
    cell_w, cell_h = THUMB_WIDTH + GAP, height + CAPTION + GAP
    width = max(columns * cell_w + GAP, 3 * ENTRY_WIDTH + 2 * GAP)
    per_row = (width - 2 * GAP) // ENTRY_WIDTH
    shown = sorted(areas, key=lambda i: (-areas[i], i))[:MAX_ENTRIES]
    legend_rows = math.ceil((len(shown) + 1) / per_row)
    entry_h = PICTURE_HEIGHT + SWATCH + 2 * GAP
    canvas = Image.new(
        "RGB", (width, rows * cell_h + GAP + legend_rows * entry_h + GAP), (255, 255, 255)
    )
    draw, letters = ImageDraw.Draw(canvas), font(TEXT)
    for index, (stem, thumb) in enumerate(zip(stems, thumbs, strict=True)):
        x = GAP + (index % columns) * cell_w
        y = GAP + (index // columns) * cell_h
        middle = (THUMB_WIDTH - thumb.shape[1]) // 2, (height - thumb.shape[0]) // 2
        canvas.paste(Image.fromarray(thumb), (x + middle[0], y + middle[1]))
        draw.text((x, y + height + 1), _shorten(stem), fill=(40, 40, 40), font=letters)
    total = max(1, sum(ids.size for ids in maps.values()))
    top = rows * cell_h + GAP
    for index, label in enumerate(shown):
        x = GAP + (index % per_row) * ENTRY_WIDTH
        y = top + (index // per_row) * entry_h
        if label in pictures:
            small = Image.fromarray(pictures[label])
            small.thumbnail((PICTURE_WIDTH, PICTURE_HEIGHT))
            canvas.paste(small, (x, y + PICTURE_HEIGHT - small.height))
        y += PICTURE_HEIGHT + GAP // 2
        color = tuple(int(c) for c in palette[label])
        draw.rectangle((x, y, x + SWATCH - 1, y + SWATCH - 1), fill=color, outline=(0, 0, 0))
        text = f"{label}  {100 * areas[label] / total:.2g} %"
        draw.text((x + SWATCH + 4, y - 1), text, fill=(0, 0, 0), font=letters)
    rest = len(areas) - len(shown)
    if rest:
        x = GAP + (len(shown) % per_row) * ENTRY_WIDTH
        y = top + (len(shown) // per_row) * entry_h + PICTURE_HEIGHT + GAP // 2
        draw.text((x, y - 1), f"and {rest} smaller", fill=(0, 0, 0), font=letters)
    return np.asarray(canvas)


def _row_height(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the height of thumbnails, px: that of most views where they fill the width."""
    heights = sorted(max(1, round(shape[0] * THUMB_WIDTH / shape[1])) for shape in shapes)
    return heights[(len(heights) - 1) // 2]


def overlay(
    ids: NDArray, photograph: Path, palette: NDArray[np.uint8], most_height: int
) -> NDArray[np.uint8]:
    """Return a thumbnail, [h, w, 3]: colours over the photograph, white boundaries.

    It is THUMB_WIDTH wide, or less where it would be higher than ``most_height``.
    """
    scale = min(THUMB_WIDTH / ids.shape[1], (most_height + 0.5) / ids.shape[0])
    width = min(THUMB_WIDTH, max(1, round(ids.shape[1] * scale)))
    height = max(1, min(most_height, round(ids.shape[0] * scale)))
    photo = shown_photograph(photograph.parent.parent, photograph.name, (width, height))
    photo = photo.astype(np.float32)
    rows = ((np.arange(height) + 0.5) * ids.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * ids.shape[1] / width).astype(np.int64)
    small = ids[rows[:, None], columns[None, :]]
    # Brightness only under the colour: hues then mean IDs and nothing else.
    grey = photo.mean(axis=2, keepdims=True)
    mixed = OPACITY * palette[small].astype(np.float32) + (1.0 - OPACITY) * grey
    mixed = np.where((small == 0)[:, :, None], 0.5 * photo, mixed)
    edge = np.zeros(small.shape, dtype=bool)
    edge[:, 1:] |= small[:, 1:] != small[:, :-1]
    edge[1:] |= small[1:] != small[:-1]
    mixed[edge] = 255.0
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def evenly(stems: Sequence[str], count: int) -> list[str]:
    """Return at most ``count`` of the stems, evenly spaced, the first and last included."""
    if len(stems) <= count:
        return list(stems)
    picked = np.unique(np.round(np.linspace(0, len(stems) - 1, count)).astype(int))
    return [stems[i] for i in picked]


def _shorten(stem: str) -> str:
    """Return as much of the end of a name as fits under a thumbnail."""
    text = unicodedata.normalize("NFC", stem)  # names from macOS have accents apart
    if font(TEXT).getlength(text) <= THUMB_WIDTH:
        return text
    while text and font(TEXT).getlength(f"…{text}") > THUMB_WIDTH:
        text = text[1:]
    return f"…{text}"
