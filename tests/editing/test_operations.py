"""What the operations of an edit do, on three balls on a plane."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gradiseg_core
from gradiseg_core.cameras import Frame
from gradiseg_core.editing import operations
from gradiseg_core.editing.colours import base_colours
from gradiseg_core.editing.placing import Ground, estimated_ground, rotation
from gradiseg_core.editing.selection import fingerprint
from gradiseg_core.editing.transforms import transformed
from gradiseg_core.errors import InputError
from tests import synthetic, trained_scene
from tests.editing.conftest import BLUE, GREEN, RED

POINTS, OWNER = synthetic.balls()
OWNER = trained_scene.TRACKED[OWNER]
VIEW = "view_001.png"


def middle(scene: gradiseg_core.Scene, index: int) -> np.ndarray:
    return between(scene.points[scene.ids == index])


def between(points: np.ndarray) -> np.ndarray:
    """The middle of the extents of points: that of a ball, however it was sampled."""
    return 0.5 * (points.min(axis=0) + points.max(axis=0))


def test_a_selection_of_a_file_follows_its_gaussians(
    scene: gradiseg_core.Scene, tmp_path: Path
) -> None:
    """Through removal, moves and copies; the copy is no part of it."""
    scene.save_selections(tmp_path / "a.npz", {"red": RED, "green": GREEN})
    red, green = (
        {"selection": {"file": str(tmp_path / "a.npz"), "name": name}} for name in ("red", "green")
    )
    edited = scene.edit(
        [
            {"remove": BLUE, "fill": False},
            {"move": red, "by_m": [0.0, 0.0, 0.5], "fill": False, "cut": False},
            {"rotate": red, "rotate_deg": [0, 0, 30], "cut": False},
            {"duplicate": red, "by_m": [0.0, 0.0, 0.9], "cut": False},
            {"swap": [red, green], "fill": False, "cut": False},
            {"recolour": red, "colour": "#0000ff"},
        ]
    )
    counts = [record["selected"] for record in edited.history]
    assert counts[1] == counts[2] == counts[3] > 0.9 * (OWNER == RED).sum()
    assert counts[5] == counts[1]
    before, after = (base_colours(s.values["sh0"]) for s in (scene, edited))
    assert after[edited.ids == RED][:, 2].mean() > before[scene.ids == RED][:, 2].mean() + 0.2
    assert not edited.remembered
    # Its last part is gone, and so says the message; of an edited scene it is another one's.
    gone = [{"remove": red, "fill": False}, {"recolour": red, "colour": "gold"}]
    with pytest.raises(InputError, match=r"operation 2 \(recolour\): .*no Gaussian is selected"):
        scene.edit(gone)
    with pytest.raises(InputError, match=r"operation 1 \(keep\): .*selections of another scene"):
        edited.edit([{"keep": red}])
    late = [
        {"recolour": RED, "colour": "gold"},
        {"keep": {"selection": {**red["selection"], "name": "no"}}},
    ]
    with pytest.raises(InputError, match=r"operation 2 \(keep\): .*has no selection 'no'"):
        scene.edit(late)


def test_the_ground_is_the_plane(scene: gradiseg_core.Scene) -> None:
    assert scene.ground is not None
    assert scene.ground.source == "estimated"
    np.testing.assert_allclose(scene.ground.normal, [0, 0, 1], atol=0.02)
    assert scene.ground.offset == pytest.approx(0.0, abs=0.02)


def test_a_patterned_thing_of_many_gaussians_is_not_the_ground() -> None:
    """A book on a table: its top has three times as many Gaussians, which cover less."""
    generator = np.random.default_rng(0)
    table = np.c_[generator.uniform(-0.6, 0.6, (300, 2)), np.zeros(300)]
    book = np.c_[generator.uniform(-0.2, 0.2, (900, 2)), np.full(900, 0.3)]
    points = np.concatenate([table, book])
    surface = np.repeat([1.2**2 / 300, 0.4**2 / 900], [300, 900])
    cameras = synthetic.ring_of_cameras(6, 64, 48)
    found = estimated_ground(points, np.ones(1200, np.float32), surface, cameras, Frame())
    assert found is not None
    assert found.offset == pytest.approx(0.0, abs=0.02)


def test_what_is_swapped_stays_on_the_level_that_both_stood_on(
    scene: gradiseg_core.Scene,
) -> None:
    """The lowest tenth of one was never seen: that is no step of the support."""
    lowest = np.quantile(scene.points[scene.ids == RED][:, 2], 0.15)
    seen = scene.kept(~((scene.ids == RED) & (scene.points[:, 2] < lowest)))
    edited = seen.edit([{"swap": ["red ball", "green ball"], "fill": False, "cut": False}])
    for index in (RED, GREEN):
        was, now = (np.median(s.points[s.ids == index][:, 2]) for s in (seen, edited))
        assert now == pytest.approx(was, abs=0.01)
    high = seen.edit([{"move": "red ball", "by_m": [0, 0, 0.5], "fill": False, "cut": False}])
    edited = high.edit([{"swap": ["red ball", "green ball"], "fill": False, "cut": False}])
    assert edited.history[-1]["way"][2] == pytest.approx(-0.5, abs=0.1)  # a shelf is one


def test_the_ground_is_the_stages_where_it_ran(
    folders: trained_scene.Folders, tmp_path: Path
) -> None:
    folder = folders.scene.parent / "geometry"
    folder.mkdir()
    try:
        plane = {"support": {"normal": [0.0, 0.6, 0.8], "offset": 1.5}}
        (folder / "geometry.json").write_text(json.dumps(plane))
        ground = gradiseg_core.load(folders.train, device="cpu").ground
        assert ground is not None
        assert (ground.normal.tolist(), ground.offset) == ([0.0, 0.6, 0.8], 1.5)
        assert ground.source == "geometry"
        np.testing.assert_allclose(ground.axes @ ground.axes.T, np.eye(3), atol=1e-12)
        (folder / "geometry.json").write_text('{"support": 3}')
        with pytest.raises(InputError, match=r"geometry\.json is damaged"):
            _ = gradiseg_core.load(folders.train, device="cpu").ground
    finally:
        (folder / "geometry.json").unlink()
        folder.rmdir()


def test_a_removed_ball_is_gone_and_the_scene_as_it_was(scene: gradiseg_core.Scene) -> None:
    before = scene.fingerprint
    edited = scene.edit([{"remove": "red ball", "fill": False}])
    assert RED not in edited.ids
    assert np.sum(edited.ids == GREEN) == np.sum(OWNER == GREEN)
    assert fingerprint(scene.trained) == before
    (record,) = edited.history
    assert record["operation"] == {"remove": "red ball", "fill": False}
    assert record["selected"] == np.sum(OWNER == RED)
    assert record["removed"] >= record["selected"]
    assert record["after"] == len(edited) == record["before"] - record["removed"]
    shown = edited.render(VIEW)
    assert RED not in shown.ids
    red = (shown.color[..., 0] > 0.5) & (shown.color[..., 1] < 0.3)
    assert not red.any()
    with pytest.raises(InputError, match=r"operation 1 \(keep\): 'red' was not found"):
        edited.edit([{"keep": "red"}])
    with pytest.raises(InputError, match=r"operation 2 \(remove\): .*nothing would be left"):
        scene.edit([{"keep": "red ball"}, {"remove": "red ball"}])
    with pytest.raises(
        InputError, match=r"the edit is not valid: operation 1: 'remov' is no operation"
    ):
        scene.edit([{"remov": "red ball"}])


def test_labels_after_an_edit_are_those_of_a_fresh_scene(
    scene: gradiseg_core.Scene, tmp_path: Path
) -> None:
    """They are carried along, and what is saved and read again has the same."""
    _ = scene.ids
    edited = scene.edit(
        [{"remove": "green ball", "fill": False}, {"duplicate": "red ball", "by_m": [0, 0, 1]}]
    )
    edited.save(tmp_path / "edited")
    again = gradiseg_core.load(tmp_path / "edited", device="cpu")
    np.testing.assert_array_equal(again.ids, edited.ids)
    np.testing.assert_allclose(again.certainty, edited.certainty, atol=1e-5)
    assert list(again.cameras) == list(scene.cameras)  # found by edit.json
    assert again.ids_of("red ball 2") == [trained_scene.NUM_CLASSES]
    assert json.loads((tmp_path / "edited" / "edit.json").read_text())["edit"] == [
        {"remove": "green ball", "fill": False},
        {"duplicate": "red ball", "by_m": [0.0, 0.0, 1.0]},
    ]
    np.testing.assert_allclose(again.render(VIEW).color, edited.render(VIEW).color, atol=1e-4)


def test_keeping_is_removing_the_rest(scene: gradiseg_core.Scene) -> None:
    edited = scene.edit([{"keep": [BLUE, "background"]}])
    assert set(edited.ids) == {0, BLUE}


def test_a_recoloured_ball_is_gold_and_still_a_ball(scene: gradiseg_core.Scene) -> None:
    edited = scene.edit([{"recolour": "red ball", "colour": "gold"}])
    own = edited.ids == RED
    colours = base_colours(edited.trained.sh0)
    np.testing.assert_allclose(np.quantile(colours[own], 0.8, axis=0), [1, 0.84, 0], atol=0.03)
    assert colours[own].std(axis=0).max() > 0.05  # shading
    np.testing.assert_array_equal(colours[~own], base_colours(scene.trained.sh0)[~own])
    np.testing.assert_array_equal(edited.ids, scene.ids)


def test_a_style_gives_a_pictures_colours(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal((40, 160, 200), (10, 20, 30), (32, 32, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "waves.png")
    edited = scene.edit([{"style": "green ball", "like": str(tmp_path / "waves.png")}])
    own = base_colours(edited.trained.sh0)[edited.ids == GREEN]
    np.testing.assert_allclose(own.mean(axis=0), pixels.mean(axis=(0, 1)) / 255, atol=0.02)
    with pytest.raises(InputError, match=r"none\.png"):
        scene.edit([{"style": "green ball", "like": str(tmp_path / "none.png")}])


def test_moves_are_along_the_support_or_the_world(scene: gradiseg_core.Scene) -> None:
    start = middle(scene, RED)
    for axes in ("support", "world"):  # which are almost the same here
        step = {"move": "red ball", "by_m": [0.1, -0.2, 0.3], "axes": axes, "fill": False}
        edited = scene.edit([{**step, "cut": False}])
        np.testing.assert_allclose(middle(edited, RED) - start, [0.1, -0.2, 0.3], atol=0.02)
    # Turned by 180 degrees around what is up, the ball stays where it is, its points do not.
    edited = scene.edit([{"rotate": "red ball", "rotate_deg": [0, 0, 180], "cut": False}])
    np.testing.assert_allclose(middle(edited, RED), start, atol=0.05)
    own = edited.points[edited.ids == RED]
    np.testing.assert_allclose(own[:, 2], POINTS[OWNER == RED][:, 2], atol=0.03)
    assert np.abs(own[:, :2] - POINTS[OWNER == RED][:, :2]).mean() > 0.2


@pytest.mark.parametrize(
    "step",
    [
        {"move": "red ball", "by_m": [1e300, 0, 0], "fill": False},
        {"duplicate": "red ball", "by_m": [1e38, 0, 0], "cut": False},
        {"scale": "red ball", "factor": 1e30},
    ],
)
def test_what_no_file_can_hold_is_refused(step: dict, scene: gradiseg_core.Scene) -> None:
    with pytest.raises(InputError, match=r"operation 1 .*too far away, or grow too large"):
        scene.edit([step])


def test_a_larger_ball_stands_where_it_stood(scene: gradiseg_core.Scene) -> None:
    edited = scene.edit([{"scale": "red ball", "factor": 2.0, "cut": False}])
    own, old = edited.points[edited.ids == RED], POINTS[OWNER == RED]
    np.testing.assert_allclose(np.ptp(own, axis=0), 2 * np.ptp(old, axis=0), rtol=1e-3)
    assert own[:, 2].min() == pytest.approx(old[:, 2].min(), abs=0.03)
    np.testing.assert_allclose(between(own)[:2], between(old)[:2], atol=0.03)
    scales = edited.trained.scales[torch.from_numpy(edited.ids == RED)]
    torch.testing.assert_close(scales, torch.full_like(scales, float(np.log(0.12))))


def test_a_copy_is_an_object_of_its_own(scene: gradiseg_core.Scene) -> None:
    steps = [{"duplicate": "red ball", "by_m": [0, 0, 1]}, {"duplicate": RED, "by_m": [0, 0, 2],
             "called": "third"}]  # fmt: skip
    edited = scene.edit(steps)
    assert edited.names_of_ids[8] == "red ball 2"
    assert edited.names_of_ids[9] == "third"
    np.testing.assert_allclose(middle(edited, 8) - middle(edited, RED), [0, 0, 1], atol=0.05)
    np.testing.assert_allclose(middle(edited, 9) - middle(edited, RED), [0, 0, 2], atol=0.05)
    # The copies go, the original stays.
    only = edited.edit([{"remove": ["red ball 2", "third"], "fill": False, "halo": False}])
    assert np.sum(only.ids == RED) == np.sum(OWNER == RED)
    assert set(only.ids) == set(OWNER)
    assert edited.render(VIEW).ids.max() == 8  # the third is above the picture


def test_swapped_things_stand_on_each_others_places(scene: gradiseg_core.Scene) -> None:
    small = scene.edit([{"scale": "red ball", "factor": 0.5, "cut": False}])
    edited = small.edit([{"swap": ["red ball", "green ball"], "fill": False, "cut": False}])
    red, green = (edited.points[edited.ids == index] for index in (RED, GREEN))
    np.testing.assert_allclose(between(red)[:2], middle(scene, GREEN)[:2], atol=0.04)
    np.testing.assert_allclose(between(green)[:2], middle(scene, RED)[:2], atol=0.04)
    # Both rest on the plane, whatever their sizes.
    assert red[:, 2].min() == pytest.approx(0.0, abs=0.08)
    assert green[:, 2].min() == pytest.approx(0.0, abs=0.08)
    with pytest.raises(InputError, match=r"'balls' and 'red ball' share 150 Gaussians"):
        scene.edit([{"swap": ["balls", "red ball"]}])


def test_something_of_another_scene(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    """From a world that lies on its side and has other units."""
    turned = transformed(scene.values, rotation=rotation((90.0, 0.0, 0.0)), scale=2.0)
    other = scene.changed(turned, np.arange(len(scene)))
    other.__dict__["ground"] = Ground(np.array([0.0, -1.0, 0.0]), 0.0, "test")
    edited = scene.edit([{"remove": "red ball", "fill": False}])
    edited.__dict__["another"] = lambda folder: other
    step = {"insert": "red ball", "scene": "elsewhere", "factor": 0.5, "at_m": [0, 0, 0]}
    again = edited.edit([step])
    assert again.history[-1]["new_ids"] == {"red ball 2": 8}
    own = again.points[again.ids == 8]
    np.testing.assert_allclose(np.ptp(own, axis=0), np.ptp(POINTS[OWNER == RED], axis=0), rtol=0.1)
    assert own[:, 2].min() == pytest.approx(0.0, abs=0.04)
    np.testing.assert_allclose(between(own)[:2], [0, 0], atol=0.05)
    np.testing.assert_allclose(base_colours(again.trained.sh0)[again.ids == 8].mean(axis=0),
                               base_colours(scene.trained.sh0)[scene.ids == RED].mean(axis=0),
                               atol=0.02)  # fmt: skip


def test_an_insert_without_a_place_stands_free(scene: gradiseg_core.Scene) -> None:
    """The middle of the three balls is within the reach of them; it stands outside of all."""
    larger = scene.edit([{"scale": "balls", "factor": 1.6}])
    larger.__dict__["another"] = lambda folder: scene
    edited = larger.edit([{"insert": BLUE, "scene": "elsewhere"}])
    (number,) = edited.history[-1]["new_ids"].values()
    own = edited.points[edited.ids == number]
    others = edited.points[(edited.ids > 0) & (edited.ids != number)]
    apart = np.linalg.norm(own[:, None, :2] - others[None, :, :2], axis=2).min()
    assert apart > 0.05
    assert own[:, 2].min() == pytest.approx(0.0, abs=0.08)


def test_a_name_that_comes_late_is_looked_up_first(
    scene: gradiseg_core.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []
    monkeypatch.setitem(operations._DO, "recolour", lambda scene, step: ran.append(step))
    first = {"recolour": "red ball", "colour": "gold"}
    for late, message in (
        ({"remove": "mug"}, r"operation 2 \(remove\): no object is called 'mug'"),
        ({"remove": {"of": "red ball", "without": 6}}, r"operation 2 \(remove\): no Gaussian has"),
        ({"keep": {"click": {"view": "nowhere", "at": [1, 1]}}}, "there is no view 'nowhere'"),
        ({"swap": ["red ball", "cup"]}, r"operation 2 \(swap\): 'cup' was not found"),
        ({"style": "red ball", "like": "nothing.jpg"}, "nothing.jpg: there is no such picture"),
    ):
        with pytest.raises(InputError, match=message):
            scene.edit([first, late])
    with pytest.raises(InputError, match=r"operation 3 \(move\): 'red ball' was not found"):
        scene.edit([first, {"remove": "red ball"}, {"move": "red ball", "by_m": [1, 0, 0]}])
    assert ran == []


def test_all_names_that_are_not_there_are_named(scene: gradiseg_core.Scene) -> None:
    with pytest.raises(InputError, match=r"called 'samovar'; no object is called 'kettle'; there"):
        scene.edit([{"remove": ["samovar", "red ball", "kettle"]}])


def test_names_that_operations_make_are_known_to_those_after_them(
    scene: gradiseg_core.Scene,
) -> None:
    copy = {"duplicate": "red ball", "by_m": [0, 1.5, 0]}
    further = {**copy, "by_m": [0, 3, 0], "called": "third"}
    gold, red = ({"recolour": "red ball 2", "colour": "gold"}, {"recolour": 8, "colour": "red"})
    edited = scene.edit([copy, gold, further, {"remove": "third", "fill": False}, red])
    assert [row.name for row in edited.objects][-1] == "red ball 2"
    # The bare name is the first one's.
    assert edited.ids_of("red") == [RED]


def test_a_selection_may_be_edited(scene: gradiseg_core.Scene) -> None:
    both = scene.select("red ball") | scene.select(BLUE)
    edited = scene.edit([{"remove": both, "fill": False}])
    assert edited.history[0]["operation"]["remove"] == {"any": ["red ball", BLUE]}
    assert not np.isin(edited.ids, [RED, BLUE]).any()
    with pytest.raises(InputError, match="the selection is of another scene"):
        edited.edit([{"remove": both}])


def test_without_cameras_things_are_edited_all_the_same(
    folders: trained_scene.Folders, tmp_path: Path
) -> None:
    shutil.copytree(folders.train, tmp_path / "train")
    scene = gradiseg_core.load(tmp_path, device="cpu")
    assert scene.ground is None
    edited = scene.edit([{"remove": RED}, {"move": GREEN, "by_m": [0, 0, 1]}])
    assert edited.history[0]["filled"] == {"new": 0, "why": "no training view shows it"}
    np.testing.assert_allclose(middle(edited, GREEN) - middle(scene, GREEN), [0, 0, 1], atol=0.05)
