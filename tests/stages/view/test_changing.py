"""Hide, isolate, recolour, move, undo; and what leaves the page: YAML and PLY."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from gradiseg_core.editing.scene import Scene
from gradiseg_core.files.trained import TrainedScene, read_ply
from tests.stages.view.browser import Viewer, psnr
from tests.stages.view.clicking import click_on, inside
from tests.stages.view.conftest import BLUE, GREEN, RED, SIZE, Made

pytestmark = pytest.mark.browser

_TENSORS = ("means", "quats", "scales", "opacities", "sh0", "shN", "identities")


def changed(made: Made, **values: Any) -> Scene:
    return Scene(replace(made.scene.trained, **values), made.scene.run, made.scene.frame)


def only(made: Made, mask: np.ndarray) -> Scene:
    """The scene of some Gaussians."""
    rows = torch.from_numpy(mask)
    trained: TrainedScene = made.scene.trained
    return changed(made, **{name: getattr(trained, name)[rows] for name in _TENSORS})


def same(view: Viewer, scene: Scene, made: Made, least: float = 40) -> None:
    for camera in (2, 7):
        drawn = view.picture(camera, *SIZE)
        assert psnr(drawn, scene.render(made.cameras[camera]).color) > least


def test_hidden_is_as_if_it_were_not_there(view: Viewer, made: Made) -> None:
    click_on(view, made, RED)
    view.page.click("#card >> text=Hide")
    same(view, only(made, made.scene.ids != RED), made)
    assert view.page.is_visible("#show-all")
    view.page.click("#show-all")
    same(view, made.scene, made)
    assert not view.page.is_visible("#show-all")


def test_the_eye_of_the_list_hides(view: Viewer, made: Made) -> None:
    row = view.page.locator(f"#objects li[data-id='{GREEN}']")
    row.hover()
    row.locator("button").click()
    same(view, only(made, made.scene.ids != GREEN), made)
    assert view.selected == set()


def test_isolated_is_alone(view: Viewer, made: Made) -> None:
    click_on(view, made, BLUE)
    view.page.click("#card >> text=Isolate")
    same(view, only(made, made.scene.ids == BLUE), made)


def test_recoloured_is_as_the_core_recolours(view: Viewer, made: Made) -> None:
    view.app("app.recolour([argument], '#1090c0')", made.place(RED))
    same(view, made.scene.edit([{"recolour": RED, "colour": "#1090c0"}]), made)


def test_the_colour_picker_recolours_in_one_step(view: Viewer, made: Made) -> None:
    click_on(view, made, RED)
    picker = view.page.locator("#card input[type=color]")
    for colour in ("#ff0000", "#00ff00"):
        picker.evaluate(
            "(input, colour) => { input.value = colour; input.dispatchEvent(new Event('input')); }",
            colour,
        )
    assert view.app("return [...app.edits.now.colours.values()]") == ["#00ff00"]
    view.page.keyboard.press("Control+z")
    assert view.app("return app.edits.now.colours.size") == 0


def test_moved_is_as_if_the_centres_were(view: Viewer, made: Made) -> None:
    by = [0.2, -0.15, 0.1]
    view.app("app.edits.change(({ moves }) => moves.set(...argument))", [made.place(GREEN), by])
    means = made.scene.trained.means.clone()
    means[torch.from_numpy(made.scene.ids == GREEN)] += torch.tensor(by)
    same(view, changed(made, means=means), made)


def drag(view: Viewer, start: tuple[float, float], way: tuple[float, float]) -> None:
    view.page.mouse.move(*start)
    view.page.mouse.down()
    view.app("await app.pick(0, 0)")  # what was grabbed is known
    view.page.mouse.move(start[0] + way[0] / 2, start[1] + way[1] / 2, steps=3)
    view.page.mouse.move(start[0] + way[0], start[1] + way[1], steps=3)
    view.page.mouse.up()
    view.settle()


@pytest.mark.parametrize("vertical", [False, True])
def test_dragging_moves_on_what_things_stand_on(vertical: bool, view: Viewer, made: Made) -> None:
    click_on(view, made, RED)
    view.page.keyboard.press("m")
    pixels = inside(made, 2, RED)
    x, y = pixels[len(pixels) // 2] + 0.5
    start = view.place_of(made.cameras[2], x, y)
    before = view.app("return app.camera.saved()")
    if vertical:
        view.page.keyboard.down("Shift")
    drag(view, start, (0, -40) if vertical else (50, 10))
    view.page.keyboard.up("Shift")
    assert view.app("return app.camera.saved()") == before  # the camera stays
    by = np.array(view.app("return app.edits.now.moves.get(argument)", made.place(RED)))
    along = by @ np.array(view.app("return app.scene.up"))
    if vertical:
        assert along == pytest.approx(np.linalg.norm(by), rel=1e-6)
        assert along > 0.05
    else:
        assert along == pytest.approx(0, abs=1e-9)
        assert np.linalg.norm(by) > 0.1
        # It follows the pointer: the ray through the pointer meets it.
        place = (start[0] + 50, start[1] + 10)
        assert view.app("return (await app.pick(...argument)).object", place) == made.place(RED)
    view.page.keyboard.press("Control+z")  # the whole drag is one step
    assert view.app("return app.edits.now.moves.size") == 0


def test_undo_and_redo_go_step_by_step(view: Viewer, made: Made) -> None:
    start = view.picture(2, *SIZE)
    click_on(view, made, RED)
    view.page.keyboard.press("h")
    hidden = view.picture(2, *SIZE)
    view.app("app.recolour([argument], '#ff8000')", made.place(GREEN))
    both = view.picture(2, *SIZE)
    assert psnr(start, hidden) < 35
    assert psnr(hidden, both) < 45
    view.page.keyboard.press("Control+z")
    assert np.array_equal(view.picture(2, *SIZE), hidden)
    view.page.keyboard.press("Control+z")
    assert np.array_equal(view.picture(2, *SIZE), start)
    view.page.keyboard.press("Control+Shift+z")
    view.page.keyboard.press("Control+y")
    assert np.array_equal(view.picture(2, *SIZE), both)
    assert view.page.is_disabled("#tools button[title^=Redo]")
    assert view.page.is_enabled("#tools button[title^=Undo]")


def clipboard(view: Viewer) -> str:
    view.page.wait_for_selector("#copied[open]")
    text = view.page.evaluate("navigator.clipboard.readText()")
    assert view.page.inner_text("#copied pre").strip() == text.strip()
    view.page.click("#copied button")
    return text


def test_changes_are_copied_as_section_edits(view: Viewer, made: Made) -> None:
    view.app(
        """const [red, green, blue] = argument;
        app.toggleHidden([red]);
        app.recolour([green], "#1090c0");
        app.edits.change(({ moves }) => moves.set(blue, [0.1, -0.25, 0.0]));""",
        [made.place(index) for index in (RED, GREEN, BLUE)],
    )
    view.page.click("#copy-edit")
    *others, move = yaml.safe_load(clipboard(view))["edits"]["from_view"]
    assert others == [
        {"remove": "red <b>ball</b>"},
        {"recolour": "green ball", "colour": "#1090c0"},
    ]
    assert move.keys() == {"move", "by_m"}
    assert move["move"] == 5
    assert move["by_m"] == pytest.approx([0.1, -0.25, 0], abs=1e-3)  # along the ground's axes


def test_isolated_is_copied_as_keep(view: Viewer, made: Made) -> None:
    view.app("app.isolate(argument)", [made.place(RED), made.place(BLUE)])
    view.page.keyboard.press("c")
    assert yaml.safe_load(clipboard(view)) == {
        "edits": {"from_view": [{"keep": ["red <b>ball</b>", 5]}]}
    }


def test_where_nothing_was_changed_nothing_is_copied(view: Viewer) -> None:
    assert not view.page.is_visible("#copy-edit")
    view.page.keyboard.press("c")
    view.page.wait_for_selector("#toast.on")
    assert "Nothing has been changed" in view.page.inner_text("#toast")


def test_a_prompt_s_id_is_copied_for_grounding(view: Viewer, made: Made) -> None:
    click_on(view, made, RED)
    click_on(view, made, BLUE, "Control")
    view.page.click("#card >> text=Prompt ID")
    text = clipboard(view)
    assert yaml.safe_load(text) == {
        "grounding": {"backend": "manual", "manual": {"selection": "my_selection.json"}}
    }
    file = next(line[2:] for line in text.splitlines() if line.startswith("# {"))
    assert yaml.safe_load(file) == {"red <b>ball</b>": [3, 5]}


def test_the_selection_is_downloaded_as_3dgs_writes_it(
    view: Viewer, made: Made, tmp_path: Path
) -> None:
    view.app("app.edits.change(({ moves }) => moves.set(argument, [0, 0, 1]))", made.place(GREEN))
    click_on(view, made, BLUE)
    view.app("app.select(argument)", [made.place(GREEN)])
    with view.page.expect_download() as download:
        view.page.click("#card >> text=PLY")
    assert download.value.suggested_filename == "green_ball.ply"
    download.value.save_as(tmp_path / "a.ply")
    values = read_ply(tmp_path / "a.ply")
    own = torch.from_numpy(made.scene.ids == GREEN)
    trained = made.scene.trained
    expected = trained.means[own] + torch.tensor([0.0, 0.0, 1.0])
    distance = torch.cdist(values["means"], expected)
    match = distance.argmin(dim=1)
    assert sorted(match.tolist()) == list(range(150))
    assert distance.min(dim=1).values.max() < 1e-3
    assert (values["scales"] - trained.scales[own][match]).abs().max() < 0.02
    assert (values["sh0"] - trained.sh0[own][match]).abs().quantile(0.99) < 0.02
    assert (values["shN"] - trained.shN[own][match]).abs().quantile(0.99) < 0.005
    opacities = (values["opacities"].sigmoid() - trained.opacities[own][match].sigmoid()).abs()
    assert opacities.max() < 0.003
    unit = torch.nn.functional.normalize(trained.quats[own][match], dim=1)
    assert (values["quats"] * unit).sum(dim=1).abs().min() > 0.9998


def test_copied_edits_give_the_same_picture(view: Viewer, made: Made) -> None:
    """What the core makes of the copied section is what the page shows.

    Without filling: the page has nothing to put into a hole.
    """
    view.app(
        """const [red, green, blue] = argument;
        app.toggleHidden([red]);
        app.recolour([green], "#1090c0");
        app.edits.change(({ moves }) => moves.set(blue, [0.15, 0.1, 0.05]));""",
        [made.place(index) for index in (RED, GREEN, BLUE)],
    )
    view.page.click("#copy-edit")
    steps = yaml.safe_load(clipboard(view))["edits"]["from_view"]
    for step in steps:
        if "recolour" not in step:
            step["fill"] = False
    edited = made.scene.edit(steps)
    assert len(edited) < len(made.scene)
    same(view, edited, made, 30)


def test_an_isolated_object_is_copied_and_kept(view: Viewer, made: Made) -> None:
    view.app("app.isolate([argument])", made.place(GREEN))
    view.page.keyboard.press("c")
    edited = made.scene.edit(yaml.safe_load(clipboard(view))["edits"]["from_view"])
    same(view, edited, made, 30)
