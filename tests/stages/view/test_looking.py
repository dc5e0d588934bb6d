"""The camera, photographs, keys, the address, layouts and themes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.stages.view.browser import Viewer
from tests.stages.view.conftest import BLUE, GREEN, RED, SIZE, Made, opened

pytestmark = pytest.mark.browser


def saved(view: Viewer) -> np.ndarray:
    view.settle()
    return np.array(view.app("return app.camera.saved()"))


def pivot(view: Viewer) -> np.ndarray:
    return np.array(view.app("return app.camera.pivot"))


def drag(view: Viewer, dx: float, dy: float, button: str = "left") -> None:
    view.page.mouse.move(300, 300)
    view.page.mouse.down(button=button)
    view.page.mouse.move(300 + dx, 300 + dy, steps=5)
    view.page.mouse.up(button=button)
    view.settle()


def test_nothing_is_fetched(view: Viewer) -> None:
    """Offline, and the page asked for nothing but itself."""
    assert {address.partition("#")[0] for address in view.requests} == {
        view.page.url.partition("#")[0]
    }


def test_what_the_page_must_not_do_its_policy_refuses(view: Viewer) -> None:
    outcome = view.page.evaluate(
        "fetch('https://example.org/').then(() => 'fetched', (error) => String(error))"
    )
    assert "TypeError" in outcome
    assert all("example.org" not in address for address in view.requests)
    view.problems.clear()  # the refusal is one


def test_dragging_turns_around_what_is_looked_at(view: Viewer) -> None:
    center, before = pivot(view), saved(view)
    drag(view, 80, 0)
    assert pivot(view) == pytest.approx(center, abs=1e-6)
    after = saved(view)
    assert np.linalg.norm(after[:3] - before[:3]) > 0.3
    assert after[2] == pytest.approx(before[2], abs=0.01)  # as high as before
    drag(view, 0, 60)
    assert saved(view)[2] > before[2]  # dragging down looks from higher up


def test_the_camera_does_not_turn_over(view: Viewer) -> None:
    for _ in range(4):
        drag(view, 0, 250)
    forward = np.array(view.app("return app.camera.axes[2]"))
    down = np.array(view.app("return app.camera.axes[1]"))
    up = np.array(view.app("return app.scene.up"))
    assert forward @ up < -0.9
    assert down @ up < 0


def test_the_right_button_moves_across(view: Viewer) -> None:
    before = saved(view)
    drag(view, 60, 30, button="right")
    after = saved(view)
    assert after[3:7] == pytest.approx(before[3:7])
    assert after[7] == pytest.approx(before[7])
    assert np.linalg.norm(after[:3] - before[:3]) > 0.1


def test_the_wheel_comes_nearer(view: Viewer) -> None:
    center, before = pivot(view), saved(view)
    view.page.mouse.move(300, 300)
    view.page.mouse.wheel(0, -300)
    view.settle()
    assert saved(view)[7] < 0.8 * before[7]
    assert pivot(view) == pytest.approx(center, abs=1e-6)


def test_a_double_click_goes_to_what_is_there(view: Viewer, made: Made) -> None:
    view.stand(2)
    row = next(row for row in made.scene.objects if row.id == RED)
    camera = made.cameras[2]
    u, v, w = camera.K @ (camera.cam_from_world[:3, :3] @ row.centre + camera.cam_from_world[:3, 3])
    view.page.mouse.dblclick(*view.place_of(camera, u / w, v / w))
    view.app("await app.pick(0, 0); await app.settled();")
    assert np.linalg.norm(pivot(view) - row.centre) < 0.45  # on the ball, of radius 0.3


def test_f_frames_the_selection(view: Viewer, made: Made) -> None:
    view.app("app.select([argument])", made.place(BLUE))
    view.page.keyboard.press("f")
    row = next(row for row in made.scene.objects if row.id == BLUE)
    saved(view)
    assert np.linalg.norm(pivot(view) - row.centre) < 0.1


def test_a_photograph_is_jumped_to_and_laid_over(view: Viewer, made: Made) -> None:
    view.page.locator("#strip button").nth(4).click()
    view.settle()
    view.page.wait_for_selector("#overlay:visible")
    center = saved(view)[:3]
    assert center == pytest.approx(made.cameras[4].center_in_world, abs=1e-5)
    frame = view.app("return app.windowShot().frame")
    box = view.page.locator("#overlay").bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == pytest.approx((frame["left"], frame["width"]), abs=0.6)
    assert box["width"] / box["height"] == pytest.approx(SIZE[0] / SIZE[1], rel=0.01)
    fade = view.page.locator("#fade")
    fade.fill("70")
    opacity = view.page.evaluate("getComputedStyle(document.getElementById('overlay')).opacity")
    assert float(opacity) == pytest.approx(0.7)
    fade.fill("0")
    drag(view, 30, 0)
    assert not view.page.is_visible("#overlay")
    assert not view.page.is_visible("#fade-bar")


def test_test_photographs_are_marked(view: Viewer, made: Made) -> None:
    labels = view.page.locator("#strip small").all_inner_texts()
    assert labels == ["test"] * sum(split == "test" for split in made.scene.splits.values())


@pytest.mark.parametrize(
    ("key", "mode"),
    [("2", "objects"), ("3", "identity"), ("4", "confidence"), ("5", "depth"), ("1", "colour")],
)
def test_numbers_choose_what_is_shown(key: str, mode: str, view: Viewer) -> None:
    view.page.keyboard.press(key)
    assert view.app("return app.mode") == mode
    checked = view.page.inner_text("#modes [aria-checked=true]")
    assert checked.lower() == mode
    assert view.page.is_visible("#legend") == (mode in ("confidence", "depth"))


def test_the_keyboard_does_without_a_mouse(view: Viewer, made: Made) -> None:
    before = saved(view)
    view.page.keyboard.press("ArrowLeft")
    assert np.abs(saved(view) - before).max() > 0.01
    view.page.keyboard.press("+")
    assert saved(view)[7] < before[7]
    view.page.keyboard.press("0")
    assert saved(view) == pytest.approx(before, abs=1e-9)
    view.page.keyboard.press("/")
    view.page.keyboard.type("green")
    view.page.keyboard.press("Enter")
    view.page.keyboard.press("Escape")
    assert view.selected == {GREEN}
    view.page.keyboard.press("i")
    assert view.app("return app.edits.now.hidden.size") == 3
    view.page.keyboard.press("a")
    view.page.keyboard.press("h")
    assert view.app("return [...app.edits.now.hidden]") == [made.place(GREEN)]
    view.page.keyboard.press("Escape")
    assert view.selected == set()
    view.page.keyboard.press("]")
    view.settle()
    view.page.wait_for_selector("#overlay:visible")


def test_the_help_lists_the_keys(view: Viewer) -> None:
    view.page.keyboard.press("?")
    assert view.page.is_visible("#help")
    text = view.page.inner_text("#help")
    for word in ("Arrows", "search", "undo", "copy as edit"):
        assert word in text
    view.page.keyboard.press("h")  # keys rest while it is open
    assert view.app("return app.edits.past.length") == 0
    view.page.keyboard.press("Escape")
    assert not view.page.is_visible("#help")


def test_the_address_shows_again_what_one_saw(browser: Any, view: Viewer, made: Made) -> None:
    drag(view, 70, 20)
    view.app(
        """const [red, green, blue] = argument;
        app.select([red, blue]);
        app.toggleHidden([green]);
        app.recolour([red], "#10c020");
        app.edits.change(({ moves }) => moves.set(blue, [0.1, 0, 0.2]));
        app.setMode("objects");""",
        [made.place(index) for index in (RED, GREEN, BLUE)],
    )
    place = saved(view)
    view.page.wait_for_timeout(500)
    other = opened(browser)
    other.page.goto(view.page.url)
    other.page.wait_for_selector("html[data-state=ready]", timeout=60_000)
    assert saved(other) == pytest.approx(place, rel=1e-4, abs=1e-4)
    assert other.selected == {RED, BLUE}
    assert other.app("return app.mode") == "objects"
    state = "return JSON.stringify([[...app.edits.now.hidden], [...app.edits.now.colours]])"
    assert other.app(state) == view.app(state)
    assert other.app("return app.edits.now.moves.get(argument)", made.place(BLUE)) == [0.1, 0, 0.2]
    other.page.context.close()


@pytest.mark.parametrize(
    "fragment",
    [
        "#at=1,2,x",
        "#select=99,abc&hide=-1&show=nothing",
        "#colour=3:zzz,3&move=3:1:2&lens=77",
        "#%%%&&==&at=0,0,0,0,0,0,0,-1",
    ],
)
def test_an_address_of_another_scene_does_no_harm(fragment: str, view: Viewer, made: Made) -> None:
    before = saved(view)
    view.page.evaluate("(hash) => { location.hash = hash; }", fragment)
    view.page.wait_for_timeout(100)
    assert saved(view) == pytest.approx(before)
    assert view.selected == set()
    assert view.app("return app.edits.empty")
    assert view.app("return app.mode") == "colour"
    assert view.problems == []


def test_dark_and_light(browser: Any, made: Made) -> None:
    viewer = opened(browser, color_scheme="dark")
    viewer.open(made.page)
    shade = "getComputedStyle(document.documentElement).getPropertyValue('--backdrop').trim()"
    dark = viewer.page.evaluate(shade)
    viewer.page.keyboard.press("t")
    light = viewer.page.evaluate(shade)
    assert int(dark[1:3], 16) < 64 < 192 < int(light[1:3], 16)
    viewer.page.keyboard.press("t")
    assert viewer.page.evaluate(shade) == dark
    viewer.page.context.close()


def test_a_phone(browser: Any, made: Made) -> None:
    viewer = opened(browser, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    viewer.open(made.page)
    page = viewer.page
    canvas, panel = page.locator("#canvas").bounding_box(), page.locator("#panel").bounding_box()
    assert canvas is not None
    assert panel is not None
    assert canvas["y"] + canvas["height"] <= panel["y"] + 16  # the panel's round corners
    assert panel["width"] == 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # One finger turns, two come nearer.
    before = saved(viewer)
    client = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        client.send(
            "Input.dispatchTouchEvent",
            {
                "type": kind,
                "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)],
            },
        )

    touch("touchStart", (200, 250))
    for step in range(1, 6):
        touch("touchMove", (200 + 12 * step, 250))
    touch("touchEnd")
    turned = saved(viewer)
    assert turned[7] == pytest.approx(before[7])
    assert np.abs(turned[:3] - before[:3]).max() > 0.1
    touch("touchStart", (180, 250), (220, 250))
    for step in range(1, 6):
        touch("touchMove", (180 - 12 * step, 250), (220 + 12 * step, 250))
    touch("touchEnd")
    assert saved(viewer)[7] < 0.7 * turned[7]
    page.tap("#tabs >> text=Photographs")
    assert page.is_visible("#strip button")
    assert not page.is_visible("#panel")
    page.tap("#tabs >> text=Photographs")
    assert not page.is_visible("#strip button")
    taller = page.locator("#canvas").bounding_box()
    assert taller is not None
    assert taller["height"] > canvas["height"] + 100
    page.tap("#tabs >> text=Objects")
    page.locator("#objects li").first.tap()
    assert page.is_visible("#card >> text=Hide")
    page.tap("#tabs >> text=Photographs")
    viewer.app("app.select([2])")  # as by a tap on the picture
    assert page.is_visible("#card >> text=Hide")
    viewer.page.context.close()
