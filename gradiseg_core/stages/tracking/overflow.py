"""Dense numbering of IDs, and what happens when there are more objects than classes."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import in_order

logger = logging.getLogger(__name__)

IdMaps = dict[str, NDArray[np.int32]]


def areas(maps: IdMaps) -> dict[int, int]:
    """Return the number of pixels of each ID > 0 over all views, by ID."""
    total: dict[int, int] = {}
    for ids in maps.values():
        values, counts = np.unique(ids, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            if value > 0:
                total[value] = total.get(value, 0) + count
    return dict(sorted(total.items()))


def renumber(maps: IdMaps) -> tuple[IdMaps, dict[int, int]]:
    """Number the IDs 1..n by falling area; 0 stays 0.

    Objects of equal area keep the order of their IDs.

    Returns:
        The new maps and {old ID: new ID}.
    """
    size = areas(maps)
    new_id = {old: rank + 1 for rank, old in enumerate(sorted(size, key=lambda i: (-size[i], i)))}
    return {stem: substitute(ids, new_id) for stem, ids in maps.items()}, new_id


def substitute(ids: NDArray, new_id: dict[int, int]) -> NDArray[np.int32]:
    """Replace the IDs of a map; 0 stays 0 and IDs that are not named become 0."""
    values, flat = np.unique(ids, return_inverse=True)
    table = np.array([new_id.get(int(value), 0) if value else 0 for value in values], np.int32)
    return table[flat].reshape(ids.shape)


def limit_ids(
    maps: IdMaps, max_ids: int, overflow: str, *, keep_ids: bool = False
) -> tuple[IdMaps, list[dict]]:
    """Make sure that every ID is below ``max_ids``.

    Under ``merge_smallest`` the object with fewest pixels is merged into the object that it shares
    the longest boundary with (over all views, px; the larger object on ties), again and again until
    the rest fits; an object that borders no other becomes 0.

    Args:
        maps: ID maps by stem.
        max_ids: Number of classes of the identity classifier, 0 included.
        overflow: "error" or "merge_smallest".
        keep_ids: Whether the values of the IDs matter: then the largest ID counts, not their
            number, and merging is impossible.

    Returns:
        The maps, numbered 1..n by falling area unless ``keep_ids``, and the merges done, each as
        {"area_px", "views", "into"} with "into" an ID of the result or 0.

    Raises:
        InputError: If the IDs do not fit and may not be merged.
    """
    if max_ids < 2:
        raise ValueError(f"max_ids is {max_ids}; a classifier needs 0 and at least one object")
    if keep_ids:
        given = areas(maps)
        largest = max(given, default=0)
        if largest >= max_ids:
            raise InputError(
                f"the largest given ID is {largest}, of {len(given)} objects, and kept it needs "
                f"{largest + 1} classes, but the classifier has {max_ids} at most (IDs "
                f"0..{max_ids - 1}); set tracking.precomputed.keep_ids: false, which numbers the "
                "objects 1..n and keeps their given IDs in objects.json, or set train.num_classes "
                f"to {largest + 1}, if memory and time, which grow with it, allow"
            )
        return maps, []
    dense, _ = renumber(maps)
    count = len(areas(dense))
    if count < max_ids:
        return dense, []
    if overflow == "error":
        raise InputError(
            f"{count} objects were found, but the classifier has {max_ids} classes at most (0 and "
            f"{max_ids - 1} objects); set train.num_classes to {count + 1}, make masks coarser, "
            "or set tracking.overflow: merge_smallest"
        )
    target = _merge_smallest(dense, count, max_ids - 1)
    sizes, views = areas(dense), views_of(dense)
    merged, new_id = renumber({stem: substitute(ids, target) for stem, ids in dense.items()})
    record: list[dict] = [
        {"area_px": sizes[old], "views": views[old], "into": new_id[into] if into else 0}
        for old, into in target.items()
        if old != into
    ]
    logger.warning(
        "%d objects, but %d classes: merged the %d smallest (largest of them %d px over all views)",
        count, max_ids, len(record), max(int(entry["area_px"]) for entry in record),
    )  # fmt: skip
    return merged, record


def given_ids(maps: IdMaps, given: IdMaps) -> dict[int, list[int]]:
    """Return what the IDs of ``maps`` were called in ``given``, those of most pixels first.

    Several, where objects were merged or IDs repaired; pixels that had no ID do not count.
    """
    pixels: dict[int, dict[int, int]] = {}
    for stem, ids in maps.items():
        there = (ids > 0) & (given[stem] > 0)
        pairs = np.stack([ids[there], given[stem][there]], 1)
        values, counts = np.unique(pairs, axis=0, return_counts=True)
        for (new, old), count in zip(values.tolist(), counts.tolist(), strict=True):
            called = pixels.setdefault(new, {})
            called[old] = called.get(old, 0) + count
    return {
        new: sorted(called, key=lambda old: (-called[old], old)) for new, called in pixels.items()
    }


def views_of(maps: IdMaps) -> dict[int, list[str]]:
    """Return the stems in which each ID > 0 occurs."""
    seen: dict[int, list[str]] = {}
    for stem in in_order(maps):
        for value in np.unique(maps[stem]).tolist():
            if value > 0:
                seen.setdefault(value, []).append(stem)
    return seen


def _merge_smallest(maps: IdMaps, count: int, wanted: int) -> dict[int, int]:
    """Return {ID: ID it ends in (0: none)} that leaves ``wanted`` of the IDs 1..count."""
    border = _borders(maps)
    size = areas(maps)
    parent = {i: i for i in range(1, count + 1)}
    while len(size) > wanted:
        smallest = min(size, key=lambda i: (size[i], -i))
        around = border.pop(smallest, {})
        into = max(around, key=lambda j: (around[j], size[j], -j), default=0)
        parent[smallest] = into
        size_px = size.pop(smallest)
        if into:
            size[into] += size_px
        for other, length in around.items():
            del border[other][smallest]
            if other != into:
                border[into][other] = border[into].get(other, 0) + length
                border[other][into] = border[into][other]
    return {i: _root(parent, i) for i in parent}


def _root(parent: dict[int, int], i: int) -> int:
    while i and parent[i] != i:
        i = parent[i]
    return i


def _borders(maps: IdMaps) -> dict[int, dict[int, int]]:
    """Return the length (px) of the boundary that each pair of IDs > 0 shares, over all views."""
    border: dict[int, dict[int, int]] = {}
    for ids in maps.values():
        for a, b in ((ids[:, 1:], ids[:, :-1]), (ids[1:], ids[:-1])):
            touch = (a != b) & (a > 0) & (b > 0)
            low, high = np.minimum(a[touch], b[touch]), np.maximum(a[touch], b[touch])
            pairs, counts = np.unique(np.stack([low, high], 1), axis=0, return_counts=True)
            for (i, j), length in zip(pairs.tolist(), counts.tolist(), strict=True):
                border.setdefault(i, {})[j] = border.get(i, {}).get(j, 0) + length
                border.setdefault(j, {})[i] = border[i][j]
    return border
