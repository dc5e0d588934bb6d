"""Colour words: reading prompts, naming colours, choosing objects."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from gradiseg_core.stages.grounding.backends.colour_words import choose, contacts, measure_regions
from gradiseg_core.stages.grounding.colours import COLOURS, colour_words, rgb_to_lab

OPTIONS = {"max_area_share": 0.15, "min_score": 0.25}

NAMED = {
    "red": [(200, 20, 25), (120, 15, 18), (230, 60, 50)],
    "orange": [(240, 130, 20), (200, 100, 15)],
    "yellow": [(240, 200, 30), (180, 150, 20), (255, 240, 80)],
    "green": [(40, 140, 40), (20, 70, 25), (110, 180, 90)],
    "cyan": [(30, 190, 190)],
    "blue": [(30, 70, 170), (15, 30, 90), (110, 150, 220)],
    "purple": [(110, 50, 140), (70, 30, 90)],
    "pink": [(240, 120, 160), (250, 190, 200)],
    "brown": [(110, 70, 35), (80, 50, 30)],
    "beige": [(215, 195, 160)],
    "white": [(240, 240, 235), (200, 200, 200)],
    "grey": [(128, 128, 130), (100, 100, 100)],
    "black": [(20, 20, 22), (40, 38, 40)],
}


@pytest.mark.parametrize("name", NAMED)
def test_typical_shades_belong_to_their_name_most(name: str) -> None:
    for rgb in NAMED[name]:
        lab = rgb_to_lab(np.array([[rgb]], dtype=np.uint8))[0, 0]
        members = {other: float(colour.membership(lab)) for other, colour in COLOURS.items()}
        assert max(members, key=members.__getitem__) == name, (rgb, members)
        assert members[name] > 0.4


def test_words_of_a_prompt() -> None:
    def names(prompt: str) -> list[str]:
        return [name for name, _ in colour_words(prompt)]

    assert names("Red apple") == ["red"]
    assert names("gray whisk") == names("silver whisk") == ["grey"]
    assert names("red and white striped box, red lid") == ["red", "white"]
    assert names("dark blue mug") == ["dark blue"]
    assert names("old camera") == []
    assert names("reduced greenhouse") == []  # whole words only


def picture(colors: dict[int, tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return an 80 x 60 px view: a grey-brown ground (ID 0) and shaded, noisy discs."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:60, :80]
    color = np.full((60, 80, 3), (150, 140, 125), dtype=float)
    ids = np.zeros((60, 80), dtype=np.int32)
    for index, (number, rgb) in enumerate(colors.items()):
        center = (15 + 30 * (index // 4), 10 + 20 * (index % 4))
        inside = np.hypot(rows - center[0], columns - center[1]) < 8
        shade = 1.15 - 0.6 * (rows - center[0] + 8) / 16
        color[inside] = (np.array(rgb) * shade[..., None])[inside]
        ids[inside] = number
    color += generator.normal(0, 4, color.shape)
    return np.clip(color, 0, 255).astype(np.uint8), ids


def test_each_prompt_finds_its_object() -> None:
    colors = {
        3: (190, 20, 20), 7: (30, 70, 170), 9: (40, 140, 40), 12: (235, 195, 30),
        14: (235, 235, 230), 15: (25, 24, 26), 16: (240, 130, 20), 20: (110, 50, 140),
    }  # fmt: skip
    regions = measure_regions([picture(colors)])
    prompts = {
        "red apple": 3, "blue mug": 7, "green plant": 9, "yellow lemon": 12, "white teapot": 14,
        "black bowl": 15, "orange book": 16, "purple book": 20,
    }  # fmt: skip
    for prompt, expected in prompts.items():
        choice = choose(prompt, regions, **OPTIONS)
        assert choice.ids == [expected], (prompt, choice)
        assert choice.details["candidates"][0]["score"] > 0.5


def test_a_prompt_without_colour_selects_nothing_and_says_why() -> None:
    choice = choose("old camera", measure_regions([picture({1: (200, 20, 20)})]), **OPTIONS)
    assert choice.ids == []
    assert "no colour" in choice.why


def test_a_colour_that_nothing_has_selects_nothing() -> None:
    choice = choose("blue mug", measure_regions([picture({1: (200, 20, 20)})]), **OPTIONS)
    assert choice.ids == []
    assert "blue" in choice.why


def test_it_cannot_tell_two_red_things_apart() -> None:
    regions = measure_regions([picture({1: (190, 20, 20), 2: (190, 20, 20)})])
    assert choose("red apple", regions, **OPTIONS).ids == choose("red box", regions, **OPTIONS).ids


def test_walls_and_specks_do_not_win() -> None:
    color, ids = picture({4: (190, 30, 30)})
    ids[44:58, 3:77] = 5  # a red field over a fifth of the view, off its border
    color[44:58, 3:77] = (200, 10, 10)
    ids[0, 0], color[0, 0] = 6, (200, 10, 10)
    assert choose("red apple", measure_regions([(color, ids)]), **OPTIONS).ids == [4]
    # Without the prior the field, being redder, would have won.
    loose = OPTIONS | {"max_area_share": 1.0}
    assert choose("red apple", measure_regions([(color, ids)]), **loose).ids == [5]


def test_what_the_image_border_cuts_is_the_lesser_candidate() -> None:
    color, ids = picture({4: (190, 30, 30)})
    ids[40:, :12], color[40:, :12] = 5, (200, 10, 10)  # redder and larger, in the corner
    regions = measure_regions([(color, ids)])
    assert regions.border_share[5] == 1.0
    assert regions.border_share[4] == 0.0
    choice = choose("red apple", regions, **OPTIONS)
    assert choice.ids == [4]
    assert choice.details["candidates"][1]["id"] == 5


def test_contacts_by_hand() -> None:
    table = contacts(np.array([[1, 1, 2], [1, 3, 2]]), 4)
    expected = np.zeros((4, 4), dtype=int)
    expected[1, 2] = expected[2, 1] = 1
    expected[1, 3] = expected[3, 1] = 2
    expected[2, 3] = expected[3, 2] = 1
    np.testing.assert_array_equal(table, expected)


def test_fragments_of_the_colour_join() -> None:
    color, ids = picture({1: (190, 20, 20), 2: (190, 20, 20), 4: (30, 70, 170)})
    columns = np.arange(80)[None]
    ids[(ids == 1) & (columns > 12)] = 5  # a third of the ball, along a straight cut
    ids[(ids == 5) & (columns < 14)] = 6  # and a strip between, which touches both
    regions = measure_regions([(color, ids)])
    choice = choose("red ball", regions, **OPTIONS)
    # The other red ball does not touch; the blue one is not red.
    assert sorted(choice.ids) in ([1, 5, 6], [2])
    joined = choose("red ball", measure_regions([(color, np.where(ids == 2, 0, ids))]), **OPTIONS)
    assert sorted(joined.ids) == [1, 5, 6]


def test_a_neighbour_that_merely_touches_does_not_join() -> None:
    color, ids = picture({1: (190, 20, 20)})
    color[10:30, 18:38], ids[10:30, 18:38] = (190, 20, 20), 2  # touches over some pixels
    regions = measure_regions([(color, ids)])
    assert regions.contact[1, 2] > 0
    assert len(choose("red ball", regions, **OPTIONS).ids) == 1


def test_several_colours_must_all_occur() -> None:
    color, ids = picture({1: (190, 20, 20), 2: (235, 235, 230), 3: (190, 20, 20)})
    stripes = (ids == 3) & (np.arange(60)[:, None] % 4 < 2)
    color[stripes] = (240, 240, 240)
    regions = measure_regions([(color, ids)])
    assert choose("red and white ball", regions, **OPTIONS).ids == [3]
    assert choose("red ball", regions, **OPTIONS).ids == [1]


def test_hue_wheel_has_no_hole_between_chromatic_names() -> None:
    wheel = np.array(
        [[round(255 * c) for c in colorsys.hsv_to_rgb(h / 360, 0.8, 0.75)] for h in range(360)],
        dtype=np.uint8,
    )
    best = np.max([c.membership(rgb_to_lab(wheel[None])[0]) for c in COLOURS.values()], axis=0)
    assert best.min() > 0.15
