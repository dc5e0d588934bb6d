"""A small picture of every object: its photograph, cut out around it, with its outline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.files.manifest import in_order
from gradiseg_core.files.palette import id_colors
from gradiseg_core.stages.tracking.overflow import IdMaps

#: Longest side, px.
SIDE = 128
#: Most objects that get one, the largest over all views first.
MOST = 256
#: White space around an object, as a share of its longer side, and px of the photograph at least.
MARGIN, LEAST_MARGIN = 0.12, 4
#: What an object that is cut off by the border counts for, against one that is whole.
CUT_OFF = 0.5
#: Views that are looked at closely for each object, those that show most of it.
TRIED = 4
#: Brightness of what is not the object, as a share.
DIMMED = 0.55
OUTLINE = 2  # px


def thumbnails(
    maps: IdMaps, areas: dict[int, int], photograph: Callable[[str], NDArray[np.uint8]]
) -> dict[int, tuple[str, NDArray[np.uint8]]]:
    """Return the best view of each object, and a picture of the object there.

    Args:
        maps: [H, W] ID maps by stem.
        areas: Pixels of each ID over all views.
        photograph: From a stem to its photograph, [H, W, 3]; each is read once.

    Returns:
        Stem and [h, w, 3] by ID, of the :data:`MOST` largest.
    """
    wanted = sorted(areas, key=lambda label: (-areas[label], label))[:MOST]
    views = best_views(maps, wanted)
    palette = id_colors(max(wanted, default=0) + 1)
    pictures = {}
    for stem in dict.fromkeys(views.values()):
        image = photograph(stem)
        for label in (label for label in wanted if views[label] == stem):
            pictures[label] = (stem, thumbnail(image, maps[stem] == label, palette[label]))
    return {label: pictures[label] for label in wanted}


def best_views(maps: IdMaps, labels: list[int]) -> dict[int, str]:
    """Return, for each ID, the view that shows its largest connected part.

    A part that reaches the border counts less, as the object is cut off there. What covers an
    object makes it smaller or divides it, so that views that show it whole win.
    """
    from scipy.ndimage import find_objects

    shown: dict[int, list[tuple[float, str]]] = {label: [] for label in labels}
    for stem in in_order(maps):
        ids = maps[stem]
        values, counts = np.unique(ids, return_counts=True)
        border = set(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]).tolist())
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            if value in shown:
                weight = CUT_OFF if value in border else 1.0
                shown[value].append((weight * count / ids.size, stem))
    closely = {
        label: sorted(found, key=lambda entry: -entry[0])[:TRIED] for label, found in shown.items()
    }
    boxes = {
        stem: find_objects(maps[stem])
        for stem in dict.fromkeys(stem for tried in closely.values() for _, stem in tried)
    }
    best = {}
    for label, tried in closely.items():
        parts = [maps[stem][boxes[stem][label - 1]] == label for _, stem in tried]
        sizes = [size * _largest_share(part) for (size, _), part in zip(tried, parts, strict=True)]
        best[label] = tried[int(np.argmax(sizes))][1]
    return best


def thumbnail(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return an object's picture, its longest side :data:`SIDE` px.

    Args:
        image: [H, W, 3].
        mask: [H, W], the object's pixels, at least one.
        colour: [3], of the outline.
    """
    from scipy.ndimage import binary_erosion

    rows, columns = np.nonzero(_largest_part(mask))
    margin = max(LEAST_MARGIN, round(MARGIN * max(np.ptp(rows), np.ptp(columns))))
    top, left = max(0, rows.min() - margin), max(0, columns.min() - margin)
    bottom, right = rows.max() + 1 + margin, columns.max() + 1 + margin
    cut, own = image[top:bottom, left:right], mask[top:bottom, left:right]
    scale = SIDE / max(own.shape)
    size = max(1, round(own.shape[1] * scale)), max(1, round(own.shape[0] * scale))
    picture = np.asarray(Image.fromarray(cut).resize(size, Image.Resampling.BICUBIC))
    inside = np.asarray(Image.fromarray(own).resize(size, Image.Resampling.NEAREST))
    drawn = np.where(inside[..., None], picture, picture * DIMMED).astype(np.uint8)
    drawn[inside & ~binary_erosion(inside, iterations=OUTLINE, border_value=1)] = colour
    return drawn


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import label

    parts, count = label(mask)
    if count == 1:
        return mask
    return np.asarray(parts == 1 + np.bincount(parts[mask])[1:].argmax())


def _largest_share(mask: NDArray[np.bool_]) -> float:
    return np.count_nonzero(_largest_part(mask)) / np.count_nonzero(mask)
