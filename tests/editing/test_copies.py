"""Copies and inserts are objects of their own: every one has an ID and a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradiseg_core
from gradiseg_core.editing.classes import things
from gradiseg_core.errors import InputError
from tests.editing.conftest import BLUE, GREEN, RED

COPY = {"duplicate": "red ball", "by_m": [0, 0, 1], "cut": False}


@pytest.fixture(scope="module")
def uneven(scene: gradiseg_core.Scene) -> gradiseg_core.Scene:
    """The scene with five Gaussians left of the green ball, and the red one whole."""
    mask = scene.ids != GREEN
    mask[np.flatnonzero(~mask)[:5]] = True
    return scene.kept(mask)


def counts(scene: gradiseg_core.Scene) -> dict[str, int]:
    return {name: int((scene.ids == i).sum()) for name, i in scene.history[-1]["new_ids"].items()}


def test_forty_copies_are_forty_objects(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [{**COPY, "called": f"L{index}"} for index in range(40)]
    edited = scene.edit(steps)
    size = int((scene.ids == RED).sum())
    for record in edited.history:
        (name,), (index,) = record["new_ids"], record["new_ids"].values()
        assert (edited.ids_of(name), int((edited.ids == index).sum())) == ([index], size)
    # So it is for who reads the files.
    edited.save(tmp_path / "edited")
    again = gradiseg_core.load(tmp_path / "edited", device="cpu")
    np.testing.assert_array_equal(again.ids, edited.ids)
    assert again.certainty[len(scene) :].min() > 0.99
    # And for an edit of it.
    further = again.edit([{**COPY, "called": "L40"}])
    assert counts(further) == {"L40": size}
    assert float(further.trained.identities.norm(dim=1).max()) == pytest.approx(2.0)


def test_a_small_thing_that_is_copied_with_a_large_one_keeps_its_name(
    uneven: gradiseg_core.Scene,
) -> None:
    edited = uneven.edit([{**COPY, "duplicate": ["red ball", "green ball"]}])
    size = int((uneven.ids == RED).sum())
    assert counts(edited) == {"red ball 2": size, "green ball 2": 5}


def test_a_small_thing_far_from_a_large_one_comes_with_it(uneven: gradiseg_core.Scene) -> None:
    far = uneven.edit([{"move": "green ball", "by_m": [9, 0, 0], "cut": False, "fill": False}])
    edited = far.edit([{**COPY, "duplicate": [RED, GREEN]}])
    assert counts(edited)["green ball 2"] == 5


def test_all_of_a_scene_is_copied_as_what_it_is(uneven: gradiseg_core.Scene) -> None:
    size = {index: int((uneven.ids == index).sum()) for index in (0, RED, GREEN, BLUE)}
    expected = {"background 2": size[0], "red ball 2": size[RED], "green ball 2": size[GREEN]}
    edited = uneven.edit([{**COPY, "duplicate": "everything"}])
    assert counts(edited) == expected | {f"copy of ID {BLUE}": size[BLUE]}
    assert edited.ids_of("background") == [0]
    here = uneven.kept(uneven.ids != RED)
    here.__dict__["another"] = lambda folder: uneven
    step = {"insert": "everything", "scene": "elsewhere", "at_m": [5, 0, 0], "called": "Red Ball"}
    edited = here.edit([step])
    # The name of what is gone is free; the largest gets it, and that is not the background.
    expected["Red Ball"] = expected.pop("red ball 2")
    assert counts(edited) == expected | {f"inserted ID {BLUE}": size[BLUE]}


def test_a_part_of_a_neighbour_is_a_fringe() -> None:
    ids = np.repeat([0, 4, 5], [100, 40, 60])
    mask = np.zeros(200, bool)
    mask[98:103] = mask[140:] = True  # little of 0 and 4, all of 5
    mask[98:99] = False
    ((index, own),) = things(ids, mask)
    assert index == 5
    np.testing.assert_array_equal(own, mask)
    mask[100:125] = True
    (_, first), (second, other) = things(ids, mask)
    assert (second, int(other.sum()), int(first.sum())) == (4, 25, 61)


@pytest.mark.parametrize("name", ["green ball", "Green Ball", "balls"])
def test_a_taken_name_is_refused_before_anything_runs(
    name: str, scene: gradiseg_core.Scene
) -> None:
    with pytest.raises(InputError, match=r"operation 1 \(duplicate\): called: '.*' is ID .* alrea"):
        scene.edit([{**COPY, "called": name}])
    scene.__dict__["another"] = lambda folder: scene
    try:
        with pytest.raises(
            InputError, match=r"operation 1 \(insert\): called: '.*' is ID .* alrea"
        ):
            scene.edit([{"insert": "red ball", "scene": "elsewhere", "called": name}])
    finally:
        del scene.__dict__["another"]


def test_a_name_is_taken_by_an_earlier_operation_and_free_after_its_removal(
    scene: gradiseg_core.Scene,
) -> None:
    third = {**COPY, "called": "third"}
    with pytest.raises(InputError, match=r"operation 2 \(duplicate\): called: 'third' is ID 8"):
        scene.edit([third, third])
    part = {"remove": {"of": "green ball", "drop_floaters": True}, "fill": False}
    edited = scene.edit([part, {**COPY, "called": "green ball"}])
    (new,) = edited.history[-1]["new_ids"].values()
    assert edited.ids_of("green ball") == [new]
