"""Removal that is clean: halo, inside, and the hole that no view saw, on a table of known colours.

A box of red Gaussians stands on a table whose colour changes along x. Below it the table was never
seen: grey junk lies there. On one side are faint red Gaussians that call themselves table.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from gradiseg_core.cameras import Frame
from gradiseg_core.editing.filling import find_hole
from gradiseg_core.editing.patches import (
    Patch,
    inpainted,
    local_ground,
    occupied,
    seen_cells,
    support_id,
    under,
)
from gradiseg_core.editing.placing import Ground
from gradiseg_core.editing.regions import within_hull
from gradiseg_core.editing.removal import (
    covered,
    cropped,
    halo_and_inside,
    sights,
    training_cameras,
)
from gradiseg_core.editing.scene import Scene
from gradiseg_core.errors import InputError
from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.gaussians import PARAMETERS, SH_C0
from tests import tiny_lama
from tests.editing.tables import HALF, TOP, make, table_colour
from tests.synthetic import ring_of_cameras


@pytest.fixture(scope="module")
def made() -> tuple[Scene, dict[str, np.ndarray]]:
    return make()


def test_halo_and_inside_are_found(made: tuple[Scene, dict[str, np.ndarray]]) -> None:
    scene, kinds = made
    views = sights(scene, kinds["box"], training_cameras(scene))
    assert len(views) == 8
    halo, inside = halo_and_inside(scene, kinds["box"], views)
    assert halo[kinds["halo"]].mean() > 0.9
    assert inside[kinds["inside"]].mean() > 0.9
    # No view sees what of the table lies below the box's walls either.
    far = kinds["table"] & (np.abs(scene.points[:, :2]) > HALF + 0.04).any(axis=1)
    assert (halo | inside)[far].mean() < 0.02
    assert not (halo | inside)[kinds["box"]].any()


def test_another_object_is_neither_halo_nor_inside(
    made: tuple[Scene, dict[str, np.ndarray]],
) -> None:
    """What no view sees in the box is one end of another thing; one of an unsure class is not."""
    scene, kinds = made
    rows = np.flatnonzero(kinds["inside"])
    # A bar of Gaussians from within the box to outside of it, of an unsure class 2.
    thing, alone = rows[:24], rows[24]
    encodings = torch.zeros_like(scene.trained.identities)
    encodings[:] = scene.trained.identities
    encodings[thing] = torch.tensor([0.42, 0.4, 0.45] + 13 * [0.0])
    encodings[alone] = torch.tensor([0.42, 0.4, 0.45] + 13 * [0.0])
    means = scene.trained.means.clone()
    x, y, z = torch.arange(0.1, 0.5, 0.07), torch.tensor([0.0, 0.01]), torch.tensor([0.2, 0.21])
    means[thing] = torch.cartesian_prod(x, y, z)
    means[alone] = torch.tensor([-0.15, 0.1, 0.4])
    mixed = Scene(replace(scene.trained, means=means, identities=encodings), scene.run, Frame())
    mixed.__dict__.update(cameras=scene.cameras, splits=scene.splits)
    assert mixed.certainty[thing].max() < 0.6
    views = sights(mixed, kinds["box"], training_cameras(mixed))
    halo, inside = halo_and_inside(mixed, kinds["box"], views)
    assert not (halo | inside)[thing].any()
    assert inside[alone]
    assert inside[rows[25:]].all()  # the table's class, hidden
    # One that surely is of the other class stays wherever it lies.
    encodings[alone] = torch.tensor([0.0, 0.0, 1.0] + 13 * [0.0])
    sure = Scene(replace(mixed.trained, identities=encodings), scene.run, Frame())
    sure.__dict__.update(cameras=scene.cameras, splits=scene.splits)
    halo, inside = halo_and_inside(sure, kinds["box"], views)
    assert not (halo | inside)[alone]
    assert inside[rows[25:]].all()
    # Where the thing itself is removed, it has its inside.
    both = kinds["box"] | np.isin(np.arange(len(scene)), thing)
    assert halo_and_inside(mixed, both, views)[1][alone]


def test_the_background_has_no_halo_and_no_inside(
    made: tuple[Scene, dict[str, np.ndarray]], caplog: pytest.LogCaptureFixture
) -> None:
    scene, kinds = made
    edited = scene.edit([{"remove": "background", "cut": False}])
    (record,) = edited.history
    assert len(edited) == kinds["box"].sum()
    assert (record["halo"], record["inside"], record["filled"]["new"]) == (0, 0, 0)
    assert not caplog.records
    # A box that holds most of it is said to.
    everything = {"in_box": {"centre": [0, 0, 0], "size": [9, 9, 0.2]}}
    scene.edit([{"remove": everything, "fill": False, "cut": False}])
    assert "is most of the background; write `background`" in caplog.text


def test_a_thing_of_few_large_gaussians_reaches_beyond_their_centres(
    made: tuple[Scene, dict[str, np.ndarray]],
) -> None:
    scene, _ = made
    trained = scene.trained
    centres = np.concatenate([np.eye(3), -np.eye(3)])
    corner = np.array([[0.55, 0.55, 0.55]])
    rows = torch.arange(6)
    values = {name: getattr(trained, name)[rows] for name in PARAMETERS}
    values["means"] = torch.tensor(centres).float()
    values["scales"] = torch.log(torch.tensor([0.8, 0.8, 0.01])).expand(6, 3).clone()
    values["scales"][[0, 3]] = values["scales"][[0, 3]].flip(1)  # flat against their direction
    values["scales"][[1, 4]] = values["scales"][[1, 4]].roll(1, 1).roll(1, 1)
    thing = TrainedScene(classifier=trained.classifier, metadata=trained.metadata, **values)
    assert not within_hull(corner, centres).any()
    assert within_hull(corner, covered(thing, np.ones(6, bool))).all()
    assert not within_hull(2.5 * corner, covered(thing, np.ones(6, bool))).any()


def test_the_hole_is_filled_with_what_goes_on_around_it(
    made: tuple[Scene, dict[str, np.ndarray]],
) -> None:
    scene, kinds = made
    edited = scene.edit([{"remove": 1}])
    (record,) = edited.history
    filled = record["filled"]
    assert filled["new"] > 20
    assert filled["never_seen_removed"] >= 0.9 * kinds["junk"].sum()
    assert filled["loss"][1] <= filled["loss"][0]
    new = np.arange(len(edited)) >= len(edited) - filled["new"]
    np.testing.assert_allclose(edited.points[new][:, 2], 0.0, atol=0.02)
    assert (np.abs(edited.points[new][:, :2]) < HALF + 0.2).all()  # with the mixtures around it
    assert set(edited.ids[new]) == {0}  # they are table
    # What a camera sees there is the table's colour, not red, not grey.
    bare = scene.kept(kinds["table"] | kinds["junk"])
    values = dict(bare.values)
    truth = torch.tensor((table_colour(bare.points) - 0.5) / SH_C0).float()[:, None]
    bare = bare.changed({**values, "sh0": truth}, np.arange(len(bare)))
    empty = scene.edit([{"remove": 1, "fill": False}])
    for view in ("view_000.png", "view_003.png"):
        was = scene.render(view).ids == 1
        wanted = bare.render(view).color[was]
        error = np.abs(edited.render(view).color[was] - wanted).mean()
        unfilled = np.abs(empty.render(view).color[was] - wanted).mean()
        assert error < 0.03
        assert error < 0.5 * unfilled


def test_the_hole_is_filled_in_the_colours_of_lama(
    made: tuple[Scene, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of random weights: what the network paints is seen, and nothing else changes."""
    scene, _ = made
    tiny_lama.save(tmp_path / "lama.pt", bias=(-3.0, 3.0, -3.0))  # green, as nothing here is
    fill = {"backend": "lama", "checkpoint": str(tmp_path / "lama.pt")}
    edited, usual = (scene.edit([{"remove": 1, "fill": f}]) for f in (fill, True))
    (record,) = edited.history
    assert record["operation"]["fill"] == fill
    assert record["filled"]["cells"] == usual.history[0]["filled"]["cells"]
    assert len(edited) == len(usual)
    new = np.arange(len(edited)) >= len(edited) - record["filled"]["new"]
    colours = 0.5 + SH_C0 * edited.values["sh0"][new, 0].numpy()
    assert np.median(colours[:, 1]) > 0.8
    assert np.median(colours[:, [0, 2]]) < 0.2
    view = "view_003.png"
    was = scene.render(view).ids == 1
    green = edited.render(view).color - usual.render(view).color
    assert green[was][:, 1].max() > 0.2
    away = ~binary_dilation(was, iterations=8)
    assert np.abs(green[away]).max() < 0.05
    # Without a file: where the workflow puts it; the message comes before anything is done.
    monkeypatch.chdir(tmp_path)
    lama = {"remove": 1, "fill": {"backend": "lama"}}
    with pytest.raises(InputError, match=r"operation 2 \(remove\): fill\.checkpoint: LaMa's file"):
        scene.edit([{"recolour": 1, "colour": "gold"}, lama])
    Path("downloads/checkpoints").mkdir(parents=True)
    shutil.copy("lama.pt", "downloads/checkpoints/lama.pth")
    again = scene.edit([lama])
    assert torch.equal(again.values["sh0"], edited.values["sh0"])
    Path("downloads/checkpoints/lama.pth").write_text("<html>")
    with pytest.raises(InputError, match=r"operation 1 \(remove\): .*lama\.pth .* cannot be read"):
        scene.edit([lama])


