"""The two overlap rules, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.stages.grounding.selection import best_id, count_table, select_ids, table_iou


def test_text_mask_selects_ids_that_lie_inside() -> None:
    ids = np.array([[1, 1, 1, 1, 2, 2], [0, 0, 3, 3, 3, 3]])
    mask = np.array([[1, 1, 1, 0, 1, 1], [1, 1, 0, 0, 0, 1]], dtype=bool)
    # Shares: 0: 2/2, 1: 3/4, 2: 2/2, 3: 1/4. Background is an ID like any other.
    assert select_ids(ids, mask) == [0, 1, 2]
    assert select_ids(ids, mask, 0.75) == [0, 2]  # more than, not at least
    assert select_ids(ids, np.zeros_like(mask)) == []
    with pytest.raises(ValueError, match="shape"):
        select_ids(ids, mask[:, 1:])


def test_exactly_seven_tenths_is_not_more() -> None:
    ids = np.ones((1, 10), dtype=int)
    assert select_ids(ids, np.arange(10)[None] < 7) == []
    assert select_ids(ids, np.arange(10)[None] < 8) == [1]


def test_counts_and_iou_by_hand() -> None:
    regions = np.array([[0, 1, 1, 1], [2, 2, 0, 0]])
    ids = np.array([[0, 1, 1, 3], [3, 3, 3, 0]])
    counts = count_table(regions, ids, 2, 3)
    np.testing.assert_array_equal(counts, [[2, 0, 0, 1], [0, 2, 0, 1], [0, 0, 0, 2]])
    overlap = table_iou(counts)
    assert overlap[1, 1] == 2 / 3
    assert overlap[2, 3] == 2 / 4
    assert overlap[1, 2] == 0.0


def tables() -> np.ndarray:
    """Two views of one object: ID 1 follows it, ID 2 is a fragment, ID 3 its neighbour."""
    first = [[60, 0, 0, 20], [0, 10, 4, 6]]
    second = [[70, 0, 0, 10], [0, 0, 18, 2]]
    return np.array([first, second])


def test_best_id_over_all_views_or_in_its_best_view() -> None:
    # Pooled: ID 1: 10 / 40, ID 2: 22 / 40, ID 3: 8 / 70. Best view: ID 2 with 18 / 20.
    ids, overlap = best_id(tables(), 1, pooled=True)
    assert ids == [2]
    assert overlap == 22 / 40
    ids, overlap = best_id(tables(), 1, pooled=False)
    assert ids == [2]
    assert overlap == 18 / 20
    # In the first view alone ID 1 wins.
    assert best_id(tables()[:1], 1, pooled=True) == ([1], 10 / 20)


def test_fragments_join_when_asked() -> None:
    ids, _ = best_id(tables(), 1, pooled=True, fragment_share=0.7)
    assert ids == [2, 1]  # both lie wholly on the object, ID 3 does not


def test_background_is_never_chosen() -> None:
    counts = np.array([[[50, 0], [10, 0]]])
    assert best_id(counts, 1, pooled=True) == ([], 0.0)
