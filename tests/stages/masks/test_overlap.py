"""Overlapping masks to one ID image: by hand, and against the rule as pictures."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.models.overlap import Rule, flatten

# Rows of one pixel: a table, a mug on it, the mug's handle, and a fringe that the table covers.
TABLE = "TTTTTTTTTT.."
MUG = "..MMMM......"
HANDLE = "...HH......."
FRINGE = ".........FFF"
MASKS = [np.array([[letter != "." for letter in row]]) for row in (MUG, FRINGE, TABLE, HANDLE)]
SCORES = [0.9, 0.7, 0.8, 0.95]


def run(rule: Rule, min_visible: float = 0.0, min_area: float = 0.0) -> str:
    ids = flatten(
        MASKS.__getitem__,
        [mask.sum() for mask in MASKS],
        SCORES,
        (1, 12),
        rule=rule,
        min_visible=min_visible,
        min_area=min_area,
    )
    assert ids.dtype == np.int32
    return "".join(map(str, ids[0]))


def test_by_hand():
    # IDs are given in the order of the masks: mug, fringe, table, handle.
    assert run("largest") == "222222222211"
    assert run("smallest") == "331441333222"
    assert run("confident") == "331441333322"


def test_what_is_mostly_covered_leaves_a_gap():
    assert run("largest", min_visible=0.8) == "111111111100"  # 2 of the fringe's 3 pixels
    assert run("largest", min_visible=2 / 3) == "222222222211"  # just enough
    # Half of the mug and 6 of the table's 10 pixels are visible: what they lose is not passed on.
    assert run("confident", min_visible=0.55) == "220330222211"
    assert run("smallest", min_visible=0.8) == run("smallest")


def test_min_area_counts_what_is_visible():
    assert run("smallest", min_area=2.5) == "220000222111"  # mug and handle show 2 each


def test_no_masks_and_empty_masks():
    options = {"rule": "largest", "min_visible": 0.8, "min_area": 0.0}
    assert not flatten(MASKS.__getitem__, [], [], (3, 4), **options).any()
    empty = np.zeros((3, 4), bool)
    assert not flatten(lambda _: empty, [0, 0], [0.9, 0.8], (3, 4), **options).any()


def test_of_two_alike_the_earlier_lies_on_top():
    left, right = np.zeros((2, 1, 4), bool)
    left[0, :3] = right[0, 1:] = True
    for rule in ("largest", "smallest", "confident"):
        ids = flatten(
            [left, right].__getitem__,
            [3, 3],
            [0.5, 0.5],
            (1, 4),
            rule=rule,
            min_visible=0.0,
            min_area=0.0,
        )
        assert ids[0].tolist() == [1, 1, 1, 2]


@pytest.mark.parametrize("rule", ["largest", "smallest", "confident"])
def test_against_the_greatest_weight_of_every_pixel(rule):
    """The rule as DEVA's demo states it: each pixel goes to the mask of the greatest weight."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:40, :50]
    masks, scores = [], rng.permutation(30) / 30
    for _ in range(30):
        (row, column), radius = rng.uniform(0, [40, 50]), rng.uniform(2, 7)
        masks.append((y - row) ** 2 + (x - column) ** 2 < radius**2)
    areas = np.array([mask.sum() for mask in masks])
    weight = {"largest": areas, "smallest": 2 * areas.max() - areas, "confident": scores + 1}[rule]
    ground = np.full((1, 40, 50), 0.1)
    winner = np.argmax(np.concatenate([ground, masks * weight[:, None, None]]), axis=0)
    expected = np.zeros((40, 50), int)
    number = 0
    for index, area in enumerate(areas, 1):
        seen = winner == index
        if seen.any() and (rule == "smallest" or seen.sum() / area >= 0.6):
            number += 1
            expected[seen] = number
    assert 5 < number < 30 or rule == "smallest"
    ids = flatten(
        masks.__getitem__, areas, scores, (40, 50), rule=rule, min_visible=0.6, min_area=0.0
    )
    np.testing.assert_array_equal(ids, expected)