def test_what_is_filled_in_below_what_comes_is_dark(
    made: tuple[Scene, dict[str, np.ndarray]],
) -> None:
    """A light table shines through the foot of what is put there; below others it is dark."""
    scene, kinds = made
    views = sights(scene, kinds["box"], training_cameras(scene))
    rest = scene.kept(kinds["table"] | kinds["junk"])
    box = scene.points[kinds["box"]]
    small = box * [0.5, 0.5, 1.0]
    away = np.maximum(1.0 - 2.0 * small[:, 2:] / TOP, 0.0)  # narrow at its foot, as a ball is
    ball = small * np.concatenate([1.0 - away, 1.0 - away, np.ones_like(away)], axis=1)
    hole, _ = find_hole(rest, box, views, inpainted, shadow=False)
    assert hole is not None
    middle, rim, far = (
        tuple(hole.patch.cells(np.array([[x, 0.0, 0.0]]))[0].round().astype(int))
        for x in (0.0, 0.15, 0.5)
    )
    light = []
    for thing in (small, ball):
        shaded, _ = find_hole(rest, box, views, inpainted, shadow=False, covered=thing)
        assert shaded is not None
        np.testing.assert_array_equal(shaded.cells, hole.cells)
        light.append((shaded.colours / hole.colours).mean(axis=-1))
    assert light[0][middle] < 0.6
    assert light[0][rim] < light[1][rim] - 0.05
    assert light[0][far] > 0.95


