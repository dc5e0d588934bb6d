"""The benchmark of edits measures edits of a scene of the asked size."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.editing import EDITS, grown, timed
from tests.editing.tables import make


@pytest.mark.parametrize("name", list(EDITS))
def test_a_grown_scene_is_edited_like_a_small_one(name: str) -> None:
    scene, kinds = make()
    large = grown(scene, 5 * len(scene))
    large.__dict__.update(cameras=scene.cameras, splits=scene.splits)
    assert len(large) == 5 * len(scene)
    assert np.mean(large.ids == 1) == pytest.approx(kinds["box"].mean(), abs=0.02)
    clock, processor, edited = timed(large, EDITS[name](1))
    assert clock > 0
    assert processor > 0
    (record,) = edited.history
    assert record["selected"] == (large.ids == 1).sum()
