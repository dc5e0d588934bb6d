"""Selections: by name, ID, click and box; joined, refined, saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradiseg_core
from gradiseg_core import cli
from gradiseg_core.editing.regions import grown, in_hull, largest_part, shrunk, without_floaters
from gradiseg_core.editing.selection import Selection, load_selections, save_selections
from gradiseg_core.errors import InputError
from gradiseg_core.files.images import read_image
from tests import synthetic, trained_scene
from tests.editing.conftest import BLUE, GREEN, RED

OWNER = trained_scene.TRACKED[synthetic.balls()[1]]
VIEW = "view_001.png"
REPOSITORY = Path(__file__).resolve().parents[2]


def picked(scene: gradiseg_core.Scene, *what: Any, **pick: Any) -> set[int]:
    """IDs of the Gaussians of a selection; it holds all of each."""
    selection = scene.select(*what, **pick)
    ids = set(OWNER[selection.mask].tolist())
    np.testing.assert_array_equal(selection.mask, np.isin(OWNER, list(ids)))
    return ids


@pytest.mark.parametrize(
    ("what", "ids"),
    [
        (RED, {RED}),
        ("green", {GREEN}),
        (["red ball", BLUE], {RED, BLUE}),
        ("everything", {0, RED, GREEN, BLUE}),
        ("background", {0}),
        ({"without": "balls"}, {0, BLUE}),
        ({"of": "balls", "without": GREEN}, {RED}),
        ({"all": ["balls", [RED, BLUE]]}, {RED}),
        ({"any": [{"all": ["balls", RED]}, "background"]}, {0, RED}),
        ({"of": "red ball", "probability": 0.3}, {RED}),
    ],
)
def test_what_is_meant(what: Any, ids: set[int], scene: gradiseg_core.Scene) -> None:
    assert picked(scene, what) == ids


def center_px(scene: gradiseg_core.Scene, owner: int) -> tuple[float, float]:
    """Where the middle of a ball is in the photograph, px."""
    camera = scene.camera(VIEW)
    x = camera.cam_from_world @ np.append(scene.points[owner == OWNER].mean(axis=0), 1.0)
    return tuple((camera.K @ x[:3] / x[2])[:2])


def test_a_click_takes_what_makes_most_of_the_pixel(scene: gradiseg_core.Scene) -> None:
    nearest = min(
        (RED, GREEN, BLUE),
        key=lambda i: (
            scene.camera(VIEW).cam_from_world
            @ np.append(scene.points[i == OWNER].mean(axis=0), 1.0)
        )[2],
    )
    at = center_px(scene, nearest)
    assert picked(scene, click={"view": VIEW, "at": at}) == {nearest}
    assert scene.select(click={"view": "view_001", "at": at}).made == {
        "click": {"view": "view_001", "at": list(at)}
    }
    with pytest.raises(InputError, match=r"the click at \(99, 1\) is outside of view_001\.png"):
        scene.select(click={"view": VIEW, "at": (99, 1)})
    with pytest.raises(InputError, match=r"there is nothing at \(2, 1\) of view_001\.png"):
        scene.select(click={"view": VIEW, "at": (2, 1)})


def test_a_click_on_the_background_is_no_thing(scene: gradiseg_core.Scene) -> None:
    rendered = scene.render(VIEW)
    row, column = np.argwhere((rendered.ids == 0) & (rendered.alpha > 0.95))[0]
    click = {"click": {"view": VIEW, "at": (column + 0.5, row + 0.5)}}
    for step in ({"remove": click}, {"keep": click}, {"duplicate": click, "by_m": [1, 0, 0]}):
        message = rf"operation 1 \({next(iter(step))}\): at \(.*\) of {VIEW} is the background, no"
        with pytest.raises(InputError, match=message):
            scene.edit([step])
    assert picked(scene, click) == {0}  # it can be coloured
    scene.edit([{"recolour": click, "colour": "gold"}])
    with pytest.raises(InputError, match=r"operation 1 \(swap\): at .* is the background, no obj"):
        scene.edit([{"swap": [RED, click]}])
    with pytest.raises(InputError, match=r"'background' is the background, which stands nowhere"):
        scene.edit([{"swap": ["red ball", "background"]}])


def test_the_click_of_the_docs_hits_an_object_of_the_demo() -> None:
    text = (REPOSITORY / "docs/editing.md").read_text()
    view, column, row = re.findall(r"click: {view: test_(\d), at: \[(\d+), (\d+)\]}", text)[0]
    masks = (REPOSITORY / "resources/demo/test_mask" / view).glob("*.png")
    hit = [path.stem for path in masks if read_image(path)[int(row), int(column)].max() > 0]
    assert hit == ["white teapot"]


def test_a_rectangle_takes_what_it_holds_most_of(scene: gradiseg_core.Scene) -> None:
    ids = scene.render(VIEW).ids
    rows, columns = np.nonzero(ids == RED)
    box = (columns.min() - 1, rows.min() - 1, columns.max() + 2, rows.max() + 2)
    found = set(OWNER[scene.select(in_view={"view": VIEW, "box": box}).mask].tolist())
    assert RED in found
    assert 0 not in found
    with pytest.raises(InputError, match=r"holds more than half of no object; it has 64 x 48"):
        scene.select(in_view={"view": VIEW, "box": (0, 0, 2, 2)})


def test_a_box_in_space(scene: gradiseg_core.Scene) -> None:
    # A slab that is turned by 90 degrees around y: 0.2 along x, everything along y and z.
    box = {"centre": (0.0, 0.0, 0.0), "size": (9.0, 9.0, 0.2), "rotate_deg": (0.0, 90.0, 0.0)}
    mask = scene.select(in_box=box).mask
    np.testing.assert_array_equal(mask, np.abs(scene.points[:, 0]) <= 0.1)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (True, "expected an ID, a name, a list or a mapping, got True"),
        (-1, "IDs start at 0"),
        ([], "the list is empty"),
        ({"of": 1, "in_box": {"centre": (0, 0, 0), "size": (1, 1, 1)}}, "give one of of, in_box"),
        ({"grow": 1.0}, "nothing is chosen: give one of of, any"),
        ({"off": 1}, r"off: unknown key; did you mean 'of'\?"),
        ({"click": {"view": "a"}}, "click.at: is required"),
        ({"in_box": {"centre": (0, 0, 0), "size": (1, 1, 0)}}, "in_box.size"),
        ({"of": "red ball", "all": ["x", None]}, "expected an ID, a name"),
        (
            ["samovar", "red ball", {"without": "kettle"}, "samovar", 99],
            r"^no object is called 'samovar'; no object is called 'kettle'; no Gaussian has ID 99; "
            r"there are 'red ball'[^;]*; [^;]*; 'background' \(ID 0\)$",
        ),
        ("rad bal", r"no object is called 'rad bal' \(did you mean 'red ball'\?\); there are"),
        ("grene", r"no object is called 'grene' \(did you mean 'green'\?\); there are"),
    ],
)
def test_what_is_written_wrong(what: Any, message: str, scene: gradiseg_core.Scene) -> None:
    with pytest.raises(InputError, match=message):
        scene.select(what)


def test_a_picture_is_no_file_of_selections(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    what = {"selection": {"file": tmp_path / "a.png", "name": "b"}}
    with pytest.raises(InputError, match=r"a.png is no file of selections, or damaged; `grad") as e:
        scene.select(what)
    assert "pickle" not in str(e.value)


def test_an_empty_selection_is_an_error(scene: gradiseg_core.Scene) -> None:
    with pytest.raises(InputError, match="no Gaussian is selected"):
        scene.select({"all": ["red ball", "green ball"]})


def test_a_selection_of_a_file_is_meant(
    scene: gradiseg_core.Scene, folders: trained_scene.Folders, tmp_path: Path
) -> None:
    path = tmp_path / "balls.npz"
    scene.save_selections(path, {"red": "red ball", "rest": {"without": "balls"}})
    found = scene.load_selections(str(path))
    assert {name: entry.made for name, entry in found.items()} == {
        "red": "red ball",
        "rest": {"without": "balls"},
    }
    red = {"selection": {"file": str(path), "name": "red"}}
    assert picked(scene, red) == {RED}
    assert scene.select(red).made == red
    assert picked(scene, any=[red, BLUE]) == {RED, BLUE}
    grown_red = scene.select({**red, "grow": 0.1})
    np.testing.assert_array_equal(grown_red.mask, scene.select(of=RED, grow=0.1).mask)
    with pytest.raises(InputError, match=r"balls\.npz has no selection 'blue'; it has red, rest"):
        scene.select(selection={"file": path, "name": "blue"})
    with pytest.raises(InputError, match=r"another scene.*select again, as with `gradiseg select`"):
        scene.kept(OWNER != GREEN).select(red)
    with pytest.raises(InputError, match=r"none\.npz: there is no such file"):
        scene.select(selection={"file": tmp_path / "none.npz", "name": "red"})
    with pytest.raises(InputError, match="no object is called 'cat'"):
        scene.save_selections(path, {"a": "cat"})
    # Exports take it as well.
    (written,) = scene.export(tmp_path / "red.ply", objects=[red])
    assert f"element vertex {(OWNER == RED).sum()}\n".encode() in written.read_bytes()[:200]


def test_the_command_shows_selections_and_keeps_them(
    folders: trained_scene.Folders,
    scene: gradiseg_core.Scene,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, path = str(folders.train.parent), tmp_path / "balls.npz"
    out = ["--out", str(path)]
    assert cli.main(["select", run, "{any: [red ball, background]}", *out, "--name", "x"]) == 0
    shown = capsys.readouterr().out
    count = int(np.isin(OWNER, [0, RED]).sum())
    assert shown.startswith(f"x: {count:,d} of {len(scene):,d} Gaussians, {{'any': ['red ball', ")
    assert re.search(
        r"  box of [\d.]+ x [\d.]+ x [\d.]+ around \(.*\), units of the model\n", shown
    )
    assert f"{(OWNER == RED).sum():9,d} of ID {RED}, red ball\n" in shown
    assert f"in edits: {{selection: {{file: {path}, name: x}}}}" in shown
    assert cli.main(["select", run, str(BLUE), *out, "--name", "blue"]) == 0
    capsys.readouterr()
    assert cli.main(["select", run, str(path)]) == 0
    shown = capsys.readouterr().out
    assert [line.split(":")[0] for line in shown.splitlines() if line[0] != " "] == ["x", "blue"]
    mask = scene.select(selection={"file": path, "name": "blue"}).mask
    np.testing.assert_array_equal(mask, OWNER == BLUE)
    before = path.read_bytes()
    for what, message in (
        ("cat", "no object is called 'cat'"),
        ("{of: 1", "what is meant is no valid YAML"),
        ("[]", "the list is empty"),
        ("none.npz", "there is no such file of selections"),
    ):
        assert cli.main(["select", run, what, *out]) == 1
        assert message in capsys.readouterr().err
    assert path.read_bytes() == before
    with pytest.raises(SystemExit):
        cli.main(["select", run, "1", "--out", "balls.txt"])
    assert "balls.txt: files of selections end in .npz" in capsys.readouterr().err


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """A ball of 500 points, one of 100 beside it, and 5 far off; all of them chosen, and a rest."""
    generator = np.random.default_rng(3)
    ball = generator.normal(size=(500, 3)) * 0.2
    small = generator.normal(size=(100, 3)) * 0.1 + (4, 0, 0)
    far = generator.normal(size=(5, 3)) * 0.01 + (0, 30, 0)
    rest = generator.normal(size=(50, 3)) * 0.1 + (0, 0, 5)
    points = np.concatenate([ball, small, far, rest])
    return points, np.arange(len(points)) < 605


def test_connected_parts() -> None:
    points, mask = blobs()
    clean = without_floaters(points, mask)
    assert clean[:500].mean() > 0.97  # points at the rim may be connected with nothing
    assert clean[500:600].mean() > 0.97
    assert not clean[600:].any()
    largest = largest_part(points, mask)
    assert largest[:500].mean() > 0.97
    assert not largest[500:].any()


def test_growing_and_shrinking_by_a_distance() -> None:
    points = np.c_[np.arange(10.0), np.zeros((10, 2))]
    mask = np.arange(10) < 4
    np.testing.assert_array_equal(grown(points, mask, 2.0), np.arange(10) < 6)
    np.testing.assert_array_equal(shrunk(points, mask, 2.0), np.arange(10) < 2)
    np.testing.assert_array_equal(grown(points, mask, 0.0), mask)
    assert grown(points, np.ones(10, bool), 1.0).all()


def test_a_hull_takes_what_is_inside_but_outliers_make_none() -> None:
    generator = np.random.default_rng(4)
    surface = generator.normal(size=(400, 3))
    surface /= np.linalg.norm(surface, axis=1, keepdims=True)
    inside = generator.uniform(-0.4, 0.4, (50, 3))
    outside = generator.uniform(1.5, 2.5, (50, 3))
    outlier = np.array([[9.0, 9.0, 9.0]])
    points = np.concatenate([surface, outlier, inside, outside])
    mask = np.arange(len(points)) < 401
    np.testing.assert_array_equal(in_hull(points, mask), np.arange(len(points)) < 451)
    flat = np.c_[points[:, :2], np.zeros(len(points))]
    np.testing.assert_array_equal(in_hull(flat, mask), mask)


def test_refinements_are_done_in_order(scene: gradiseg_core.Scene) -> None:
    red = scene.select(RED)
    grow = scene.select(of=RED, grow=0.1)
    np.testing.assert_array_equal(grow.mask, grown(scene.points, red.mask, 0.1))
    assert len(grow) > len(red)
    both = scene.select({"of": RED, "shrink": 0.05, "grow": 0.1, "hull": True})
    expected = grown(scene.points, shrunk(scene.points, red.mask, 0.05), 0.1)
    np.testing.assert_array_equal(both.mask, in_hull(scene.points, expected))


def test_selections_join_and_are_saved(
    scene: gradiseg_core.Scene, folders: trained_scene.Folders, tmp_path: Path
) -> None:
    red, balls = scene.select("red ball"), scene.select("balls")
    assert (red & balls).made == {"all": ["red ball", "balls"]}
    np.testing.assert_array_equal((red & balls).mask, red.mask)
    np.testing.assert_array_equal((~red | balls).mask, ~red.mask | balls.mask)
    # What a selection says of itself selects the same again.
    np.testing.assert_array_equal(scene.select((~red & balls).made).mask, (~red & balls).mask)
    path = tmp_path / "selections.npz"
    save_selections(path, {"red": red, "no red": ~red})
    assert path.stat().st_size < 20_000
    again = load_selections(path, gradiseg_core.load(folders.train, device="cpu").fingerprint)
    assert list(again) == ["red", "no red"]
    np.testing.assert_array_equal(again["no red"].mask, ~red.mask)
    assert again["red"].made == "red ball"
    assert scene.select(again["red"]) is again["red"]

    other = scene.kept(~red.mask)
    with pytest.raises(InputError, match="holds selections of another scene"):
        load_selections(path, other.fingerprint)
    with pytest.raises(InputError, match="the selection is of another scene"):
        other.select(red)
    with pytest.raises(ValueError, match="of different scenes"):
        red & Selection(red.mask, "x", "another")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="is no file of selections"):
        load_selections(path, scene.fingerprint)
    with pytest.raises(InputError, match="there is no such file"):
        load_selections(tmp_path / "none", scene.fingerprint)
