"""Exact IDs with the errors that a segmenter and a tracker make.

For studies on scenes with exact IDs, never for a reported result. Every kind of error has its own
level and can be varied alone. All draws come from one seed; draws of one kind of error do not
depend on the level of another.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gradiseg_core.files.id_maps import read_id_map, write_id_map
from studies.options import DegradedConfig

logger = logging.getLogger(__name__)

IdMap = NDArray[np.int32]

_LEAST_AREA = 1 / 20000  # of the image: smaller slivers are not objects that a tracker could lose


def degrade_tabletop(tabletop: Path, out_dir: Path, config: DegradedConfig, seed: int) -> None:
    """Add errors to the exact IDs of a tabletop's training views.

    Args:
        tabletop: Folder of :func:`studies.tabletop.dataset.make_tabletop`.
        out_dir: Where ``<view>.png`` are written, for backend `precomputed` of stage `tracking`.
        config: The levels.
        seed: Seed of all draws, with ``config.seed``.
    """
    truth = json.loads((tabletop / "ground_truth.json").read_text(encoding="utf-8"))
    stems = [Path(camera["name"]).stem for camera in truth["cameras"] if not camera["test"]]
    exact = [read_id_map(tabletop / "gt_ids" / f"{stem}.png").astype(np.int32) for stem in stems]
    for stem, ids in zip(stems, degrade(exact, config, seed), strict=True):
        write_id_map(out_dir / f"{stem}.png", ids)
    logger.info("%d views of %s spoiled", len(stems), tabletop)


def degrade(maps: Sequence[IdMap], config: DegradedConfig, seed: int) -> list[IdMap]:
    """Add errors to the ID maps of a sequence of views.

    Errors come in this order, each with its level as probability: an object's ID switches to a new
    one for some views (`switch`); a part of the object gets an ID that only this view has
    (`split`); the object takes the ID of the neighbour with the longest common border (`merge`); it
    is missed and becomes 0 (`miss`). Then all outlines are distorted, and the resolution is lowered
    (`reduced`).

    Args:
        maps: [H, W] exact IDs by view, in the order in which a tracker would see them; 0 is
            background and is never lost itself.
        config: The levels.
        seed: Seed of all draws, with ``config.seed``.

    Returns:
        The maps, in the same order; new IDs follow the largest exact one.
    """
    objects = sorted({int(label) for ids in maps for label in np.unique(ids)} - {0})
    fresh = max(objects, default=0) + 1
    switched = _switches(len(maps), objects, config, np.random.default_rng([seed, config.seed, 0]))
    names: dict[tuple[int, int], int] = {}
    spoiled = []
    for index, exact in enumerate(maps):
        draws = np.random.default_rng([seed, config.seed, 1, index])
        ids = exact.copy()
        for label in objects:
            fate = draws.random(3)
            angle, share = draws.uniform(0.0, np.pi), draws.uniform(0.25, 0.5)
            mask = exact == label
            if mask.sum() < _LEAST_AREA * exact.size:
                continue
            episode = switched[index].get(label)
            if episode is not None:
                if (label, episode) not in names:
                    names[label, episode], fresh = fresh, fresh + 1
                ids[mask] = names[label, episode]
            if fate[0] < config.split:
                ids[_part(mask, angle, share)] = fresh
                fresh += 1
            if fate[1] < config.merge:
                neighbour = _neighbour(exact, mask)
                if neighbour:
                    ids[mask] = neighbour
            elif fate[2] < config.miss:
                ids[mask] = 0
        ids = _wobble(ids, config, np.random.default_rng([seed, config.seed, 2, index]))
        spoiled.append(_coarse(ids, config.reduced))
    return spoiled


def _switches(
    num_views: int, objects: list[int], config: DegradedConfig, rng: np.random.Generator
) -> list[dict[int, int]]:
    """Return, by view, the objects that carry another ID, with the number of that switch."""
    views: list[dict[int, int]] = [{} for _ in range(num_views)]
    for label in objects:
        starts = rng.random(num_views) < config.switch
        lengths = rng.geometric(1.0 / config.switch_views, num_views)
        until = -1
        for index in range(num_views):
            if starts[index] and index > until:
                until, episode = index + int(lengths[index]) - 1, index
            if index <= until:
                views[index][label] = episode
    return views


def _part(mask: NDArray[np.bool_], angle: float, share: float) -> NDArray[np.bool_]:
    """Return the given share of a mask's pixels, cut off by a straight line."""
    rows, columns = np.nonzero(mask)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    chosen = along <= np.quantile(along, share)
    part = np.zeros_like(mask)
    part[rows[chosen], columns[chosen]] = True
    return part


def _neighbour(exact: IdMap, mask: NDArray[np.bool_]) -> int:
    """Return the object with the longest border with the mask; 0 if none touches it."""
    ring = ndimage.binary_dilation(mask, iterations=2) & ~mask
    labels, counts = np.unique(exact[ring], return_counts=True)
    counts = np.where(labels == 0, 0, counts)
    return int(labels[counts.argmax()]) if counts.size and counts.max() else 0


def _wobble(ids: IdMap, config: DegradedConfig, rng: np.random.Generator) -> IdMap:
    """Move every outline by a smooth random displacement of the given standard deviation."""
    fields = rng.standard_normal((2, *ids.shape))
    if config.wobble_px == 0:
        return ids
    smooth = np.stack([ndimage.gaussian_filter(field, config.wobble_length_px) for field in fields])
    smooth *= config.wobble_px / smooth.std()
    rows, columns = np.indices(ids.shape)
    rows = np.clip(np.rint(rows + smooth[0]), 0, ids.shape[0] - 1).astype(int)
    columns = np.clip(np.rint(columns + smooth[1]), 0, ids.shape[1] - 1).astype(int)
    return ids[rows, columns]


def _coarse(ids: IdMap, factor: int) -> IdMap:
    """Keep the middle pixel of every square of ``factor`` x ``factor`` pixels."""
    rows, columns = (
        np.minimum(np.arange(size) // factor * factor + factor // 2, size - 1) for size in ids.shape
    )
    return ids[rows[:, None], columns]
