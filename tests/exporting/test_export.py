"""Whole scenes: objects by name, one file each, tables, cameras; `Scene.export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gradiseg_core
from gradiseg_core import cli
from gradiseg_core.config.exports import ExportConfig
from gradiseg_core.editing.export import options_of
from gradiseg_core.errors import InputError
from gradiseg_core.exporting.export import file_name, slug
from gradiseg_core.files.colmap import load_user_cameras
from gradiseg_core.files.images import read_image, write_image
from tests import synthetic, trained_scene
from tests.exporting import clouds

RED, GREEN, BLUE = (int(index) for index in trained_scene.TRACKED[1:])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> trained_scene.Folders:
    folders = trained_scene.make(tmp_path_factory.mktemp("results") / "balls")
    prompts = {"red ball": [RED], "green ball": [GREEN], "balls": [RED, GREEN]}
    folders.grounding.mkdir()
    content = {"prompts": {name: {"ids": ids, "why": ""} for name, ids in prompts.items()}}
    (folders.grounding / "selection.json").write_text(json.dumps(content))
    return folders


@pytest.fixture(scope="module")
def scene(folders: trained_scene.Folders) -> gradiseg_core.Scene:
    return gradiseg_core.load(folders.train.parent, device="cpu")


def found_x(points: np.ndarray) -> np.ndarray:
    return points[:, 0].astype(np.float32)


def test_objects_by_name(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    points, owner = synthetic.balls()
    scene.export(tmp_path / "red.ply", objects="red ball")
    found = clouds.properties(tmp_path / "red.ply")
    np.testing.assert_array_equal(found["x"], points[owner == 1, 0].astype(np.float32))
    scene.export(tmp_path / "two.glb", objects=["balls", BLUE])
    assert len(clouds.glb(tmp_path / "two.glb")[1]["POSITION"]) == (owner > 0).sum()
    left = {"in_box": {"centre": (-5, 0, 0), "size": (10, 10, 10)}}
    scene.export(tmp_path / "left.ply", objects=[left])
    np.testing.assert_array_equal(
        clouds.properties(tmp_path / "left.ply")["x"], found_x(points[points[:, 0] <= 0])
    )
    selection = scene.select("balls") & scene.select(left)
    scene.export(tmp_path / "both.ply", objects=selection)
    expected = points[np.isin(owner, [1, 2]) & (points[:, 0] <= 0)]
    np.testing.assert_array_equal(clouds.properties(tmp_path / "both.ply")["x"], found_x(expected))
    written = scene.export(tmp_path / "parts", "ply", objects=selection, split=True)
    assert sum(len(clouds.properties(path)["x"]) for path in written) == len(expected)
    with pytest.raises(InputError, match=r"no object is called 'cup'.*'red ball'"):
        scene.export(tmp_path / "cup.ply", objects=["cup"])


def test_one_file_for_each_object(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    points, owner = synthetic.balls()
    written = scene.export(tmp_path / "each", "ply", split=True, object_id=True)
    names = [f"{RED:03d}_red_ball.ply", f"{GREEN:03d}_green_ball.ply", f"{BLUE:03d}.ply"]
    assert {path.name for path in written} == {"000_background.ply", *names}
    found = {path.name: clouds.properties(path) for path in written}
    assert sum(len(values["x"]) for values in found.values()) == len(points)
    for exact, name in enumerate(names, start=1):
        np.testing.assert_array_equal(found[name]["object_id"], trained_scene.TRACKED[exact])
        expected = points[owner == exact, 2].astype(np.float32)
        np.testing.assert_array_equal(found[name]["z"], expected)
    written = scene.export(tmp_path / "some", "spz", split=True, objects=["red ball", BLUE])
    assert [path.name for path in written] == ["red_ball.spz", f"{BLUE}.spz"]
    with pytest.raises(InputError, match="are the same"):
        scene.export(tmp_path / "twice", "ply", split=True, objects=["red ball", "Red  Ball"])


def test_an_edited_scene(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    edited = scene.edit([{"remove": "red ball", "fill": False, "halo": False, "cut": False}])
    written = edited.export(tmp_path / "each", "ply", split=True)
    assert {path.name[:3] for path in written} == {"000", f"{GREEN:03d}", f"{BLUE:03d}"}
    edited.export(tmp_path / "all.glb")
    _, owner = synthetic.balls()
    assert len(clouds.glb(tmp_path / "all.glb")[1]["POSITION"]) == (owner != 1).sum()


def test_labels(scene: gradiseg_core.Scene, tmp_path: Path) -> None:
    from plyfile import PlyData

    scene.export(tmp_path / "labels.ply", "labels")
    found = clouds.properties(tmp_path / "labels.ply")
    _, owner = synthetic.balls()
    np.testing.assert_array_equal(found["object_id"], trained_scene.TRACKED[owner])
    np.testing.assert_allclose(found["confidence"], scene.certainty)
    np.testing.assert_allclose(found["opacity"], 0.95, atol=1e-6)
    colours = np.stack([found[name] for name in ("red", "green", "blue")], axis=1)
    assert len(np.unique(colours, axis=0)) == 4
    assert f"object {RED} red ball" in PlyData.read(str(tmp_path / "labels.ply")).comments


def test_the_table_of_objects(
    scene: gradiseg_core.Scene, folders: trained_scene.Folders, tmp_path: Path
) -> None:
    picture = np.full((20, 30, 3), RED, np.uint8)
    write_image(folders.tracking / "objects" / f"{RED}.png", picture)
    scene.export(tmp_path / "objects.json")
    content = json.loads((tmp_path / "objects.json").read_text())
    rows = {row["id"]: row for row in content["objects"]}
    points, owner = synthetic.balls()
    red = rows[RED]
    assert (red["name"], red["count"]) == ("red ball", int((owner == 1).sum()))
    np.testing.assert_allclose(red["centre"], points[owner == 1].mean(axis=0), atol=1e-5)
    box = red["box"]
    offsets = (points[owner == 1] - box["centre"]) @ np.array(box["axes"]).T
    assert (np.abs(offsets) <= np.array(box["size"]) / 2).all(axis=1).mean() > 0.9
    assert rows[BLUE]["thumbnail"] is None
    np.testing.assert_array_equal(read_image(tmp_path / red["thumbnail"]), picture)
    scene.export(tmp_path / "up.json", "objects", axes="y_up")
    turned = json.loads((tmp_path / "up.json").read_text())["objects"]
    up = next(row for row in turned if row["id"] == RED)
    np.testing.assert_allclose(up["centre"], np.array(red["centre"]) * [1, -1, -1])
    flipped = points[owner == 1] * [1, -1, -1]
    again = (flipped - up["box"]["centre"]) @ np.array(up["box"]["axes"]).T
    np.testing.assert_allclose(again, offsets, atol=1e-9)


@pytest.mark.parametrize("axes", ["colmap", "y_up"])
def test_nerfstudio_cameras(
    scene: gradiseg_core.Scene, folders: trained_scene.Folders, tmp_path: Path, axes: str
) -> None:
    """Points project where COLMAP's cameras see them, by the convention of nerfstudio."""
    scene.export(tmp_path / "ns", "nerfstudio", axes=axes)
    content = json.loads((tmp_path / "ns" / "transforms.json").read_text())
    cameras = load_user_cameras(folders.colmap)
    assert len(content["frames"]) == len(cameras)
    sparse = clouds.properties(tmp_path / "ns" / content["ply_file_path"])
    points = np.stack([sparse[a] for a in "xyz"], axis=1)
    flip = np.array([1, -1, -1]) if axes == "y_up" else np.ones(3)
    for frame in content["frames"]:
        image = tmp_path / "ns" / frame["file_path"]
        camera = cameras[image.name]
        assert read_image(image).shape[:2] == (frame["h"], frame["w"])
        seen = np.linalg.inv(frame["transform_matrix"])
        local = points @ seen[:3, :3].T + seen[:3, 3]  # x right, y up, looking along -z
        x = frame["cx"] + frame["fl_x"] * local[:, 0] / -local[:, 2]
        y = frame["cy"] - frame["fl_y"] * local[:, 1] / -local[:, 2]
        pose = camera.cam_from_world
        expected = ((points * flip) @ pose[:3, :3].T + pose[:3, 3]) @ camera.K.T
        np.testing.assert_allclose(np.c_[x, y], expected[:, :2] / expected[:, 2:], atol=1e-6)
    assert set(content["test_filenames"]) | set(content["train_filenames"]) == {
        frame["file_path"] for frame in content["frames"]
    }
    assert len(content["test_filenames"]) == 2


