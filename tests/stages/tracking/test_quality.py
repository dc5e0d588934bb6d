"""Association quality on maps small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gradiseg_core.stages.tracking.quality import assess_maps


def row(*ids: int) -> np.ndarray:
    return np.array([ids])


def test_renamed_ids_are_right():
    exact = [row(0, 0, 1, 1, 2), row(0, 1, 1, 2, 2)]
    quality = assess_maps([row(7, 7, 3, 3, 9), row(7, 3, 3, 9, 9)], exact)
    assert quality["accuracy"] == 1.0
    assert quality["accuracy_labelled_foreground"] == 1.0
    assert (quality["switches"], quality["fragments"], quality["merges"]) == (0, 0, 0)
    assert [entry["id"] for entry in quality["objects"]] == [3, 9]


def test_shares_count_by_hand():
    # 10 pixels, 6 of the foreground, one of them without ID, one with a wrong ID.
    exact = [row(0, 0, 1, 1, 1), row(0, 0, 1, 1, 1)]
    quality = assess_maps([row(5, 5, 2, 2, 0), row(5, 5, 2, 2, 5)], exact)
    assert quality["accuracy"] == pytest.approx(8 / 10)
    assert quality["accuracy_labelled_foreground"] == pytest.approx(4 / 5)
    assert quality["accuracy_foreground"] == pytest.approx(4 / 6)
    assert quality["unlabelled_foreground"] == pytest.approx(1 / 6)


def test_labelled_pixels_can_be_those_of_the_masks():
    exact = [row(1, 1, 1, 1)]
    filled = [row(2, 2, 2, 3)]
    quality = assess_maps(filled, exact, [np.array([[True, True, False, False]])])
    assert quality["accuracy_labelled_foreground"] == 1.0
    assert quality["accuracy_foreground"] == pytest.approx(3 / 4)
    assert quality["unlabelled_foreground"] == pytest.approx(1 / 2)


def test_id_zero_matches_background_only():
    exact = [row(1, 1, 1, 0)]
    assert assess_maps([row(0, 0, 0, 5)], exact)["accuracy"] == 1 / 4  # 5 takes exact 0
    assert assess_maps([row(5, 5, 5, 0)], exact)["accuracy"] == 1.0


def test_assignment_is_the_best_overall_not_greedy():
    # ID 1 overlaps object 1 most (5), but giving it to object 2 and ID 2 to object 1 wins 8 over 5.
    exact = [row(1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2)]
    predicted = [row(1, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1)]
    assert assess_maps(predicted, exact)["accuracy"] == pytest.approx(8 / 13)


def test_switch_is_named_and_counted_once_a_view():
    exact = [row(0, 1, 1)] * 4
    predicted = [row(4, 2, 2), row(4, 2, 2), row(4, 3, 3), row(4, 0, 0)]
    quality = assess_maps(predicted, exact, names=["a", "b", "c", "d"])
    assert quality["switched"] == [["c", 1, 3]]
    assert (quality["switches"], quality["misses"]) == (1, 1)
    assert quality["fragments"] == 1  # ID 3 covers a quarter of the object


def test_fragments_below_the_share_do_not_count():
    exact = [np.ones((1, 100), dtype=int)]
    predicted = np.full((1, 100), 2)
    predicted[0, :4] = 3
    assert assess_maps([predicted], exact)["fragments"] == 0
    predicted[0, :5] = 3
    assert assess_maps([predicted], exact)["fragments"] == 1


def test_merges_of_objects_and_with_the_background():
    exact = [row(0, 0, 0, 1, 1, 2, 2, 3, 3)]
    assert assess_maps([row(9, 9, 9, 4, 4, 4, 4, 5, 5)], exact)["merges"] == 1
    assert assess_maps([row(9, 9, 9, 9, 9, 4, 4, 5, 5)], exact)["merges"] == 1
