"""The affinity of masks, by hand and against a direct count over pairs of points."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.stages.tracking.evidence import Masks, Observations, boundary_distance
from gradiseg_core.stages.tracking.linkage import link, mask_histograms


def build(sightings: list[tuple[int, int]], mask_view: list[int], weights=None):
    """Observations (point, mask) of masks that lie in the given views."""
    points, mask = np.array(sightings).T
    view = np.array(mask_view)
    weight = np.ones(len(points)) if weights is None else np.asarray(weights, float)
    masks = Masks([], view, np.ones(len(view), int), np.zeros((len(view), 2)), [])
    seen = Observations(
        points, view[mask], mask, np.zeros((len(points), 2)), weight, np.ones(len(points), bool)
    )
    return masks, seen, int(points.max()) + 1, int(view.max()) + 1


def clusters(sightings, mask_view, threshold=0.5, prior=0.0):
    masks, seen, num_points, num_views = build(sightings, mask_view)
    return link(
        *mask_histograms(masks, seen, num_points, num_views), threshold=threshold, prior=prior
    ).tolist()


def test_affinity_equals_the_count_over_pairs_of_points():
    rng = np.random.default_rng(0)
    mask_view = [0, 0, 0, 1, 1, 2, 2, 2]
    sightings = [
        (p, int(rng.choice([m for m, v in enumerate(mask_view) if v == view])))
        for p in range(30)
        for view in range(3)
        if rng.random() < 0.7
    ]
    weights = rng.uniform(0.2, 1.0, len(sightings))
    masks, seen, num_points, num_views = build(sightings, mask_view, weights)
    shared, n_view = mask_histograms(masks, seen, num_points, num_views)
    numerator = (shared @ shared.T).toarray()
    denominator = n_view @ n_view.T
    weight = {(p, m): w for (p, m), w in zip(sightings, weights, strict=True)}
    for m in range(len(mask_view)):
        for n in range(len(mask_view)):
            together = both = 0.0
            for (p, mp), wp in weight.items():
                for (q, nq), wq in weight.items():
                    if mp != m or nq != n:
                        continue
                    for (p2, k), w1 in weight.items():
                        for (q2, j), w2 in weight.items():
                            if p2 == p and q2 == q and mask_view[k] == mask_view[j]:
                                both += wp * wq * w1 * w2
                                together += wp * wq * w1 * w2 * (k == j)
            assert numerator[m, n] == pytest.approx(together)
            assert denominator[m, n] == pytest.approx(both)


def test_shared_points_join_and_foreign_ones_do_not():
    # Masks 0, 2 see points 0..2; masks 1, 3 see points 3..5.
    sightings = [(p, m) for m in (0, 2) for p in range(3)]
    sightings += [(p, m) for m in (1, 3) for p in range(3, 6)]
    assert clusters(sightings, [0, 0, 1, 1]) == [0, 1, 0, 1]


def test_fragments_join_through_views_that_see_them_whole():
    # View 0 cuts the object into masks 0 and 1; views 1 and 2 see it whole (masks 2, 3).
    sightings = [(p, 0 if p < 4 else 1) for p in range(8)]
    sightings += [(p, m) for m in (2, 3) for p in range(8)]
    assert clusters(sightings, [0, 0, 1, 2]) == [0, 0, 0, 0]


def test_fragments_never_seen_whole_stay_apart():
    sightings = [(p, 2 * v + (p >= 4)) for v in range(3) for p in range(8)]
    assert clusters(sightings, [0, 0, 1, 1, 2, 2]) == [0, 1, 0, 1, 0, 1]


def test_one_merged_mask_is_outvoted():
    # Views 0..2 separate the objects, view 3 covers both with mask 6.
    sightings = [(p, 2 * v + (p >= 4)) for v in range(3) for p in range(8)]
    sightings += [(p, 6) for p in range(8)]
    found = clusters(sightings, [0, 0, 1, 1, 2, 2, 3])
    assert found[:6] == [0, 1, 0, 1, 0, 1]


def test_prior_makes_a_single_shared_point_weak():
    sightings = [(0, 0), (0, 1), (1, 0), (2, 1)]
    assert (
        clusters(sightings, [0, 1], threshold=0.6)[0]
        == clusters(sightings, [0, 1], threshold=0.6)[1]
    )
    assert clusters(sightings, [0, 1], threshold=0.6, prior=4.0) == [0, 1]


def test_boundary_distance_ignores_the_image_border():
    ids = np.zeros((5, 8), dtype=int)
    ids[:, 4:] = 1
    assert boundary_distance(ids)[0].tolist() == [3, 2, 1, 0, 0, 1, 2, 3]
    assert (boundary_distance(np.zeros((5, 8), int)) >= 8).all()
