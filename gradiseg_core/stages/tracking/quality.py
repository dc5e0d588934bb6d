"""How good an association is, measured against exact object IDs.

Only for scenes that carry ground truth (`gt_ids`); training never sees it. IDs are names: they are
compared through the one-to-one assignment of predicted to true IDs that explains most pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

#: An ID counts as a fragment of an object, or an object as part of an ID, from this share on.
MIN_SHARE = 0.05


def assess_maps(
    predicted: Sequence[NDArray],
    exact: Sequence[NDArray],
    labelled: Sequence[NDArray[np.bool_]] | None = None,
    *,
    names: Sequence[str] | None = None,
) -> dict:
    """Compare ID maps with exact ones.

    Let n(a, b) be the number of pixels, over all views, with predicted ID a and exact ID b. The
    assignment pairs every a with at most one b and every b with at most one a so that the sum of
    n(a, b) over the pairs is largest. Predicted 0 means "no object" and may be paired with exact 0
    only. A pixel is right when its two IDs are paired.

    Args:
        predicted: Per view [H, W] integer IDs.
        exact: Per view [H, W] integer IDs of the same sizes.
        labelled: Per view [H, W]; whether the pixel carried a mask. Default: predicted ID not 0.
        names: Names of the views for the list of switches.

    Returns:
        A dictionary with

        * ``accuracy``: right pixels / all pixels; shares are NaN where there is nothing to divide
          by, and all of them where the exact IDs show no object;
        * ``not_available``: for each share that is NaN, why;
        * ``accuracy_labelled_foreground``: the same over labelled pixels of exact ID > 0;
        * ``accuracy_foreground``: the same over all pixels of exact ID > 0 (unlabelled are wrong);
        * ``unlabelled_foreground``: share of pixels of exact ID > 0 that are not labelled;
        * ``switches``: number of (view, exact object) with the dominant predicted ID (not 0) of the
          object in that view differing from the ID that is dominant in most views of the object;
          views in which most of the object has predicted ID 0 count under ``misses`` instead;
        * ``fragments``: over exact objects, the number of further predicted IDs (not 0, beyond the
          largest) that cover at least 5 % of the object's pixels;
        * ``merges``: over predicted IDs (not 0), the number of further exact IDs > 0, beyond the
          largest, of which at least half the pixels carry it, plus one where that ID is also
          paired with exact 0;
        * ``objects``: per exact ID its paired ID, IoU, recall, switches, misses and fragments;
        * ``switched``: the list of [view, exact ID, ID there].
    """
    if len(predicted) != len(exact) or not exact:
        raise ValueError(f"{len(predicted)} predicted and {len(exact)} exact maps")
    names = list(names) if names is not None else [str(index) for index in range(len(exact))]
    counts, with_mask, pred_ids, true_ids = _counted(predicted, exact, labelled)
    total = counts.sum(axis=0)  # [A, B]
    pair_of_true = _assign(total, pred_ids, true_ids)
    foreground = true_ids > 0
    objects, switched = _per_object(counts, total, pred_ids, true_ids, pair_of_true, names)
    shares = _shares(total, with_mask, foreground, pair_of_true)
    shown = total[:, foreground].any()
    why = "no pixel of an object carries a mask" if shown else "the exact IDs show no object"
    return {
        **shares,
        "not_available": {key: why for key, share in shares.items() if np.isnan(share)},
        "switches": sum(entry["switches"] for entry in objects),
        "misses": sum(entry["misses"] for entry in objects),
        "fragments": sum(entry["fragments"] for entry in objects),
        "merges": _merges(total, pred_ids, true_ids, pair_of_true),
        "num_ids": int((pred_ids > 0).sum()),
        "num_objects": int(foreground.sum()),
        "objects": objects,
        "switched": switched,
    }


def _counted(
    predicted: Sequence[NDArray],
    exact: Sequence[NDArray],
    labelled: Sequence[NDArray[np.bool_]] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray, NDArray]:
    """Count the pixels of every pair of a predicted and an exact ID.

    Returns:
        counts: [V, A, B], by view.
        with_mask: [A, B], over all views, of the pixels that carried a mask.
        pred_ids: [A] predicted IDs, 0 included, ascending.
        true_ids: [B] exact IDs, likewise.
    """
    pred_ids = np.unique(np.concatenate([[0], *(np.unique(ids) for ids in predicted)]))
    true_ids = np.unique(np.concatenate([[0], *(np.unique(ids) for ids in exact)]))
    counts = np.zeros((len(exact), len(pred_ids), len(true_ids)), dtype=np.int64)  # [V, A, B]
    with_mask = np.zeros_like(counts[0])
    for view, (ids, truth) in enumerate(zip(predicted, exact, strict=True)):
        joint = np.searchsorted(pred_ids, ids) * len(true_ids) + np.searchsorted(true_ids, truth)
        counts[view] = np.bincount(joint.ravel(), minlength=counts[view].size).reshape(
            counts[view].shape
        )
        has_mask = (ids > 0) if labelled is None else labelled[view]
        with_mask += np.bincount(joint[has_mask].ravel(), minlength=with_mask.size).reshape(
            with_mask.shape
        )
    return counts, with_mask, pred_ids, true_ids


def _shares(
    total: NDArray, with_mask: NDArray, foreground: NDArray[np.bool_], pair_of_true: dict[int, int]
) -> dict[str, float]:
    """Return the shares of right pixels; see :func:`assess_maps`.

    Args:
        total: [A, B] pixels of every pair of a predicted and an exact ID.
        with_mask: [A, B], of those that carried a mask.
        foreground: [B], which exact IDs are objects.
        pair_of_true: By exact ID's place, the place of its predicted ID.
    """

    def share_right(pixels: NDArray, columns: NDArray[np.bool_], among: NDArray) -> float:
        right = sum(int(pixels[a, b]) for b, a in pair_of_true.items() if columns[b])
        everything = int(among[:, columns].sum())
        return right / everything if everything else float("nan")

    all_columns = np.ones_like(foreground)
    fg_pixels = int(total[:, foreground].sum())
    return {
        # Without an exact object there is nothing to associate: a map of zeros earns no score.
        "accuracy": share_right(total, all_columns, total) if fg_pixels else float("nan"),
        "accuracy_labelled_foreground": share_right(with_mask, foreground, with_mask),
        "accuracy_foreground": share_right(total, foreground, total),
        "unlabelled_foreground": (
            1.0 - int(with_mask[:, foreground].sum()) / fg_pixels if fg_pixels else float("nan")
        ),
    }


def _assign(total: NDArray, pred_ids: NDArray, true_ids: NDArray) -> dict[int, int]:
    """Return column (exact) -> row (predicted) of the best one-to-one assignment with pixels."""
    gain = total.astype(np.float64)
    gain[pred_ids == 0, :] = np.where(true_ids == 0, gain[pred_ids == 0, :], 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return {int(b): int(a) for a, b in zip(rows, columns, strict=True) if gain[a, b] > 0}


def _per_object(
    counts: NDArray,
    total: NDArray,
    pred_ids: NDArray,
    true_ids: NDArray,
    pair_of_true: dict[int, int],
    names: Sequence[str],
) -> tuple[list[dict], list[list]]:
    """Return the entries of exact objects > 0 and the list of [view, exact ID, ID there]."""
    objects: list[dict] = []
    switched: list[list] = []
    for b in np.flatnonzero(true_ids > 0):
        in_view = counts[:, :, b]  # [V, A]
        seen = in_view.sum(axis=1) > 0
        dominant = in_view.argmax(axis=1)
        held = seen & (pred_ids[dominant] > 0)
        votes = np.bincount(dominant[held], minlength=len(pred_ids))
        # Ties go to the ID with more pixels of the object.
        usual = max(range(len(pred_ids)), key=lambda a: (votes[a], total[a, b]))
        differs = np.flatnonzero(held & (dominant != usual))
        switched += [[names[int(v)], int(true_ids[b]), int(pred_ids[dominant[v]])] for v in differs]
        size = int(total[:, b].sum())
        large = (total[:, b] >= MIN_SHARE * size) & (pred_ids > 0)
        paired = pair_of_true.get(int(b))
        hit = int(total[paired, b]) if paired is not None else 0
        union = size + (int(total[paired].sum()) if paired is not None else 0) - hit
        objects.append(
            {
                "gt_id": int(true_ids[b]),
                "id": int(pred_ids[paired]) if paired is not None else None,
                "recall": hit / size,
                "iou": hit / union,
                "views": int(seen.sum()),
                "switches": len(differs),
                "misses": int((seen & ~held).sum()),
                "fragments": max(0, int(large.sum()) - 1),
            }
        )
    return objects, switched


def _merges(
    total: NDArray, pred_ids: NDArray, true_ids: NDArray, pair_of_true: dict[int, int]
) -> int:
    """Count exact objects that share a predicted ID with another or with the background."""
    size = np.maximum(total.sum(axis=0), 1)
    owned = (total / size >= 0.5) & (pred_ids > 0)[:, None] & (true_ids > 0)[None, :]  # [A, B]
    merges = int(np.maximum(owned.sum(axis=1) - 1, 0).sum())
    for b, a in pair_of_true.items():
        if true_ids[b] == 0 and owned[a].any():
            merges += 1
    return merges
