"""Joining of clusters by their common border: cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.stages.tracking.evidence import Masks
from gradiseg_core.stages.tracking.joining import border_lengths, cut_off, join


def flag(gap: int) -> np.ndarray:
    """A 12 x 30 picture: a flag of two 4 x 4 halves (1, 2), and a 4 x 4 block (3) `gap` px away."""
    ids = np.zeros((12, 30), int)
    ids[4:8, 4:8], ids[4:8, 8:12], ids[4:8, 12 + gap : 16 + gap] = 1, 2, 3
    return ids


def numbered(pictures: list[np.ndarray]) -> tuple[Masks, np.ndarray]:
    """Masks of the pictures (0 is a mask too, the table) and the cluster of each: its number."""
    maps, cluster, view = [], [], []
    for index, ids in enumerate(pictures):
        values, inverse = np.unique(ids, return_inverse=True)
        maps.append(inverse.reshape(ids.shape) + len(cluster))
        cluster += values.tolist()
        view += [index] * len(values)
    everything = dict.fromkeys(Masks.__dataclass_fields__)
    everything |= {"maps": maps, "view": np.array(view)}
    return Masks(**everything), np.array(cluster)


def test_border_lengths_by_hand():
    masks, cluster = numbered([flag(0), flag(3)])
    common, whole = border_lengths(masks, cluster, 4)
    assert (common[0][1, 2], common[0][2, 3], common[0][1, 3]) == (4, 4, 0)
    assert (common[1][1, 2], common[1][2, 3]) == (4, 0)
    assert common[0][0].tolist() == [0, 12, 8, 12]
    assert whole.tolist() == [[32, 16, 16, 16], [40, 16, 16, 16]]
    left_out, _ = border_lengths(masks, np.where(cluster == 2, -1, cluster), 4)
    assert left_out[0][0].tolist() == [0, 12, 0, 12]


def test_parts_join_and_neighbours_of_one_view_do_not():
    pictures = [flag(0), flag(3), flag(6), flag(5)]
    masks, cluster = numbered(pictures)
    # halves: 4 sides of 16 in every view: 0.25; block: in one view of four: 0.0625.
    options = {"prior": 0.0, "min_views": 2}
    assert join(masks, cluster, threshold=0.24, **options).tolist() == [0, 1, 1, 2] * 4
    assert join(masks, cluster, threshold=0.26, **options).tolist() == cluster.tolist()
    # joined, the halves have a border of 24; the block's 16 stays the shorter: 4 / 64
    assert join(masks, cluster, threshold=0.06, **options).tolist() == [0, 1, 1, 1] * 4
    # 64 px of prior border halve the score of the halves
    assert join(masks, cluster, threshold=0.13, prior=64.0, min_views=2).max() == 3
    assert join(masks, cluster, threshold=0.12, prior=64.0, min_views=2).max() == 2


def test_the_table_joins_nothing():
    masks, cluster = numbered([flag(1), flag(3)])
    assert cut_off(masks, cluster, 4).tolist() == [True, False, False, False]
    result = join(masks, cluster, threshold=0.01, prior=0.0, min_views=2)
    assert result.tolist() == [0, 1, 1, 2] * 2


def test_too_few_common_views():
    masks, cluster = numbered([flag(2), flag(2)])
    assert join(masks, cluster, threshold=0.1, prior=0.0, min_views=3).tolist() == cluster.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_sums_after_joining_equal_a_fresh_count(seed):
    """Joining step by step gives the same as measuring the joined clusters' borders anew."""
    rng = np.random.default_rng(seed)
    pictures = [np.pad(rng.integers(1, 7, (5, 6)).repeat(3, 0).repeat(3, 1), 2) for _ in range(3)]
    masks, cluster = numbered(pictures)
    options = {"prior": 5.0, "min_views": 1}
    coarse = join(masks, cluster, threshold=0.3, **options)
    at_once = join(masks, cluster, threshold=0.15, **options)
    continued = join(masks, coarse, threshold=0.15, **options)
    assert at_once.max() < cluster.max()
    np.testing.assert_array_equal(at_once, continued)
