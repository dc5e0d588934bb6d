"""A folder of photographs becomes a scene: its name, its configuration, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from gradiseg_core.config.checks import is_scene_name
from gradiseg_core.config.photo_files import LEAST_PHOTOGRAPHS
from gradiseg_core.config.root import RootConfig, load
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.planning.own_scene import OwnScene, one_path, scene_name, scene_of
from gradiseg_core.planning.workflow import rule_names

RESERVED = {*RootConfig.model_fields, "scene", *rule_names()}


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def photographs(folder: str | Path, count: int = LEAST_PHOTOGRAPHS) -> Path:
    path = Path(folder)
    path.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (40, 30), (12 * number, 0, 0)).save(path / f"{number}.jpg")
    return path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kitchen", "kitchen"),
        ("My kitchen (2)", "My_kitchen_2"),
        ("Küche, groß", "Küche_groß"),
        ("Ku\u0308che", "Küche"),
        ("台所", "台所"),
        ("हिन्दी", "हिन्दी"),
        ("a__b - c", "a__b_-_c"),
        ("🍎", "scene_scene"),
        ("\u0301", "scene_scene"),
        ("tables", "tables_scene"),
        ("train", "train_scene"),
        ("variants", "variants_scene"),
        ("-rf", "rf"),
        ("2026-11-26", "2026-11-26"),
        ("a\nb", "a_b"),
    ],
)
def test_a_name_becomes_one_that_a_scene_may_have(text: str, name: str) -> None:
    assert scene_name(text, RESERVED) == name
    assert is_scene_name(name)
    assert name not in RESERVED


@pytest.mark.parametrize(
    "folder",
    ["photos/kitchen", "Küche: die #1", 'a "b" \\c', "~home", "$HOME", "on", "12", "台所/1", "{x}"],
)
def test_the_configuration_is_valid_and_names_the_folder(folder: str) -> None:
    path = photographs(folder)
    scene = scene_of(path, "draft", RESERVED)
    assert scene.text is not None
    assert not scene.configfile.exists()
    scene.write()
    raw = yaml.safe_load(scene.configfile.read_text())
    settings = load(raw, reserved=RESERVED)
    (name,) = settings.scenes
    assert scene.configfile == Path(f"{name}.yaml")
    assert settings.root.quality == "draft"
    assert (settings.root.scenes[name].path or Path()).resolve() == path.resolve()
    again = scene_of(path / ".." / path.name, "standard", RESERVED)
    assert (again.configfile, again.text) == (scene.configfile, None)


def test_a_shell_s_list_of_all_files_is_their_folder() -> None:
    folder = photographs("photos/kitchen")
    photographs("photos/kitchen/left")
    (folder / "notes.txt").write_text("of the day")
    assert one_path([folder]) == folder
    assert one_path(sorted(folder.glob("*"))) == folder
    assert one_path([*folder.glob("*.jpg"), folder / "left"]) == folder
    assert one_path([folder / "0.jpg"]) == folder / "0.jpg"  # refused later
    with pytest.raises(InputError, match=r"2 of the 16 photographs .* in photos/kitchen are"):
        one_path([folder / "0.jpg", folder / "1.jpg"])
    shelf = photographs("photos/shelf")
    with pytest.raises(InputError, match=r"2 folders .*run photos/kitchen; gradiseg run photos/s"):
        one_path([folder, shelf])
    with pytest.raises(InputError, match=r"2 paths are given \(My, kitchen\).* names with spaces"):
        one_path([Path("My"), Path("kitchen")])


def test_a_folder_elsewhere_is_written_by_its_whole_path(tmp_path: Path) -> None:
    path = photographs(tmp_path / "elsewhere" / "shelf")
    scene = scene_of(Path("../elsewhere/shelf"), "standard", RESERVED)
    assert f"path: {path}\n" in (scene.text or "")
    assert "quality: standard\n" in (scene.text or "")


def test_a_folder_of_images_is_called_like_the_one_above() -> None:
    assert scene_of(photographs("banana/images"), "draft", RESERVED).configfile == Path(
        "banana.yaml"
    )
    assert scene_of(photographs("shelf/Photos"), "draft", RESERVED).configfile == Path("shelf.yaml")
    card = photographs("garden/DCIM/101APPLE")
    assert scene_of(card, "draft", RESERVED).configfile == Path("garden.yaml")
    assert (
        scene_of(photographs("downloads"), "draft", RESERVED).configfile.stem == "downloads_scene"
    )


@pytest.mark.parametrize("above", ["Downloads", "home", "ann"])
def test_a_folder_above_that_says_nothing_gives_no_name(
    above: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    folder = photographs(tmp_path / above / "photos")
    assert scene_of(folder, "draft", RESERVED).configfile == Path("photos.yaml")
    card = photographs(tmp_path / above / "DCIM" / "100MEDIA")
    assert scene_of(card, "draft", RESERVED).configfile == Path("100MEDIA.yaml")


def test_two_folders_of_one_name_are_two_scenes() -> None:
    first, second = photographs("a/kitchen"), photographs("b/kitchen")
    scene_of(first, "draft", RESERVED).write()
    other = scene_of(second, "draft", RESERVED)
    assert other.configfile == Path("kitchen_2.yaml")
    assert other.note == "the scene is called kitchen_2: kitchen is another folder's here"
    other.write()
    assert scene_of(first, "draft", RESERVED).configfile == Path("kitchen.yaml")
    assert scene_of(second, "draft", RESERVED).configfile == Path("kitchen_2.yaml")


def test_results_of_a_configuration_of_another_name_are_not_taken_over() -> None:
    Path("results/kitchen/scene").mkdir(parents=True)
    assert scene_of(photographs("kitchen"), "draft", RESERVED).configfile == Path("kitchen_2.yaml")


def test_what_the_user_wrote_is_never_overwritten() -> None:
    path = photographs("kitchen")
    scene = scene_of(path, "draft", RESERVED)
    scene.write()
    mine = "scenes: {other_name: {path: kitchen}}\n# mine\n"
    scene.configfile.write_text(mine)
    again = scene_of(path, "standard", RESERVED)
    assert again.text is None
    again.write()
    assert scene.configfile.read_text() == mine
    with pytest.raises(InputError, match=r"another run .* has just written kitchen\.yaml"):
        scene.write()
    assert scene.configfile.read_text() == mine


def test_a_configuration_is_taken_as_it_is() -> None:
    Path("my.yaml").write_text("scenes: {a: {source: demo}}\n")
    scene = scene_of(Path("my.yaml"), "draft", RESERVED)
    assert (scene.configfile, scene.text, scene.note) == (Path("my.yaml"), None, None)


def test_a_video_is_a_scene() -> None:
    Path("clip of it.MP4").write_bytes(b"video")
    scene = scene_of(Path("clip of it.MP4"), "draft", RESERVED)
    assert scene.configfile == Path("clip_of_it.yaml")
    assert 'path: "clip of it.MP4"' in (scene.text or "")


def test_what_is_no_scene_is_refused(tmp_path: Path) -> None:
    photographs("photos/kitchen", 3)
    for name in ("empty", "text"):
        Path(name).mkdir()
    Path("text/notes.txt").write_text("no picture")
    Path("notes.txt").write_text("no picture")
    for path, message in {
        "photos/kitchn": r"photos/kitchn: no such folder.*did you mean 'kitchen'\?",
        "nowhere/at/all": "nowhere/at/all: no such folder of photographs",
        "my.yaml": r"my\.yaml: no such folder of photographs, video or configuration",
        "empty": "empty is empty; a scene needs at least 8 photographs, better 20 or more",
        "text": "text holds 0 images .* at least 8",
        "photos/kitchen": "kitchen holds 3 images .* at least 8 photographs, better 20",
        "notes.txt": "notes.txt is a file, but no video",
    }.items():
        with pytest.raises(InputError, match=message):
            scene_of(Path(path), "draft", RESERVED)


def test_results_are_no_photographs() -> None:
    scene = Path("results/kitchen")
    inner = ("scene/images", "colmap/images", "gradiseg_plus/seed0/render")
    for folder in inner:
        photographs(scene / folder)
    (scene / "scene" / "scene.json").write_text("{}")
    for path in (scene, *(scene / folder for folder in ("scene", *inner))):
        with pytest.raises(
            InputError, match=r"belongs to the results of a scene, .*results/kitchen:"
        ):
            scene_of(path, "draft", RESERVED)
    (scene / "scene" / "scene.json").rename(scene / "budget.json")  # has only begun
    with pytest.raises(InputError, match="belongs to the results"):
        scene_of(scene, "draft", RESERVED)
    assert scene_of(photographs(scene / "my own"), "draft", RESERVED).text is not None


def test_a_file_in_the_way_that_is_no_configuration_is_named() -> None:
    path = photographs("kitchen")
    Path("kitchen.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"kitchen\.yaml: no valid YAML"):
        scene_of(path, "draft", RESERVED)
    Path("kitchen.yaml").write_text("services: {web: {image: x}}\n")  # of another program
    with pytest.raises(ConfigError, match=r"kitchen\.yaml is not valid:(?s:.*)services: unknown"):
        scene_of(path, "draft", RESERVED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "kitchen.yaml is not valid:\n  scenes: is required"),
        ("scnes: {kitchen: {path: kitchen}}", "kitchen.yaml is not valid:.*did you mean 'scenes'"),
        ("scenes: {kitchen: {pth: kitchen}}", "kitchen.yaml is not valid:.*did you mean 'path'"),
        ("scenes: [", "kitchen.yaml: no valid YAML"),
    ],
)
def test_a_configuration_that_is_not_valid_is_not_another_folders(text: str, message: str) -> None:
    path = photographs("kitchen")
    Path("kitchen.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        scene_of(path, "draft", RESERVED)


def test_one_of_an_embedded_scene_is_another_folders() -> None:
    path = photographs("kitchen")
    Path("kitchen.yaml").write_text("scenes: {kitchen: {source: demo}}")
    assert scene_of(path, "draft", RESERVED).configfile == Path("kitchen_2.yaml")


def test_of_two_runs_that_begin_at_once_the_second_is_told_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (OwnScene(Path("few.yaml"), text) for text in ("first", "second"))
    first.write()
    with pytest.raises(InputError, match=r"another run is at work here: .* few\.yaml"):
        second.write()
    assert Path("few.yaml").read_text() == "first"