def test_colmap_text_as_pycolmap_reads_it(
    scene: gradiseg_core.Scene, folders: trained_scene.Folders, tmp_path: Path
) -> None:
    from gradiseg_core.files._pycolmap import pycolmap

    scene.export(tmp_path / "sparse", "colmap")
    found = pycolmap.Reconstruction(str(tmp_path / "sparse"))
    assert {path.suffix for path in (tmp_path / "sparse").iterdir()} == {".txt"}
    cameras = load_user_cameras(folders.colmap)
    assert {image.name for image in found.images.values()} == set(cameras)
    for image in found.images.values():
        camera = cameras[image.name]
        np.testing.assert_allclose(
            image.cam_from_world().matrix(), camera.cam_from_world[:3], atol=1e-9
        )
        np.testing.assert_allclose(image.camera.calibration_matrix(), camera.K, atol=1e-9)


def test_a_scene_far_from_its_origin(tmp_path: Path, folders: trained_scene.Folders) -> None:
    """Positions are in the user's units; the shift is said in the file, or added."""
    from plyfile import PlyData

    from gradiseg_core.cameras import Frame
    from gradiseg_core.files.trained import load_trained, save_trained

    trained = load_trained(folders.train)
    names = ("means", "quats", "scales", "opacities", "sh0", "shN", "identities")
    values = {name: getattr(trained, name) for name in names}
    frame = Frame(scale=4.0, offset=(4e6, 5e5, 100.0))
    save_trained(tmp_path / "train", values, trained.classifier, trained.metadata, frame)
    scene = gradiseg_core.load(tmp_path, device="cpu")
    means = trained.means.numpy() / 4.0
    scene.export(tmp_path / "a.ply")
    found = clouds.properties(tmp_path / "a.ply")
    np.testing.assert_allclose(found["y"], means[:, 1])
    np.testing.assert_allclose(np.exp(found["scale_0"]), 0.06 / 4.0, rtol=1e-5)
    assert "offset 4000000.0 500000.0 100.0" in PlyData.read(str(tmp_path / "a.ply")).comments
    scene.export(tmp_path / "l.ply", "labels")
    found = clouds.properties(tmp_path / "l.ply")
    np.testing.assert_allclose(found["x"], means[:, 0].astype(float) + 4e6, atol=1e-9)
    scene.export(tmp_path / "a.glb")
    assert clouds.glb(tmp_path / "a.glb")[2]["translation"] == [4e6, -5e5, -100.0]
    with pytest.raises(InputError, match="the scene has no cameras"):
        scene.export(tmp_path / "c", "colmap")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"format": "colmap", "objects": ["a"]}, "colmap is of the whole scene"),
        ({"format": "spz", "object_id": True}, "spz holds no single property.*ply and glb do"),
        ({"format": "labels", "object_id": True}, "object_id in any case"),
        ({"format": "spz", "axes": "y_up"}, "always stored with y up"),
        ({"format": "plyy"}, "format: expected one of ply, .*got 'plyy'; did you mean 'ply'"),
        ({"format": "ply", "objectid": 1}, "objectid: unknown key; did you mean 'object_id'"),
    ],
)
def test_options_that_do_not_go_together(keys: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        options_of(tmp_path / "x", **keys)


def test_the_format_by_the_name(tmp_path: Path) -> None:
    for name, expected in (
        ("a.ply", "ply"),
        ("a.compressed.ply", "compressed_ply"),
        ("A.SPZ", "spz"),
        ("a.glb", "glb"),
        ("objects.json", "objects"),
    ):
        assert options_of(tmp_path / name, None).format == expected
    with pytest.raises(
        InputError, match=r"does not tell the format.*name one: ply, compressed_ply"
    ):
        options_of(tmp_path / "folder", None)


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("b.ply", {"format": "spz"}, "b.ply ends like another format than spz; let it end in .spz"),
        ("b.compressed.ply", {"format": "glb"}, "ends like another format than glb"),
        ("b.json", {"format": "nerfstudio"}, "nerfstudio makes a folder of several files"),
        ("b.ply", {"format": None, "split": True}, "split makes a folder of several files"),
        ("file", {"format": "colmap"}, "file is a file; name a folder"),
        ("file", {"format": "ply", "split": True}, "file is a file; name a folder"),
        (
            "folder",
            {"format": "ply"},
            r"folder is a folder; name a file in it, such as .*scene.ply",
        ),
        ("folder.glb", {"format": None}, "folder.glb is a folder"),
        ("file/b.ply", {"format": None}, "file.* cannot be written .*; name another place"),
    ],
)
def test_places_that_a_format_does_not_make(
    name: str, keys: dict, message: str, tmp_path: Path, scene: gradiseg_core.Scene
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.glb").mkdir()
    with pytest.raises(InputError, match=message):
        scene.export(tmp_path / name, **keys)
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "b.ply").exists()


