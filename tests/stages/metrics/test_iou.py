"""IoU and boundary IoU: by hand, against third-party code, and at the definition's corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion
from torchmetrics.functional.classification import binary_jaccard_index

from gradiseg_core.files.id_maps import resize_by_centres
from gradiseg_core.stages.metrics.iou import boundary, boundary_iou, boundary_width, iou


def mask(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


def random_blobs(seed: int, shape: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    result = np.zeros(shape, dtype=bool)
    for _ in range(4):
        center = generator.uniform(0, 1, 2) * shape
        radius = generator.uniform(0.05, 0.4) * min(shape)
        result |= np.hypot(rows - center[0], columns - center[1]) < radius
    return result


def test_iou_by_hand() -> None:
    prediction = mask("##..", "##..", "....")
    truth = mask(".##.", ".##.", ".##.")
    assert iou(prediction, truth) == 2 / 8
    assert iou(truth, prediction) == 2 / 8
    assert iou(truth, truth) == 1.0
    assert iou(prediction, ~prediction) == 0.0


def test_two_empty_masks_are_undefined() -> None:
    empty = np.zeros((3, 4), dtype=bool)
    assert math.isnan(iou(empty, empty))
    assert math.isnan(boundary_iou(empty, empty))
    assert iou(empty, ~empty) == 0.0
    assert boundary_iou(empty, ~empty) == 0.0


def test_masks_must_be_boolean_and_of_one_shape() -> None:
    with pytest.raises(TypeError, match="boolean"):
        iou(np.zeros((2, 2), np.uint8), np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="shape"):
        boundary_iou(np.zeros((2, 2), bool), np.zeros((2, 3), bool))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(480, 640, 16), (3, 4, 1), (30, 40, 1), (45, 60, 2), (728, 986, 25), (100, 75, 2)],
)
def test_boundary_width(height: int, width: int, expected: int) -> None:
    # 0.02 x 800 = 16; 0.02 x 5 rounds to 0, but at least 1; 0.02 x 75 = 1.5 and 0.02 x 125 = 2.5
    # both round to the even 2, as Python's (and so Gaussian Grouping's) round does.
    assert boundary_width(height, width) == expected


def test_boundary_by_hand() -> None:
    square = mask("......", ".####.", ".####.", ".####.", ".####.", "......")
    ring = mask("......", ".####.", ".#..#.", ".#..#.", ".####.", "......")
    np.testing.assert_array_equal(boundary(square, 1), ring)
    np.testing.assert_array_equal(boundary(square, 2), square)


def test_image_border_counts_as_boundary() -> None:
    full = np.ones((5, 6), dtype=bool)
    expected = full.copy()
    expected[1:-1, 1:-1] = False
    np.testing.assert_array_equal(boundary(full, 1), expected)


def test_boundary_iou_by_hand() -> None:
    # 7 x 7 px: width 1. Truth: 5 x 5 square, ring of 16 px. Prediction: 3 x 3 in its middle, ring
    # of 8 px. The rings do not meet.
    truth, prediction = np.zeros((7, 7), bool), np.zeros((7, 7), bool)
    truth[1:6, 1:6], prediction[2:5, 2:5] = True, True
    assert boundary_iou(prediction, truth) == 0.0
    assert iou(prediction, truth) == 9 / 25
    # Shifted by one column: each ring has 16 px; rows 1 and 5 share columns 2..5 (8 px), and the
    # sides share nothing else, so 8 of 24.
    shifted = np.roll(truth, 1, axis=1)
    assert boundary_iou(shifted, truth) == 8 / 24


@pytest.mark.parametrize("seed", range(6))
def test_against_third_parties(seed: int) -> None:
    shape = [(60, 80), (97, 131), (240, 320)][seed % 3]
    truth, prediction = random_blobs(seed, shape), random_blobs(seed + 100, shape)
    jaccard = binary_jaccard_index(torch.tensor(prediction).int(), torch.tensor(truth).int())
    assert iou(prediction, truth) == pytest.approx(float(jaccard), abs=1e-6)

    # scipy's iterated erosion by a 3 x 3 square; outside the image counts as empty.
    steps = boundary_width(*shape)
    square = np.ones((3, 3), dtype=bool)
    rings = [
        m & ~binary_erosion(m, square, iterations=steps, border_value=0)
        for m in (prediction, truth)
    ]
    jaccard = binary_jaccard_index(*(torch.tensor(ring).int() for ring in rings))
    assert boundary_iou(prediction, truth) == pytest.approx(float(jaccard), abs=1e-6)
    np.testing.assert_array_equal(boundary(truth, steps), rings[1])


def test_resize_takes_the_pixel_under_the_centre() -> None:
    small = np.array([[1, 2], [3, 4]], dtype=np.int32)
    np.testing.assert_array_equal(
        resize_by_centres(small, (4, 4)), np.repeat(np.repeat(small, 2, 0), 2, 1)
    )
    np.testing.assert_array_equal(resize_by_centres(np.arange(12).reshape(3, 4), (1, 2)), [[5, 7]])
    assert resize_by_centres(small > 1, (4, 4)).dtype == np.bool_
    assert resize_by_centres(np.full((2, 2), 70000, np.int32), (3, 3)).max() == 70000


def test_ignored_pixels_have_no_part_and_make_no_boundary() -> None:
    truth, guess, ignored = np.zeros((3, 40, 60), bool)
    truth[10:30, 10:50] = True
    guess[10:30, 10:30] = True  # right as far as it can be known
    ignored[:, 30:] = True
    assert iou(guess, truth) == pytest.approx(0.5)
    assert iou(guess, truth, ignored) == 1.0
    assert boundary_iou(guess, truth, 0.05) < 1.0
    assert boundary_iou(guess, truth, 0.05, ignored) == 1.0
    guess[10:30, 10:12] = False
    assert iou(guess, truth, ignored) == pytest.approx(0.9)
