"""Backend `clicks`: what lies under a pixel of a rendered view or of a training view."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradiseg_core.config.grounding import GroundingConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.masks import read_mask, write_mask
from gradiseg_core.files.names import Names
from gradiseg_core.stages.grounding.backends import clicks
from gradiseg_core.stages.grounding.backends.clicks import Options, innermost, united
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.selection import MOST_PARTS, Choice, protocol_of
from gradiseg_core.stages.grounding.stage import ground
from tests.stages.grounding.known import RIGHT
from tests.trained_scene import PROMPTS, TRACKED, Folders

TRAIN, TEST = "view_001.png", "view_000.png"


@pytest.fixture
def folders(rendered: Folders, tmp_path: Path) -> Folders:
    """A copy that a test may change."""
    names = ("scene", "colmap", "tracking", "train", "render")
    parts = [shutil.copytree(getattr(rendered, name), tmp_path / name) for name in names]
    return Folders(*parts, tmp_path / "grounding", tmp_path / "metrics")


def run(folders: Folders, prompts: dict[str, Any] | None = None, **options: Any) -> dict:
    config = GroundingConfig(backend="clicks", clicks={"prompts": prompts or {}, **options})
    return ground(
        folders.scene, folders.colmap, folders.tracking, folders.train, folders.render,
        folders.grounding, config,
    )  # fmt: skip


def ids_of(selection: dict) -> dict[str, list[int]]:
    return {prompt: entry["ids"] for prompt, entry in selection["prompts"].items()}


def pixel_of(folders: Folders, view: str, prompt: str) -> list[int]:
    """The middle of a ball in a view, by its exact ID."""
    ids = read_id_map(folders.scene / "gt_ids" / f"{view[:-4]}.png")
    return list(innermost(ids == PROMPTS[prompt]))


@pytest.mark.parametrize("view", [TRAIN, TEST, TEST[:-4], "view_000.jpeg"])
def test_a_written_click_means_what_lies_there(folders: Folders, view: str) -> None:
    stem = view.partition(".")[0]
    pixels = {prompt: pixel_of(folders, f"{stem}.png", prompt) for prompt in PROMPTS}
    selection = run(folders, {prompt: {view: at} for prompt, at in pixels.items()})
    assert ids_of(selection) == RIGHT
    split = "train" if view == TRAIN else "test"
    for prompt, at in pixels.items():
        [click] = selection["prompts"][prompt]["clicks"]
        assert click["at"] == at
        assert click["split"] == split
        assert click["from"] == "configuration"
    kind = "training" if view == TRAIN else "test"
    assert selection["protocol"] == f"3 clicked in {stem}.png, a {kind} view"


def test_a_view_answers_by_its_rendered_labels(folders: Folders) -> None:
    """Those of stage `render`; for a training view they are rendered, whatever tracking says."""
    path = folders.render / "ids" / TEST
    ids = read_id_map(path)
    ids[0, :2] = 6, 0
    write_id_map(path, ids)
    tracked = folders.tracking / "ids" / TRAIN
    write_id_map(tracked, np.full((48, 64), 6, np.int32))
    assert ids_of(run(folders, {"red ball": {TEST: [0, 0]}}))["red ball"] == [6]
    red = pixel_of(folders, TRAIN, "red ball")
    assert ids_of(run(folders, {"red ball": {TRAIN: red}}))["red ball"] == RIGHT["red ball"]
    for pixel, view in (([1, 0], TEST), ([0, 0], TRAIN)):
        selection = run(folders, {"red ball": {view: pixel}})["prompts"]["red ball"]
        assert selection["ids"] == []
        assert f"{pixel} of {view}, where the labels have no ID" in selection["why"]


def test_where_nothing_is_trained_tracks_answer(folders: Folders) -> None:
    """The method in 2D has no renderings; its tracks are of all views."""
    manifest = SceneManifest.load(folders.scene)
    for view in manifest.test_views:
        exact = read_id_map(folders.scene / "gt_ids" / f"{view.stem}.png")
        write_id_map(folders.tracking / "ids" / f"{view.stem}.png", TRACKED[exact])
    for view in (TRAIN, TEST):
        prompts = {prompt: {view: pixel_of(folders, view, prompt)} for prompt in PROMPTS}
        request = Request(
            manifest, folders.scene, folders.colmap, folders.tracking, None, manifest.test_views,
            8, Options(prompts=prompts),
        )  # fmt: skip
        assert {prompt: choice.ids for prompt, choice in clicks.run(request).items()} == RIGHT


def test_pixels_are_those_of_the_photograph_whatever_size_is_rendered(folders: Folders) -> None:
    path = folders.render / "ids" / TEST
    write_id_map(path, read_id_map(path)[::2, ::2])  # 32 x 24
    prompts = {prompt: {TEST: pixel_of(folders, TEST, prompt)} for prompt in PROMPTS}
    manifest = SceneManifest.load(folders.scene)
    request = Request(
        manifest, folders.scene, folders.colmap, folders.tracking, folders.render,
        manifest.test_views, 8, Options(prompts=prompts),
    )  # fmt: skip
    assert {prompt: choice.ids for prompt, choice in clicks.run(request).items()} == RIGHT


def test_several_clicks(folders: Folders) -> None:
    red, blue = (pixel_of(folders, TRAIN, f"{colour} ball") for colour in ("red", "blue"))
    both = {"red ball": {TRAIN: [red, blue], TEST: pixel_of(folders, TEST, "red ball")}}
    assert ids_of(run(folders, both))["red ball"] == RIGHT["red ball"] + RIGHT["blue ball"]
    assert ids_of(run(folders, both, several="vote"))["red ball"] == RIGHT["red ball"]
    protocol = run(folders, both)["protocol"]
    assert f"1 clicked in {TRAIN}, a training view" in protocol
    assert f"1 clicked in {TEST}, a test view" in protocol


def test_union_and_vote_by_hand() -> None:
    assert united([4, 0, 2, 4], "union") == [4, 2]
    assert united([4, 0, 2, 4], "vote") == [4]
    assert united([4, 2, 0], "vote") == [4, 2]  # neither outvotes the other
    assert united([0, 0, 0, 1], "vote") == [1]  # the background has no vote
    assert united([0], "union") == []


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"red bal": {TRAIN: [1, 1]}}, "no prompt 'red bal'; did you mean 'red ball'"),
        ({"red ball": {"view_01.png": [1, 1]}}, "no photograph 'view_01.png'; did you mean 'view"),
        ({"red ball": {TRAIN: [64, 1]}}, r"'red ball': view_001.png is 64 x 48 px, and \[64, 1\]"),
        ({"red ball": {TRAIN: [1, 48]}}, r"is 64 x 48 px, and \[1, 48\] lies outside"),
    ],
)
def test_what_cannot_be_clicked(folders: Folders, prompts: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(folders, prompts)


def test_a_view_without_a_camera_cannot_be_clicked(folders: Folders) -> None:
    (folders.tracking / "ids" / TRAIN).unlink()
    with pytest.raises(InputError, match=r"view_001\.png has no camera.*click elsewhere"):
        run(folders, {"red ball": {TRAIN: [1, 1]}})


@pytest.mark.parametrize(
    "pixels", [[1], [1, 2, 3], [1.5, 2], [-1, 2], ["1", 2], [True, 2], [], [[1, 2], [3]], 4, None]
)
def test_what_is_no_pixel(pixels: object) -> None:
    with pytest.raises(ValueError, match=r"give the pixel as \[column, row\]"):
        GroundingConfig(backend="clicks", clicks={"prompts": {"cup": {"a.jpg": pixels}}})


def test_clicks_survive_their_way_through_json() -> None:
    """A job gets its configuration as plain data."""
    prompts = {"cup": {"a.jpg": [3, 4], "b.jpg": [[5, 6], [7, 8]]}}
    config = GroundingConfig(backend="clicks", clicks={"prompts": prompts})
    again = GroundingConfig(**json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert [(view, list(at)) for view, at in again.options.clicks_of("cup")] == [
        ("a.jpg", [3, 4]),
        ("b.jpg", [5, 6]),
        ("b.jpg", [7, 8]),
    ]


def test_annotated_training_views_are_clicked_where_nothing_is_written(folders: Folders) -> None:
    selection = run(folders)
    assert ids_of(selection) == RIGHT
    for prompt, entry in selection["prompts"].items():
        [click] = entry["clicks"]
        assert click["split"] == "train"
        assert click["from"] == "annotation"
        column, row = click["at"]
        exact = read_id_map(folders.scene / "gt_ids" / click["view"])
        assert exact[row, column] == PROMPTS[prompt]
    assert "clicked where annotated in" in selection["protocol"]
    assert "test view" not in selection["protocol"]


def test_few_views_are_clicked_and_those_that_show_the_object_well(folders: Folders) -> None:
    """One view has all but one object at half their largest size or more; another has that one."""
    empty = np.zeros((48, 64), np.int32)
    for path in (folders.scene / "gt_ids").glob("*.png"):
        write_id_map(path, empty)
    first, second, third = empty.copy(), empty.copy(), empty.copy()
    first[:10, :10] = 1  # 100 px
    second[:8, :8], second[20:28, 20:28], second[40:42, 40:42] = 1, 2, 3  # 64, 64 and 4 px
    third[30:40, 30:40] = 3  # 100 px
    for stem, ids in (("view_001", first), ("view_002", second), ("view_003", third)):
        write_id_map(folders.scene / "gt_ids" / f"{stem}.png", ids)
    found = {prompt: e["clicks"][0] for prompt, e in run(folders)["prompts"].items()}
    assert {prompt: click["view"] for prompt, click in found.items()} == {
        "red ball": "view_002.png",
        "green ball": "view_002.png",
        "blue ball": "view_003.png",
    }
    assert found["blue ball"]["at"] in ([34, 34], [35, 34], [34, 35], [35, 35])


def test_a_test_view_is_clicked_where_no_training_view_is_annotated(folders: Folders) -> None:
    shutil.rmtree(folders.scene / "gt_ids")
    path = folders.scene / "test_mask" / "0" / "red ball.png"
    write_mask(path, np.zeros_like(read_mask(path)))
    selection = run(folders)
    assert ids_of(selection) == RIGHT
    assert selection["prompts"]["red ball"]["clicks"][0]["view"] == "view_004.png"
    assert selection["protocol"] == (
        "2 clicked where annotated in view_000.png, a test view; "
        "1 clicked where annotated in view_004.png, a test view"
    )


def test_what_is_neither_clicked_nor_annotated_selects_nothing(folders: Folders) -> None:
    shutil.rmtree(folders.scene / "gt_ids")
    shutil.rmtree(folders.scene / "test_mask")
    selection = run(folders, {"red ball": {TEST: pixel_of_render(folders, 3)}})
    assert ids_of(selection) == {"red ball": [3], "green ball": [], "blue ball": []}
    assert "no click is written" in selection["prompts"]["green ball"]["why"]


def pixel_of_render(folders: Folders, number: int) -> list[int]:
    return list(innermost(read_id_map(folders.render / "ids" / TEST) == number))


def test_clicked_names_are_the_prompts_of_a_scene_without_any(folders: Folders) -> None:
    path = folders.scene / "scene.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"prompts": []}))
    selection = run(folders, {"my ball": {TRAIN: pixel_of(folders, TRAIN, "green ball")}})
    assert ids_of(selection) == {"my ball": RIGHT["green ball"]}
    assert read_mask(folders.grounding / "masks" / "0" / "my ball.png").any()


def test_names_and_pictures_of_objects_are_listed(folders: Folders) -> None:
    tracked = [{"id": i, "thumbnail": f"objects/{i}.png"} for i in (1, 3, 5, 6)]
    (folders.tracking / "objects.json").write_text(json.dumps({"objects": tracked}))
    run(folders)
    names = Names.load(folders.grounding)
    assert names.prompts == RIGHT
    assert [(o.id, o.name, o.thumbnail) for o in names.objects] == [
        (1, "green ball", "objects/1.png"),
        (3, "red ball", "objects/3.png"),
        (5, "blue ball", "objects/5.png"),
        (6, None, "objects/6.png"),
    ]


def test_pictures_show_the_click(folders: Folders) -> None:
    run(folders, {"red ball": {TRAIN: pixel_of(folders, TRAIN, "red ball")}})
    picture = read_image(folders.grounding / "pictures" / "red ball.png").astype(int)
    yellow = (np.abs(picture - [255, 214, 10]) < 8).all(axis=2)
    rows, columns = np.nonzero(yellow)
    # The arms of one cross; the first row of two, and in its left half.
    assert 60 < yellow.sum() < 200
    assert np.ptp(rows) <= 28
    assert np.ptp(columns) <= 28
    assert rows.max() < picture.shape[0] / 2
    assert columns.max() < picture.shape[1] / 2


def test_the_innermost_pixel_lies_inside_and_away_from_the_border() -> None:
    ring = np.zeros((21, 21), bool)
    ring[2:19, 2:19] = True
    ring[8:17, 8:17] = False
    column, row = innermost(ring)
    assert ring[row, column]
    assert (column, row) in [(4, 4), (5, 5), (4, 5), (5, 4)]  # where the ring is widest
    whole = np.ones((5, 9), bool)  # the border counts as an outline
    assert innermost(whole)[1] == 2


def test_a_long_protocol_is_cut() -> None:
    choices = [Choice([], "", protocol=(f"clicked in {k}, a test view",) * 2) for k in range(6)]
    text = protocol_of(choices)
    assert text.count("1 clicked in") == MOST_PARTS
    assert text.endswith("; and 2 more")
    assert protocol_of([Choice([], "")]) == ""
