"""Source ``lerf_mask``: split, masks, prompts, optional parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.config.root import load
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import ConfigError, InputError
from gradiseg_core.imaging import write_id_map, write_mask
from gradiseg_core.scene import SceneManifest, prepare

from .conftest import save_photo


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Five images, two of them test views (b and d)."""
    folder = tmp_path / "lerf"
    for name in "abcde":
        save_photo(folder / "images" / f"{name}.jpg")
        if name not in "bd":
            save_photo(folder / "images_train" / f"{name}.jpg")
    mask = np.zeros((16, 24), dtype=bool)
    mask[4:8, 4:8] = True
    write_mask(folder / "test_mask" / "0" / "red apple.png", mask)
    write_mask(folder / "test_mask" / "1" / "no. 5 tin.png", mask)
    return folder


def run(source: Path, out: Path) -> SceneManifest:
    config = SceneConfig(source="lerf_mask", path=source)
    return prepare(config, out, name="lerf", seed=0, threads=1)


def test_split_and_prompts(scene: Path, tmp_path: Path) -> None:
    manifest = run(scene, tmp_path / "out")
    assert [view.name for view in manifest.test_views] == ["b.jpg", "d.jpg"]
    assert [view.name for view in manifest.train_views] == ["a.jpg", "c.jpg", "e.jpg"]
    assert manifest.prompts == ["no. 5 tin", "red apple"]  # the dot survives
    assert (tmp_path / "out" / "test_mask" / "1" / "no. 5 tin.png").is_file()
    assert manifest.has.test_mask
    assert not manifest.has.sparse
    assert not manifest.has.gt_ids


def test_optional_parts(scene: Path, tmp_path: Path) -> None:
    truth = {"prompts": ["red apple", "unseen thing", "no. 5 tin"], "cameras": []}
    (scene / "ground_truth.json").write_text(json.dumps(truth))
    (scene / "sparse" / "0").mkdir(parents=True)
    (scene / "sparse" / "0" / "cameras.bin").write_bytes(b"x")
    for name in "abcde":
        write_id_map(scene / "gt_ids" / f"{name}.png", np.full((16, 24), 300))
        write_id_map(scene / "object_mask" / f"{name}.png", np.full((16, 24), 2))
    manifest = run(scene, tmp_path / "out")
    assert manifest.prompts == truth["prompts"]
    assert all(manifest.has.model_dump().values())
    out = tmp_path / "out"
    assert (out / "sparse" / "0" / "cameras.bin").is_file()
    assert len(list((out / "gt_ids").iterdir())) == 5
    # The object mask of a test view is black in the published data: never handed on.
    assert sorted(p.stem for p in (out / "object_mask").iterdir()) == ["a", "c", "e"]


def test_without_images_train_every_eighth(scene: Path, tmp_path: Path) -> None:
    for path in (scene / "images_train").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="holds no images"):
        run(scene, tmp_path / "out")
    (scene / "images_train").rmdir()
    with pytest.raises(InputError, match="only 1 test views"):  # test_mask/1 has no view now
        run(scene, tmp_path / "out")


def test_all_mask_problems_in_one_error(scene: Path, tmp_path: Path) -> None:
    masks = scene / "test_mask"
    write_mask(masks / "2" / "red apple.png", np.ones((16, 24), dtype=bool))
    write_mask(masks / "1" / "tall.png", np.ones((24, 16), dtype=bool))
    (masks / "0" / "bad.png").write_bytes(b"nothing")
    (masks / "first").mkdir()
    with pytest.raises(InputError) as error:
        run(scene, tmp_path / "out")
    text = str(error.value)
    assert "2/: there are only 2 test views" in text
    assert "1/tall.png: 16 x 24 px, but its view d.jpg is 24 x 16 px" in text
    assert "0/bad.png: unreadable" in text
    assert "first/: not the number" in text


def test_stray_training_image_and_wrong_layout(scene: Path, tmp_path: Path) -> None:
    save_photo(scene / "images_train" / "z.jpg")
    with pytest.raises(InputError, match=r"lacks: z\.jpg"):
        run(scene, tmp_path / "out")
    with pytest.raises(InputError, match="source to 'folder'"):
        run(scene / "images", tmp_path / "out")


