"""The weights-free segmenter on drawn images."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.stages.masks.backends.graph import Options as GraphMasksConfig
from gradiseg_core.stages.masks.backends.graph import numbered, segment
from studies.segment_quality import measure
from tests.stages.masks.drawings import drawing

CONFIG = GraphMasksConfig()


@pytest.mark.parametrize("scale", [1, 3])
def test_objects_are_few_segments_without_leaks(scale):
    image, truth = drawing(120 * scale, 160 * scale)
    config = CONFIG.model_copy(update={"longest_side": 320})  # the larger drawing is reduced
    ids = segment(image, config)
    assert ids.shape == truth.shape
    quality = measure(ids, truth)
    assert min(quality.achievable_iou.values()) > 0.93
    assert quality.fragments[1] == 1
    assert quality.fragments[2] in (2, 3)  # two colours: over-segmented, not leaking
    assert quality.segments <= 15
    assert quality.achievable_accuracy > 0.98


def test_repeats_and_numbers_in_reading_order():
    image, _ = drawing()
    ids = segment(image, CONFIG)
    np.testing.assert_array_equal(ids, segment(image, CONFIG))
    values, first = np.unique(ids, return_index=True)
    order = first[values > 0]
    assert (np.diff(order) > 0).all()
    assert values.max() == (values > 0).sum()


def test_numbered_by_hand():
    labels = np.array([[7, 7, 3], [7, 9, 3], [9, 9, 5]])
    np.testing.assert_array_equal(numbered(labels, min_area=2), [[1, 1, 2], [1, 3, 2], [3, 3, 0]])
    assert not numbered(labels, min_area=10).any()


def test_blank_image_is_one_segment():
    assert (segment(np.full((40, 60, 3), 90, np.uint8), CONFIG) == 1).all()


def test_quality_by_hand():
    truth = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [2, 2, 2, 2]])
    segments = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 3, 3]])
    quality = measure(segments, truth, min_object_px=1)
    # Object 1 (6 px): segment 1 (4 of 4), and 2 (2 of 4): 4/6 alone, 6/8 together.
    assert quality.achievable_iou == {1: pytest.approx(6 / 8), 2: pytest.approx(2 / 4)}
    assert quality.fragments == {1: 1, 2: 1}
    assert quality.segments == 3
    assert quality.undersegmentation == pytest.approx(2 / 12)  # half of segment 2
    assert quality.achievable_accuracy == pytest.approx((4 + 2 + 2) / 12)


def test_quality_best_union_against_all_unions():
    rng = np.random.default_rng(2)
    segments, truth = rng.integers(0, 7, (12, 12)), rng.integers(0, 3, (12, 12))
    quality = measure(segments, truth, min_object_px=1)
    for object_id, value in quality.achievable_iou.items():
        unions = [
            np.isin(segments, [s for s in range(1, 7) if bits >> s & 1]) for bits in range(2, 128)
        ]
        inside = truth == object_id
        best = max((u & inside).sum() / (u | inside).sum() for u in unions)
        assert value == pytest.approx(best)
