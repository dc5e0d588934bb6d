"""Absorbing of small segments by the segment around them: print, speckles, windows, highlights.

A segment's *surround* is what its border touches. A small segment whose surround is nearly one
other, larger segment is taken for a mark on that segment's surface. The area limit is what keeps
objects: an apple on a table is enclosed by the table as well, only larger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def absorb_enclosed(
    labels: NDArray[np.int64],  # [H, W]
    *,
    max_area: float,
    enclosure: float,
) -> NDArray[np.int64]:  # [H, W]
    """Give small enclosed segments to the segment that encloses them, until nothing changes.

    Two rules alternate:

    * a segment below `max_area` with at least `enclosure` of its border on one larger segment is
      absorbed by that; the frame of the image does not count;
    * all that fills a hole below `max_area` in one segment is absorbed, so that a letter of several
      segments goes too.

    Args:
        labels: Segments, any labels >= 0.
        max_area: Area that an absorbed segment stays below, px.
        enclosure: Share of the border, 0..1.

    Returns:
        The segments left, under the labels of their absorbers.
    """
    values, dense = np.unique(labels, return_inverse=True)
    dense = dense.reshape(labels.shape).astype(np.int64)
    while True:
        into = _absorbers(dense, len(values), max_area, enclosure)
        changed = into[dense]
        changed = _fill_holes(changed, max_area)
        if np.array_equal(changed, dense):
            return values[dense]
        dense = changed


def _absorbers(
    labels: NDArray[np.int64], count: int, max_area: float, enclosure: float
) -> NDArray[np.int64]:
    """Return for each of `count` labels the label that it goes to, itself where it stays."""
    area = np.bincount(labels.ravel(), minlength=count)
    pairs = []
    for first, second in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:])):
        apart = first != second
        pairs += [first[apart] * count + second[apart], second[apart] * count + first[apart]]
    pair, sides = np.unique(np.concatenate(pairs), return_counts=True)
    inner, outer = np.divmod(pair, count)
    total = np.bincount(inner, sides, count)
    good = (
        (area[inner] < max_area) & (area[inner] < area[outer]) & (sides >= enclosure * total[inner])
    )
    into = np.arange(count)
    # With an enclosure of at most a half two neighbours may qualify: the one of most sides wins.
    order = np.argsort(sides[good], kind="stable")
    into[inner[good][order]] = outer[good][order]
    while not np.array_equal(into, into[into]):  # chains end: each step leads to a larger area
        into = into[into]
    return into


def _fill_holes(labels: NDArray[np.int64], max_area: float) -> NDArray[np.int64]:
    """Fill the holes below `max_area` of every segment; larger segments first."""
    from scipy import ndimage

    result = labels.copy()
    boxes = ndimage.find_objects(labels + 1)
    area = np.bincount(labels.ravel(), minlength=len(boxes))
    for label in np.argsort(-area, kind="stable").tolist():
        box = boxes[label]
        if box is None or area[label] < max_area / 4:
            continue  # what is this small has no hole worth the time
        inside = result[box] == label
        outside, number = ndimage.label(~inside)
        if number == 0:
            continue
        size = np.bincount(outside.ravel())
        hole = size < max_area
        hole[0] = False
        edge = (outside[0], outside[-1], outside[:, 0], outside[:, -1])
        hole[np.unique(np.concatenate(edge))] = False  # open to what lies around the segment
        if hole.any():
            result[box][hole[outside]] = label
    return result