def test_shared_scene(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "tabletop_breakfast"
    manifest = run(source, tmp_path / "out")
    truth = json.loads((source / "ground_truth.json").read_text())
    assert len(manifest.train_views) == 40
    assert [v.name for v in manifest.test_views] == [f"test_{k}.jpg" for k in range(4)]
    assert manifest.prompts == truth["prompts"]
    assert manifest.has.gt_ids


def test_a_copy_has_the_files_and_its_own_name(scene: Path, tmp_path: Path) -> None:
    original = run(scene, tmp_path / "original")
    manifest = prepare(
        SceneConfig(source="copy", of="lerf"), tmp_path / "copy", name="other", seed=0, threads=1,
        copied=tmp_path / "original",
    )  # fmt: skip
    assert manifest == original.model_copy(update={"name": "other"})
    assert SceneManifest.load(tmp_path / "copy").name == "other"
    assert SceneManifest.load(tmp_path / "original").name == "lerf"
    files = [
        sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*"))
        for name in ("original", "copy")
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("prompts", "what"),
    [
        (["lemon", "cup", "lemon"], r"prompts\[2\]: 'lemon' is there twice"),
        (["a/b", "a_b"], r"'a_b' and 'a/b' would have files of the same name"),
        (["Cup", "cup"], r"'cup' and 'Cup' would have files of the same name"),
        (["caf\u00e9", "cafe\u0301"], "would have files of the same name"),
        (["lemon", ""], r"prompts\[1\]: '' is empty"),
        (["  "], "is empty"),
        ([7], "7 is no text"),
        ([None], "None is no text"),
        (["../up"], "starts with a dot"),
        (["a\0b"], "cannot be in a file's name"),
        (["two\nlines"], "cannot be in a file's name"),
        (["\ud800"], "cannot be in a file's name"),
        (["x" * 201], "is too long"),
        (["\u00e9" * 101], "is too long"),
    ],
)
def test_bad_prompts_are_refused_before_any_work(
    scene: Path, tmp_path: Path, prompts: list, what: str
) -> None:
    (scene / "ground_truth.json").write_text(json.dumps({"prompts": prompts}))
    with pytest.raises(ConfigError, match=rf"scenes\.k\.path: .*ground_truth\.json[\s\S]*{what}"):
        load({"scenes": {"k": {"source": "lerf_mask", "path": str(scene)}}})
    for path in (scene / "images").iterdir():
        path.write_bytes(b"damaged")  # would be found first, if images were read first
    with pytest.raises(InputError, match=what):
        run(scene, tmp_path / "out")


def test_unusual_prompts_that_work(scene: Path) -> None:
    prompts = ["a/b", "100 % {x} <y>", "\u8d64\u3044\u308a\u3093\u3054", "x" * 200, "no. 5", "~"]
    (scene / "ground_truth.json").write_text(json.dumps({"prompts": prompts}))
    load({"scenes": {"k": {"source": "lerf_mask", "path": str(scene)}}})


def test_annotations_and_listed_prompts_must_not_share_a_file(scene: Path, tmp_path: Path) -> None:
    (scene / "ground_truth.json").write_text(json.dumps({"prompts": ["Red Apple"]}))
    with pytest.raises(InputError, match="'red apple' and 'Red Apple' would have files of the"):
        run(scene, tmp_path / "out")


@pytest.mark.parametrize("ids", [["lemon"], {"lemon": "7"}, {"lemon": -1}, {"lemon": True}])
def test_ids_of_prompts_are_whole_numbers(scene: Path, ids: object) -> None:
    truth = {"prompts": ["lemon"], "gt_id_of_prompt": ids}
    (scene / "ground_truth.json").write_text(json.dumps(truth))
    with pytest.raises(ConfigError, match="gt_id_of_prompt: must give every prompt"):
        load({"scenes": {"k": {"source": "lerf_mask", "path": str(scene)}}})