def test_what_stands_on_nothing_leaves_no_hole(made: tuple[Scene, dict[str, np.ndarray]]) -> None:
    scene, _ = made
    raised = scene.edit([{"move": 1, "by_m": [0, 0, 0.6], "fill": True, "cut": False}])
    again = raised.edit([{"remove": 1}])
    filled = again.history[-1]["filled"]
    assert filled["new"] == 0
    assert filled["why"] == "no plane was found that it stood on"


def test_a_crop_shows_what_the_view_shows() -> None:
    camera = ring_of_cameras(1, 96, 72)[0]
    crop = cropped(camera, np.array([0.2, 0.1, 0.2]), 0.3)
    assert crop is not None
    assert crop.width < 96
    assert crop.height < 72
    point = camera.cam_from_world[:3, :3] @ [0.3, 0.0, 0.1] + camera.cam_from_world[:3, 3]
    whole, part = (k @ point / point[2] for k in (camera.K, crop.K))
    np.testing.assert_allclose((whole - part)[:2], np.round((whole - part)[:2]), atol=1e-9)
    assert cropped(camera, np.array([9.0, 0, 0]), 0.3) is None  # behind it


def patch() -> Patch:
    return Patch(
        Ground(np.array([0.0, 0, 1]), 0.0, "test"), np.array([-1.0, -1, 0]), 0.05, (41, 41)
    )


def test_cells_that_another_thing_stands_on_say_nothing_of_the_support() -> None:
    plane = patch().points.reshape(-1, 3)
    standing = np.array([[0.5, 0.5, 0.1], [0.5, 0.5, 0.3]])
    above = np.array([[-0.5, -0.5, 0.9]])  # a lamp, say
    points = np.concatenate([plane, standing, above])
    ids = np.repeat([7, 2, 3], [len(plane), 2, 1])
    support = support_id(patch(), points, ids, np.ones(len(points)))
    assert support == 7
    found = occupied(patch(), points, ids, support)
    rows, columns = np.nonzero(found)
    assert found[30, 30]
    assert 25 <= found.sum() <= 11**2
    assert min(rows.min(), columns.min()) >= 25
    assert not occupied(patch(), plane, ids[: len(plane)], support).any()
    assert not occupied(patch(), above, np.array([3]), support).any()
    nothing = support_id(patch(), above, np.array([3]), np.ones(1))
    assert nothing is None
    assert not occupied(patch(), points, ids, nothing).any()