def test_a_compressed_ply_is_a_ply(tmp_path: Path) -> None:
    assert options_of(tmp_path / "a.ply", "compressed_ply").format == "compressed_ply"
    assert options_of(tmp_path / "a.ply", "labels").format == "labels"
    assert options_of(tmp_path / "mine", "spz").format == "spz"


def test_names_of_files() -> None:
    assert len((slug("ä" * 5000) + ".compressed.ply").encode()) < 255
    assert slug("ä" * 5000).startswith("ä" * 50)
    assert slug("Tea pot, (white)/2") == "tea_pot_white_2"
    assert slug("../..") == "object"
    assert file_name("small", ExportConfig(format="compressed_ply")) == "small.compressed.ply"
    assert file_name("each", ExportConfig(format="ply", split=True)) == "each"
    assert file_name("gg", ExportConfig(format="gaussian_grouping")) == "gg"


def test_the_command_takes_what_edits_take(
    folders: trained_scene.Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points, owner = synthetic.balls()
    run, out = str(folders.train.parent), str(tmp_path / "a.ply")
    what = "{of: red ball, without: {in_box: {centre: [-5, 0, 0], size: [10, 10, 10]}}}"
    command = ["export", run, "--out", out, "--objects"]
    assert cli.main([*command, what, str(BLUE)]) == 0
    own = ((owner == 1) & (points[:, 0] > 0)) | (owner == 3)
    np.testing.assert_array_equal(clouds.properties(tmp_path / "a.ply")["x"], found_x(points[own]))
    assert cli.main([*command, "{of: red ball"]) == 1
    assert "what is meant is no valid YAML" in capsys.readouterr().err
    assert cli.main([*command, "012", "yes", "green ball"]) == 1
    error = capsys.readouterr().err
    assert "no Gaussian has ID 12" in error
    assert cli.main([*command, "yes"]) == 1
    assert "no object is called 'yes'" in capsys.readouterr().err
