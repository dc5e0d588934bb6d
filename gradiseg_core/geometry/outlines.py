"""Outlines of a view's labels, by the colours on both sides.

Well inside of every label lie pixels that certainly show it: its *core*. Every other pixel p may
take any label l that is drawn nearby, at the cost

    min(core_l, drawn_l) + distance_l

core_l is the least sqrt(dLab^2 + (s d)^2) over core pixels of l at distance d; drawn_l the
difference from the colour that the surface shows where l is drawn, and for the background from the
one that all other views show behind the objects; distance_l how far p lies outside of l as drawn.
A random field over the eight neighbours, weaker across edges, then decides (by mean field, as
Kraehenbuehl and Koltun 2011, with neighbours alone). So shadows stay with the table, whose other
pixels have their colour, and leaves with the plant.

Lengths are px at 320 px, colours Lab with half the lightness. Numbers lie on plateaus of the
development tables (studies/geometry.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute.cpu_runtime import kernel, run_queue, take
from gradiseg_core.geometry.fusion import REFERENCE_PX

#: Labels farther than this from a pixel are no candidates.
_REACH = 10.0
#: Lab that a px of distance from a core pixel counts; 0.75 to 1.5 are alike.
_PER_PX = 1.0
#: Largest difference that counts: colours beyond it are all alike strange.
_MOST = 30.0
#: What a drawn colour counts more than one of the photograph: it is blurred, and seen elsewhere.
_DRAWN = 4.0
#: Pixels whose colour is this far from the surface's are no core; 12 to 24 are alike.
_STRANGE = 16.0
_SMOOTH = 6.0  # weight of a neighbour; 3 to 12 are alike
_EDGE = 6.0  # Lab between neighbours that makes an edge; 4 to 10 are alike
_TEMPERATURE = 4.0
_ROUNDS = 6
_ROWS = 8  # rows that a thread takes at a time
_FAR = np.float32(1e3)


def decide(
    labels: NDArray[np.int32],
    core: NDArray[np.bool_],
    lab: NDArray[np.float32],
    shown: NDArray[np.float32],
    behind: NDArray[np.float32],
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.int32]:
    """Return the labels with outlines where colours change, and without unknown pixels, [H, W].

    Args:
        labels: [H, W] as drawn; -1: unknown, 0: background.
        core: [H, W], pixels that keep their label unless their colour is strange.
        lab: [H, W, 3] of the photograph, lightness halved.
        shown: [H, W, 3] the same that the surface shows; NaN where it shows nothing.
        behind: [H, W, 3] the same of the background alone; NaN where it is unknown.
        ignored: [H, W], pixels that keep their label and say nothing to others; None: none.
    """
    from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter

    known = np.unique(labels[labels >= 0])
    if len(known) < 2:
        return np.full(labels.shape, known[0] if len(known) else 0, np.int32)
    scale = max(labels.shape) / REFERENCE_PX
    reach = round(_REACH * scale)
    number = np.where(labels >= 0, np.searchsorted(known, labels), -1).astype(np.int32)
    strange = np.linalg.norm(lab - shown, axis=-1)
    far_off = distance_transform_edt(labels <= 0) > reach
    sure = core & (strange <= _STRANGE)
    # Where nothing is fused, what is near an object may be a part of it.
    sure |= core & np.isnan(strange) & far_off
    window = 2 * reach + 1
    open_ = ~sure & (maximum_filter(number, window) != minimum_filter(number, window))
    if ignored is not None:
        sure, open_ = sure & ~ignored, open_ & ~ignored
        lab = np.where(ignored[..., None], _FAR, lab)  # so that an edge is around them
    cost = np.full((len(known), *labels.shape), _FAR, np.float32)
    settled = ~open_ & (number >= 0)
    cost[number[settled], *np.nonzero(settled)] = 0.0
    cost[:, open_] = _MOST
    rows = -(-labels.shape[0] // _ROWS)
    run_queue(
        _core_costs, rows, open_, number, sure, np.ascontiguousarray(lab, np.float32), reach,
        max(1, round(scale)), np.float32(_PER_PX / scale), cost,
    )  # fmt: skip
    for place in range(len(known)):
        own = number == place
        drawn = np.where(own, strange, np.inf)
        if known[place] == 0:
            drawn = np.fmin(drawn, np.linalg.norm(lab - behind, axis=-1))
        drawn = np.nan_to_num(drawn, nan=np.inf) + _DRAWN
        away = distance_transform_edt(~own)
        candidate = open_ & ((away <= reach) | (drawn < _MOST))
        least = np.minimum(cost[place], drawn) + np.minimum(away, reach) / scale
        cost[place][open_] = np.where(candidate, least, _FAR)[open_]
    return known[_relaxed(cost, lab, open_)].astype(np.int32)


def _relaxed(
    cost: NDArray[np.float32], lab: NDArray[np.float32], free: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the labels of the random field, [H, W], by rounds of mean field."""
    belief = np.exp(-(cost - cost.min(axis=0)) / np.float32(_TEMPERATURE))
    belief = np.ascontiguousarray(np.moveaxis(belief / belief.sum(axis=0), 0, -1))
    spread = np.ascontiguousarray(np.moveaxis(cost, 0, -1))
    colour = np.ascontiguousarray(lab, np.float32)
    bands = -(-len(lab) // _ROWS)
    for _ in range(_ROUNDS):
        after = belief.copy()
        run_queue(_round, bands, spread, colour, free, belief, after)
        belief = after
    return belief.argmax(axis=-1)


@kernel()
def _core_costs(queue, free, number, sure, lab, reach, step, per_px, cost):  # type: ignore[no-untyped-def]
    """Least distance to a core pixel of each label, in colour and place, for 8 rows of pixels."""
    height, width = free.shape
    band = take(queue)
    while 8 * band < height:
        for row in range(8 * band, min(8 * band + 8, height)):
            for column in range(width):
                if not free[row, column]:
                    continue
                for dy in range(-reach, reach + 1, step):
                    y = row + dy
                    if y < 0 or y >= height:
                        continue
                    for dx in range(-reach, reach + 1, step):
                        x = column + dx
                        if x < 0 or x >= width or not sure[y, x]:
                            continue
                        square = per_px * per_px * (dy * dy + dx * dx)
                        for channel in range(3):
                            difference = lab[y, x, channel] - lab[row, column, channel]
                            square += difference * difference
                        label = number[y, x]
                        if square < cost[label, row, column] ** 2:
                            cost[label, row, column] = np.sqrt(square)
        band = take(queue)


@kernel()
def _round(queue, cost, lab, free, belief, after):  # type: ignore[no-untyped-def]
    """One round of mean field for 8 rows of pixels."""
    height, width, count = cost.shape
    energy = np.empty(count, np.float32)
    band = take(queue)
    while 8 * band < height:
        for row in range(8 * band, min(8 * band + 8, height)):
            for column in range(width):
                if not free[row, column]:
                    continue
                for label in range(count):
                    energy[label] = cost[row, column, label]
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        y, x = row + dy, column + dx
                        if (dy == 0 and dx == 0) or y < 0 or x < 0 or y >= height or x >= width:
                            continue
                        square = np.float32(0.0)
                        for channel in range(3):
                            difference = lab[y, x, channel] - lab[row, column, channel]
                            square += difference * difference
                        weight = _SMOOTH * np.exp(-square / (2 * _EDGE * _EDGE))
                        weight /= np.sqrt(np.float32(dy * dy + dx * dx))
                        for label in range(count):
                            energy[label] -= weight * belief[y, x, label]
                least, total = energy.min(), np.float32(0.0)
                for label in range(count):
                    energy[label] = np.exp((least - energy[label]) / _TEMPERATURE)
                    total += energy[label]
                for label in range(count):
                    after[row, column, label] = energy[label] / total
        band = take(queue)