def test_the_support_is_what_covers_most_not_what_has_most_gaussians() -> None:
    table = patch().points[::8, ::8].reshape(-1, 3)  # few and large
    apple = np.random.default_rng(0).uniform([0.1, 0.1, 0.0], [0.4, 0.4, 0.15], (300, 3))
    ids = np.repeat([0, 5], [len(table), len(apple)])
    surface = np.repeat([0.16, 0.0004], [len(table), len(apple)])
    assert len(apple) > len(table)
    assert support_id(patch(), np.concatenate([table, apple]), ids, surface) == 0


def test_a_cell_is_seen_where_nothing_lies_before_it() -> None:
    camera = ring_of_cameras(1, 96, 72)[0]
    points = patch().points
    z = (points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3])[..., 2]
    depth = np.full((72, 96), 100.0, np.float32)
    seen, pixel = seen_cells(patch(), camera, depth, np.ones((72, 96), np.float32))
    assert seen.mean() > 0.5
    depth[:, :48] = 0.5  # something in front of the left half
    half, _ = seen_cells(patch(), camera, depth, np.ones((72, 96), np.float32))
    np.testing.assert_array_equal(half, seen & (pixel[..., 1] >= 48))
    assert not seen_cells(patch(), camera, depth, np.zeros((72, 96), np.float32))[0].any()
    assert z.shape == (41, 41)


def test_only_cells_below_the_object_count() -> None:
    cells = np.zeros((41, 41), bool)
    cells[10:20, 10:20] = True
    cells[30:36, 30:36] = True
    kept = under(patch(), np.array([[-0.25, -0.25, 0.4]]), cells)  # over cell (15, 15)
    assert kept[10:20, 10:20].all()
    assert kept.sum() == 100


def test_colours_go_on_smoothly_and_rims_and_other_things_do_not_count() -> None:
    x, y = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))
    truth = np.stack([0.3 + 0.3 * x, 0.6 - 0.2 * y, 0 * x + 0.4], axis=-1)
    wanted = np.hypot(x - 0.5, y - 0.5) < 0.2
    rim = (np.hypot(x - 0.5, y - 0.5) < 0.26) & ~wanted
    colours = truth.copy()
    colours[wanted] = 0.0
    colours[rim] = (0.9, 0.0, 0.0)
    colours[:8, :8] = (0.0, 0.0, 0.9)
    filled = inpainted(colours, ~wanted, wanted)
    np.testing.assert_allclose(filled[wanted], truth[wanted], atol=0.05)
    np.testing.assert_array_equal(filled[~wanted], colours[~wanted])
    with pytest.raises(ValueError, match="nothing is known"):
        inpainted(colours, np.zeros_like(wanted), wanted)


def test_the_plane_around_a_foot() -> None:
    generator = np.random.default_rng(0)
    flat = np.c_[generator.uniform(-1, 1, (200, 2)), generator.normal(size=200) * 0.005]
    wall = np.c_[np.full(400, 0.5), generator.uniform(-1, 1, (400, 2))]
    points = np.concatenate([flat, wall])
    ground = local_ground(points, np.ones(600), 0.03, None)
    assert ground is not None
    np.testing.assert_allclose(np.abs(ground.normal), [1, 0, 0], atol=0.02)  # it holds most
    assert local_ground(points[:4], np.ones(4), 0.03, None) is None
    # What most things stand on is taken, unless another plane holds far more.
    table = Ground(np.array([0.0, 0, 1]), 0.0, "test")
    ground = local_ground(points, np.ones(600), 0.03, table)
    assert ground is not None
    np.testing.assert_allclose(ground.normal, [0, 0, 1], atol=0.02)
    shelf = np.concatenate(
        [flat[:20], flat + np.array([0.0, 0.0, 0.5]), flat + np.array([0.0, 0.0, 0.5])]
    )
    ground = local_ground(shelf, np.ones(420), 0.03, table)
    assert ground is not None
    assert ground.offset == pytest.approx(0.5, abs=0.01)
