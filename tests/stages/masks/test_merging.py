"""Region merging: cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.stages.masks.merging import merge_regions, side_contrast


def bars(*colors: float, width: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Vertical bars, one region each, of the given first colour component."""
    labels = np.repeat(np.arange(len(colors)), width)[None].repeat(4, axis=0)
    image = np.zeros((*labels.shape, 3))
    image[..., 0] = np.array(colors, float)[labels]
    return labels, image


def merged(labels, image, threshold, **options) -> list[int]:
    """Number of the joined region by bar, in order of first appearance."""
    arguments = {"boundary_weight": 0.0, "small_area": 0.0, **options}
    result = merge_regions(labels, image, threshold=threshold, **arguments)
    seen: dict[int, int] = {}
    first = [int(result[labels == bar][0]) for bar in range(labels.max() + 1)]
    return [seen.setdefault(value, len(seen)) for value in first]


def test_closest_pair_first_and_means_follow():
    # 0 and 4 join (4 < 6) to mean 2; 9 is 5 from 4 but 7 from the joined 2: stays apart.
    assert merged(*bars(0, 4, 9), threshold=6) == [0, 0, 1]
    assert merged(*bars(0, 4, 9), threshold=7.5) == [0, 0, 0]
    assert merged(*bars(0, 4, 9), threshold=4) == [0, 1, 2]  # exclusive


def test_only_neighbours_merge():
    assert merged(*bars(0, 50, 0), threshold=10) == [0, 1, 2]


def test_means_weigh_by_area():
    labels, image = bars(0, 4, 9)
    labels[:, 1:4] = 0  # unchanged; the first bar grows by the columns put before it
    labels = np.concatenate([np.zeros((4, 8), int), labels], axis=1)
    image = np.concatenate([np.zeros((4, 8, 3)), image], axis=1)
    # 12 columns of 0 and 4 of 4: mean 1, which is 8 from 9.
    assert merged(labels, image, threshold=7.9) == [0, 0, 1]
    assert merged(labels, image, threshold=8.1) == [0, 0, 0]


def test_border_contrast():
    # Two ramps that meet at the same colour: their means differ by 8, the border by little.
    labels, image = bars(0, 0, width=8)
    image[..., 0] = np.abs(np.arange(16) - 7.5) * np.where(np.arange(16) < 8, -1, 1)
    assert merged(labels, image, threshold=3, boundary_weight=0.0) == [0, 1]
    # contrast over 2 + 2 pixels: (0.5 + 1.5) / 2 - -(0.5 + 1.5) / 2 = 2
    assert merged(labels, image, threshold=1.9, boundary_weight=1.0) == [0, 1]
    assert merged(labels, image, threshold=2.1, boundary_weight=1.0) == [0, 0]


def test_small_regions_merge_more_readily():
    # 16 px each, small_area 64: differences are halved.
    assert merged(*bars(0, 10), threshold=6, small_area=0.0) == [0, 1]
    assert merged(*bars(0, 10), threshold=6, small_area=64.0) == [0, 0]
    assert merged(*bars(0, 10), threshold=4.9, small_area=64.0) == [0, 1]


def test_side_contrast_at_the_image_border():
    image = np.array([0.0, 10.0, 20.0, 20.0])[None, :, None] * [1.0, 0.0, 0.0]
    # first side: 0 | (10 + 20) / 2; second: 5 | 20; third: 15 | 20
    np.testing.assert_allclose(side_contrast(image, 1, 2)[0], [15, 15, 5])
    np.testing.assert_allclose(side_contrast(image.transpose(1, 0, 2), 0, 2)[:, 0], [15, 15, 5])


def test_agrees_with_a_direct_search():
    """Against an independent search that recomputes all from the pixels after each merge."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(12).reshape(3, 4).repeat(3, 0).repeat(3, 1)
    image = rng.uniform(0, 10, (*labels.shape, 3)) + labels[..., None]
    options = {"threshold": 5.0, "boundary_weight": 0.4, "small_area": 20.0}
    expected = _direct(labels, image, **options)
    result = merge_regions(labels, image, **options)
    assert 1 < len(np.unique(expected)) < 12
    pairs = np.unique(np.stack([expected.ravel(), result.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(expected)) == len(np.unique(result))


def _direct(labels, image, threshold, boundary_weight, small_area):
    labels = labels.copy()
    sides = [
        (labels[:-1], labels[1:], side_contrast(image, 0, 2)),
        (labels[:, :-1], labels[:, 1:], side_contrast(image, 1, 2)),
    ]  # views: they follow `labels`
    while True:
        best = (threshold, None)
        for a in np.unique(labels):
            for b in np.unique(labels[labels > a]):
                contrast = np.concatenate(
                    [g[((x == a) & (y == b)) | ((x == b) & (y == a))].ravel() for x, y, g in sides]
                )
                if not contrast.size:
                    continue
                color = np.linalg.norm(image[labels == a].mean(0) - image[labels == b].mean(0))
                value = (1 - boundary_weight) * color + boundary_weight * contrast.mean()
                smaller = min((labels == a).sum(), (labels == b).sum())
                value *= min(1.0, smaller / small_area) ** 0.5
                if value < best[0]:
                    best = (value, (a, b))
        if best[1] is None:
            return labels
        labels[labels == best[1][1]] = best[1][0]


def test_one_region_stays():
    labels, image = bars(1)
    np.testing.assert_array_equal(
        merge_regions(labels, image, threshold=9, boundary_weight=0.5, small_area=10), labels
    )


@pytest.mark.parametrize("transpose", [False, True])
def test_axes_are_alike(transpose):
    labels, image = bars(0, 4, 9)
    if transpose:
        labels, image = labels.T, image.transpose(1, 0, 2)
    assert merged(labels, image, threshold=6) == [0, 0, 1]
