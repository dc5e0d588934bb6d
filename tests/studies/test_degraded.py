"""The noise model of degraded masks: each kind of error alone, and all of them repeatable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.files.id_maps import read_id_map, write_id_map
from studies.degraded import degrade, degrade_tabletop
from studies.options import DegradedConfig

NOTHING = {"wobble_px": 0.0, "miss": 0.0, "merge": 0.0, "switch": 0.0, "split": 0.0}
VIEWS = 200


@pytest.fixture(scope="module")
def exact():
    """Many equal views: 1 touches 2 on the left, 3 stands alone."""
    ids = np.zeros((60, 80), np.int32)
    ids[10:40, 5:25], ids[10:40, 25:45], ids[20:50, 55:70] = 1, 2, 3
    return [ids.copy() for _ in range(VIEWS)]


def levels(**changed: float) -> DegradedConfig:
    return DegradedConfig(**{**NOTHING, **changed})


def shares(exact, spoiled, label: int, value: int) -> float:
    """Share of the views in which all of an object carries a value."""
    return float(
        np.mean([(b[a == label] == value).all() for a, b in zip(exact, spoiled, strict=True)])
    )


def test_no_level_changes_nothing(exact):
    for before, after in zip(exact, degrade(exact, levels(), 0), strict=True):
        np.testing.assert_array_equal(before, after)


def test_misses_come_at_their_rate_and_leave_the_rest_alone(exact):
    spoiled = degrade(exact, levels(miss=0.3), 0)
    for label in (1, 2, 3):
        assert shares(exact, spoiled, label, 0) == pytest.approx(0.3, abs=0.1)  # 3 sigma
    assert all((b[a == 0] == 0).all() for a, b in zip(exact, spoiled, strict=True))


def test_only_touching_objects_merge(exact):
    spoiled = degrade(exact, levels(merge=0.3), 0)
    assert shares(exact, spoiled, 1, 2) == pytest.approx(0.3, abs=0.1)
    assert shares(exact, spoiled, 2, 1) == pytest.approx(0.3, abs=0.1)
    assert shares(exact, spoiled, 3, 3) == 1.0


def test_a_switched_id_is_new_and_lasts_some_views(exact):
    spoiled = degrade(exact, levels(switch=0.1, switch_views=4.0), 0)
    values = np.array([int(ids[20, 10]) for ids in spoiled])
    foreign = values[values != 1]
    assert foreign.size > 0
    assert foreign.min() > 3
    others = np.concatenate([ids[ids > 3] for ids in spoiled])
    assert set(np.unique(others)) >= set(foreign)
    lasted = [int((values == value).sum()) for value in np.unique(foreign)]
    assert np.mean(lasted) == pytest.approx(4.0, abs=1.5)
    for value in np.unique(foreign):  # one stretch each
        at = np.nonzero(values == value)[0]
        assert at[-1] - at[0] + 1 == at.size


def test_a_split_cuts_a_quarter_to_a_half_off_into_an_id_of_this_view(exact):
    spoiled = degrade(exact, levels(split=1.0), 0)
    seen: set[int] = set()
    for before, after in zip(exact, spoiled, strict=True):
        for label in (1, 2, 3):
            values, counts = np.unique(after[before == label], return_counts=True)
            assert values[0] == label
            assert len(values) == 2
            assert 0.2 <= counts[1] / counts.sum() <= 0.55
            assert values[1] not in seen
            seen.add(int(values[1]))


def test_wobble_moves_outlines_by_about_its_deviation_and_nothing_else(exact):
    spoiled = degrade(exact, levels(wobble_px=1.5), 0)
    right = np.concatenate([(ids[25:45] == 3).sum(axis=1) for ids in spoiled])  # 15 px wide
    # Both vertical edges move independently at these distances.
    assert right.std() == pytest.approx(1.5 * np.sqrt(2.0), rel=0.25)
    assert right.mean() == pytest.approx(15.0, abs=0.5)
    assert all(set(np.unique(ids)) == {0, 1, 2, 3} for ids in spoiled)


def test_reduced_maps_consist_of_squares_and_stay_in_place(exact):
    for ids in degrade(exact[:3], levels(reduced=4), 0):
        squares = ids.reshape(15, 4, 20, 4)
        assert (squares == squares[:, :1, :, :1]).all()
        for label in (1, 2, 3):
            before, after = (np.argwhere(m == label).mean(axis=0) for m in (exact[0], ids))
            assert np.abs(before - after).max() <= 2.0


def test_kinds_of_error_do_not_disturb_each_others_draws(exact):
    missed = degrade(exact, levels(miss=0.2), 3)
    both = degrade(exact, levels(miss=0.2, switch=0.2), 3)
    for a, b in zip(missed, both, strict=True):
        np.testing.assert_array_equal(a == 0, b == 0)


def test_a_seed_repeats_and_another_differs(exact):
    config = DegradedConfig()
    first, again, other = (degrade(exact, config, seed) for seed in (1, 1, 2))
    own = degrade(exact, DegradedConfig(seed=1), 1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    for different in (other, own):
        assert any((a != b).any() for a, b in zip(first, different, strict=True))


def test_a_tabletops_training_views_are_spoiled(tmp_path: Path) -> None:
    ids = np.zeros((30, 40), np.int32)
    ids[5:25, 5:15], ids[5:25, 15:25] = 1, 2
    cameras = []
    for index in range(12):
        write_id_map(tmp_path / "table" / "gt_ids" / f"view_{index:02d}.png", ids)
        cameras.append({"name": f"view_{index:02d}.jpg", "test": index == 11})
    (tmp_path / "table" / "ground_truth.json").write_text(json.dumps({"cameras": cameras}))
    degrade_tabletop(tmp_path / "table", tmp_path / "out", levels(miss=0.5), 3)
    files = sorted((tmp_path / "out").iterdir())
    assert [path.stem for path in files] == [f"view_{index:02d}" for index in range(11)]
    found = [read_id_map(path) for path in files]
    for wanted, got in zip(degrade([ids] * 11, levels(miss=0.5), 3), found, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert any(not (got == 1).any() for got in found)
