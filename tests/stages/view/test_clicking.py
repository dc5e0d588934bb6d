"""Clicks find the object that the pixel shows; lists, cards and search say what it is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.stages.view.browser import Viewer
from tests.stages.view.clicking import click_on, inside
from tests.stages.view.conftest import BLUE, GREEN, RED, Made

pytestmark = pytest.mark.browser


def test_sixty_clicks_from_three_cameras(view: Viewer, made: Made) -> None:
    """Twenty on each of three objects and the ground, as the core labels them: 95 % are right."""
    generator = np.random.default_rng(0)
    right = total = 0
    for camera in (1, 5, 9):
        view.stand(camera)
        for index in (0, RED, GREEN, BLUE):
            pixels = inside(made, camera, index)
            assert len(pixels) >= 5
            for x, y in generator.choice(pixels, 5) + 0.5:
                view.click(*view.place_of(made.cameras[camera], x, y))
                right += view.selected == ({index} if index else set())
                total += 1
    assert total == 60
    assert right >= 57


def test_weight_decides_and_not_the_nearest_centre(view: Viewer, made: Made) -> None:
    """The weights of a pixel add up to its opacity, and the largest wins."""
    view.stand(3)
    core = made.scene.render(made.cameras[3])
    for x, y in ((30, 36), (48, 36), (60, 40), (48, 60)):
        place = view.place_of(made.cameras[3], x + 0.5, y + 0.5)
        picked = view.app("return await app.pick(...argument)", place)
        weights = dict(map(tuple, picked["weights"]))
        # The window is larger than the photograph, so its low-pass filter blurs less.
        assert sum(weights.values()) == pytest.approx(core.alpha[y, x], abs=0.12)
        if weights:
            assert picked["object"] == max(weights, key=lambda name: weights[name])


def test_the_depth_of_a_click_is_that_of_the_object(view: Viewer, made: Made) -> None:
    view.stand(2)
    core = made.scene.render(made.cameras[2])
    for index in (RED, GREEN, BLUE):
        x, y = inside(made, 2, index)[10]
        place = view.place_of(made.cameras[2], x + 0.5, y + 0.5)
        depth = view.app("return (await app.pick(...argument)).depth", place)
        assert depth == pytest.approx(core.depth[y, x], rel=0.06)


def test_a_click_beside_all_objects_clears_the_selection(view: Viewer, made: Made) -> None:
    click_on(view, made, RED)
    assert view.selected == {RED}
    click_on(view, made, 0)
    assert view.selected == set()


@pytest.mark.parametrize("key", ["Control", "Shift"])
def test_a_key_selects_several_and_takes_them_away_again(
    key: str, view: Viewer, made: Made
) -> None:
    click_on(view, made, RED)
    click_on(view, made, GREEN, key)
    assert view.selected == {RED, GREEN}
    assert "2 objects" in view.page.inner_text("#card")
    click_on(view, made, RED, key)
    assert view.selected == {GREEN}


def test_the_card_says_what_it_is(view: Viewer, made: Made) -> None:
    click_on(view, made, RED)
    text = view.page.inner_text("#card")
    row = next(row for row in made.scene.objects if row.id == RED)
    for word in ("red <b>ball</b>", "3", "150", "100 %", "Seen in 9 of 9 training photographs"):
        assert word in text, text
    largest = float(f"{max(row.box.size):.2g}")
    assert f"{largest:g} \N{MULTIPLICATION SIGN}" in text
    assert view.page.locator("#card b").count() == 0  # a name is no HTML


def test_a_drag_is_no_click(view: Viewer, made: Made) -> None:
    view.stand(2)
    x, y = view.place_of(made.cameras[2], 48, 36)
    view.page.mouse.move(x, y)
    view.page.mouse.down()
    view.page.mouse.move(x + 40, y, steps=4)
    view.page.mouse.up()
    view.settle()
    assert view.selected == set()


def test_what_is_hidden_is_not_clicked(view: Viewer, made: Made) -> None:
    """What lies behind is, or nothing."""
    view.app("app.toggleHidden([argument])", made.place(RED))
    click_on(view, made, RED)
    assert RED not in view.selected


def test_what_was_moved_is_clicked_where_it_is_now(view: Viewer, made: Made) -> None:
    view.stand(2)
    view.app(
        "app.edits.change(({ moves }) => moves.set(argument, [0, 0, 0.5])); await app.settled();",
        made.place(RED),
    )
    row = next(row for row in made.scene.objects if row.id == RED)
    camera = made.cameras[2]
    point = (
        camera.cam_from_world[:3, :3] @ (row.centre + np.array([0, 0, 0.5]))
        + camera.cam_from_world[:3, 3]
    )
    u, v, w = camera.K @ point
    view.click(*view.place_of(camera, u / w, v / w))
    assert view.selected == {RED}


def test_the_pointer_highlights_what_it_is_over(view: Viewer, made: Made) -> None:
    view.stand(2)
    pixels = inside(made, 2, GREEN)
    x, y = pixels[len(pixels) // 2] + 0.5
    view.page.mouse.move(*view.place_of(made.cameras[2], x, y))
    view.page.wait_for_selector(f"#objects li.hovered[data-id='{GREEN}']")
    view.page.mouse.move(450, 5)  # the bar
    view.page.wait_for_selector("#objects li.hovered", state="detached")


def test_what_is_selected_is_outlined(view: Viewer, made: Made) -> None:
    def orange() -> int:
        """Pixels of the outline's colour, #ff8a00."""
        view.settle()
        image = Image.open(io.BytesIO(view.page.screenshot())).convert("RGB")
        return int((np.abs(np.asarray(image).astype(int) - [255, 138, 0]).max(axis=-1) < 25).sum())

    view.stand(2)
    assert orange() < 20
    view.app("app.select([argument]); await app.settled();", made.place(GREEN))
    assert orange() > 200


def test_the_list_has_every_object_and_selects_it(view: Viewer) -> None:
    rows = view.page.locator("#objects li")
    assert rows.count() == 3
    assert [row.split("\n")[0] for row in rows.all_inner_texts()] == [
        "green ball",
        "red <b>ball</b>",
        "Object 5",
    ]
    assert view.page.locator("#objects li img").count() == 2  # the third has its colour
    rows.nth(2).click()
    assert view.selected == {BLUE}
    rows.nth(0).click(modifiers=["Control"])
    assert view.selected == {BLUE, GREEN}


def test_search_finds_names_and_ids(view: Viewer) -> None:
    def shown() -> list[str]:
        return [r.get_attribute("data-id") for r in view.page.locator("#objects li:visible").all()]

    view.page.fill("#search", "BALL red")
    assert shown() == ["3"]
    view.page.press("#search", "Enter")
    assert view.selected == {RED}
    view.page.fill("#search", "id 5")
    assert shown() == ["5"]
    view.page.fill("#search", "teapot")
    assert shown() == []
    assert view.page.is_visible("text=No object is called so")
    view.page.press("#search", "Escape")
    assert shown() == ["1", "3", "5"]


def test_a_photograph_of_the_card_is_jumped_to(view: Viewer) -> None:
    view.page.locator("#objects li").nth(1).click()
    small = view.page.locator("#card .best button").first
    name = small.get_attribute("title")
    small.click()
    view.settle()
    assert view.app("return app.scene.cameras[app.photograph].name") == name
