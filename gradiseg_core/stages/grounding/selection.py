"""From regions to IDs: the overlap rules that backends share.

Notation: IDs are compared with regions (annotations, or a text model's mask) through a table
``counts[r, i]``: pixels of region r that carry ID i.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.manifest import SceneView

#: Of several views, an ID is taken where more than this share of those that show it select it.
MAJORITY = 0.5
#: Of a protocol, this many parts are printed below a table; `selection.json` has all.
MOST_PARTS = 4


@dataclass(frozen=True)
class Evidence:
    """What a text model found for a prompt in one view; kept for the pictures.

    Attributes:
        stem: The view.
        image: [H, W, 3] uint8, the picture that was searched.
        boxes: [N, 4] x0, y0, x1, y1, px, all that were found, the best first.
        scores: [N] in 0..1.
        used: How many of the boxes, from the first on, became masks.
        text_mask: [H, W], the union of these masks.
    """

    stem: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    used: int
    text_mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Click:
    """A place by which a prompt was answered, and what lies there.

    Attributes:
        view: The view.
        at: Column and row of the pixel in the original photograph, from 0.
        place: x and y in parts of the undistorted view's width and height, 0..1.
        id: The ID there; 0 is none.
        ids: [H, W], the view's IDs that were clicked, for the picture.
    """

    view: SceneView
    at: tuple[int, int]
    place: tuple[float, float]
    id: int
    ids: NDArray[np.int32]


@dataclass(frozen=True)
class Choice:
    """What a backend decided for one prompt.

    Attributes:
        ids: Selected IDs, possibly none.
        why: One sentence for the reader of ``selection.json``.
        details: Whatever else helps to judge the choice (scores, overlaps); JSON types only.
        evidence: What a text model found, view by view; empty for other backends.
        clicks: Where the prompt was clicked; empty for other backends.
        protocol: What a reader of the scores must know of how the choice was made, each in a few
            words that follow a number of prompts: "clicked in a.jpg, a training view".
    """

    ids: list[int]
    why: str
    details: dict[str, Any] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    clicks: tuple[Click, ...] = ()
    protocol: tuple[str, ...] = ()


def protocol_of(choices: Iterable[Choice]) -> str:
    """Return in one line how prompts were answered, for a note below the tables; may be empty."""
    counts = Counter(part for choice in choices for part in dict.fromkeys(choice.protocol))
    parts = [f"{count} {part}" for part, count in counts.most_common(MOST_PARTS)]
    rest = len(counts) - MOST_PARTS
    return "; ".join(parts) + (f"; and {rest} more" if rest > 0 else "")


def select_ids(
    id_map: NDArray[np.integer], text_mask: NDArray[np.bool_], threshold: float = 0.7
) -> list[int]:
    """Return the IDs that lie in a text mask: |ID and mask| / |ID| > threshold.

    Args:
        id_map: [H, W] argmax IDs of the view in which the text mask was found; 0 is included, as
            in Gaussian Grouping.
        text_mask: [H, W], the union of all masks that the text model found.
        threshold: Share of the ID's pixels; Gaussian Grouping's is 0.7.

    Raises:
        ValueError: If the shapes differ.

    Source: Gaussian Grouping, ``ext/grounded_sam.py``.
    """
    area, share = overlap_shares(id_map, text_mask)
    return [int(index) for index in np.flatnonzero((area > 0) & (share > np.float32(threshold)))]


def overlap_shares(
    id_map: NDArray[np.integer], text_mask: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the area of every ID, [I] px, and the share of it that lies in a mask, [I] in 0..1.

    Args:
        id_map: [H, W] IDs.
        text_mask: [H, W].

    Raises:
        ValueError: If the shapes differ.
    """
    if id_map.shape != text_mask.shape:
        raise ValueError(f"ID map {id_map.shape} and text mask {text_mask.shape} differ in shape")
    area = np.bincount(id_map.ravel())
    inside = np.bincount(id_map[text_mask.astype(bool)], minlength=len(area))
    # Single precision, as Gaussian Grouping divides: at exactly 0.7 the outcome depends on it.
    share = np.divide(inside, np.maximum(area, 1), dtype=np.float32)
    return area.astype(np.int64), share


def vote_ids(
    ballots: Sequence[tuple[Collection[int], Collection[int]]], share: float = MAJORITY
) -> list[int]:
    """Return the IDs that enough of the views selected.

    Args:
        ballots: For each view in which the text was found: the IDs that the view shows, and those
            of them that it selected.
        share: An ID is returned where more than this share of the views that show it selected it;
            with one view that view decides.

    Returns:
        Sorted IDs.
    """
    shown = Counter(index for visible, _ in ballots for index in set(visible))
    chosen = Counter(index for _, selected in ballots for index in set(selected))
    return sorted(index for index, count in chosen.items() if count > share * shown[index])


def count_table(
    regions: NDArray[np.integer], ids: NDArray[np.integer], num_regions: int, num_ids: int
) -> NDArray[np.int64]:
    """Return counts [num_regions + 1, num_ids + 1] of a view; row and column 0 are background."""
    index = regions.astype(np.int64) * (num_ids + 1) + ids
    counts = np.bincount(index.ravel(), minlength=(num_regions + 1) * (num_ids + 1))
    return counts.reshape(num_regions + 1, num_ids + 1)


def table_iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return IoU of every region with every ID, of counts [..., R, I]; 0 where both are empty."""
    union = counts.sum(axis=-1, keepdims=True) + counts.sum(axis=-2, keepdims=True) - counts
    return np.divide(counts, union, out=np.zeros(counts.shape), where=union > 0)


def best_id(
    tables: NDArray[np.int64], region: int, *, pooled: bool, fragment_share: float | None = None
) -> tuple[list[int], float]:
    """Return the ID that overlaps a region best, and its IoU.

    Args:
        tables: [V, R + 1, I + 1] counts of V views.
        region: Row of the region, at least 1.
        pooled: IoU over all views together; otherwise in the view where it is highest.
        fragment_share: Add every further ID that has more than this share of its pixels on the
            region over all views; None adds nothing.

    Returns:
        IDs (best first, never 0, empty if no ID touches the region) and the best one's IoU.
    """
    total = tables.sum(axis=0)
    overlap = (table_iou(total)[None] if pooled else table_iou(tables))[:, region].max(axis=0)
    overlap[0] = 0.0
    best = int(overlap.argmax())
    if overlap[best] == 0.0:
        return [], 0.0
    ids = [best]
    if fragment_share is not None:
        share = total[region] / np.maximum(total.sum(axis=0), 1)
        ids += [
            int(index) for index in np.flatnonzero(share > fragment_share) if index not in (0, best)
        ]
    return ids, float(overlap[best])
