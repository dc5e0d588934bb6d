"""Outlines follow the colours on both sides of them."""

from __future__ import annotations

import numpy as np

from gradiseg_core.geometry.labels import cores, halved_lab
from gradiseg_core.geometry.options import LabelOptions
from gradiseg_core.geometry.outlines import decide

TABLE, THING, LEAF, WALL = (200, 185, 160), (200, 60, 60), (30, 140, 40), (120, 120, 160)
SIZE = (240, 320)


def _plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.tile(np.array(colour, np.uint8), (*SIZE, 1))


def _decide(
    drawn: np.ndarray,
    photograph: np.ndarray,
    shown: np.ndarray | None = None,
    behind: np.ndarray | None = None,
) -> np.ndarray:
    """Decide; the surface shows what the photograph does, or nothing where nothing is drawn."""
    lab = halved_lab(photograph)
    as_drawn = lab if shown is None else halved_lab(shown)
    as_drawn = np.where((drawn >= 0)[..., None], as_drawn, np.float32(np.nan))
    unknown = np.full(lab.shape, np.nan, np.float32)
    hidden = unknown if behind is None else halved_lab(behind)
    return decide(drawn, cores(drawn, LabelOptions()), lab, as_drawn, hidden)


def test_outlines_move_to_edges_of_the_photograph() -> None:
    """Labels are 5 px off the edge of the photograph."""
    photograph = _plain((40, 40, 40))
    photograph[:, 160:] = THING
    drawn = np.zeros(SIZE, np.int32)
    drawn[:, 155:] = 3
    drawn[100:110, 150:170] = -1
    shown = _plain((40, 40, 40))
    shown[:, 155:] = THING
    found = _decide(drawn, photograph, shown)
    assert np.array_equal(np.unique(found), [0, 3])
    truth = np.arange(320)[None, :] >= 160
    assert ((found == 3) == truth).mean() > 0.998


def test_thin_labels_keep_a_core() -> None:
    photograph = _plain((90, 90, 90))
    photograph[100:103] = 220
    drawn = np.zeros(SIZE, np.int32)
    drawn[100:103] = 1
    found = _decide(drawn, photograph)
    assert (found[100:103] == 1).all()
    assert (found == 1).sum() == 3 * 320


def test_views_without_a_known_label_are_background() -> None:
    photograph = _plain((0, 0, 0))
    assert (_decide(np.full(SIZE, -1, np.int32), photograph) == 0).all()
    assert (_decide(np.full(SIZE, 2, np.int32), photograph) == 2).all()


def test_a_shadow_that_is_drawn_as_the_object_is_table() -> None:
    """The object's surface reaches 6 px into its shadow; other views show the table there."""
    photograph = _plain(TABLE)
    photograph[:, 140:160] = (110, 100, 88)  # half as bright
    photograph[:, 160:] = THING
    drawn = np.zeros(SIZE, np.int32)
    drawn[:, 154:] = 1
    shown = photograph.copy()
    shown[:, 154:160] = THING  # the colour of the surface there is blurred
    found = _decide(drawn, photograph, shown, behind=photograph)
    assert np.array_equal(found == 1, np.tile(np.arange(320) >= 160, (240, 1)))


def test_a_leaf_before_another_thing_is_the_plants() -> None:
    """It is drawn as a part of what it hides, whose colour there is known from other views."""
    photograph = _plain(THING)
    photograph[120:] = LEAF
    photograph[112:120, 100:104] = LEAF  # its tip
    drawn = np.ones(SIZE, np.int32)
    drawn[120:] = 2
    shown = _plain(THING)
    shown[120:] = LEAF
    found = _decide(drawn, photograph, shown)
    assert np.array_equal(found == 2, (photograph == LEAF).all(axis=-1))


def test_a_leaf_before_what_is_not_fused_is_the_plants() -> None:
    """The wall lies outside of what is fused: it counts as background, unseen by the surface."""
    photograph = _plain(WALL)
    photograph[120:] = LEAF
    photograph[112:120, 100:104] = LEAF
    drawn = np.zeros(SIZE, np.int32)
    drawn[120:] = 2
    lab = halved_lab(photograph)
    shown = np.where((drawn > 0)[..., None], lab, np.float32(np.nan))
    core = cores(drawn, LabelOptions())
    found = decide(drawn, core, lab, shown, np.full(lab.shape, np.nan, np.float32))
    assert np.array_equal(found == 2, (photograph == LEAF).all(axis=-1))


def test_where_colours_are_alike_the_surface_decides() -> None:
    drawn = np.zeros(SIZE, np.int32)
    drawn[80:160, 80:160] = 1
    found = _decide(drawn, _plain(TABLE), behind=_plain(TABLE))
    assert ((found == 1) == (drawn == 1)).mean() > 0.999


def test_what_is_far_from_an_object_stays_background() -> None:
    photograph = _plain(TABLE)
    photograph[80:100, 80:100] = THING
    photograph[80:100, 150:160] = THING
    drawn = np.zeros(SIZE, np.int32)
    drawn[80:100, 80:100] = 1
    shown = _plain(TABLE)
    shown[80:100, 80:100] = THING
    found = _decide(drawn, photograph, shown, behind=_plain(TABLE))
    assert np.array_equal(found, drawn)


def test_ignored_pixels_say_nothing_to_others() -> None:
    """A hand, of a leaf's colour, lies before the background near the tip of one."""
    photograph = _plain(WALL)
    photograph[120:] = LEAF
    photograph[112:120, 100:104] = LEAF
    hand = np.zeros(SIZE, bool)
    hand[100:110, 95:110] = True
    photograph[hand] = LEAF
    drawn = np.zeros(SIZE, np.int32)
    drawn[120:] = 2
    lab = halved_lab(photograph)
    shown = np.where((drawn > 0)[..., None], lab, np.float32(np.nan))
    behind = np.full(lab.shape, np.nan, np.float32)
    core = cores(drawn, LabelOptions())
    found = decide(drawn, core, lab, shown, behind, hand)
    leaf = (photograph == LEAF).all(axis=-1) & ~hand
    assert np.array_equal(found == 2, leaf)
    assert not np.array_equal(decide(drawn, core, lab, shown, behind)[~hand] == 2, leaf[~hand])
