"""What lies beside photographs and is not used is named, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.stages.scene.stage import prepare

from .conftest import save_photo


def warnings(path: Path, out: Path, caplog: pytest.LogCaptureFixture, source: str) -> str:
    prepare(SceneConfig(source=source, path=path), out, name="mine")
    return "\n".join(r.getMessage() for r in caplog.records if r.levelname == "WARNING")


def photographs(folder: Path) -> Path:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        save_photo(folder / name)
    return folder


@pytest.mark.parametrize(
    ("images", "file", "why"),
    [
        ("photos", "sparse/0/cameras.bin", "called photos; call it images"),
        ("images", "sparse/0/images.bin", "it has no cameras.bin"),
        ("photos", "transforms.json", "call the folder of the photographs images"),
    ],
)
def test_a_model_that_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, images: str, file: str, why: str
) -> None:
    path = photographs(tmp_path / "in" / images)
    (tmp_path / "in" / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "in" / file).write_bytes(b"")
    text = warnings(path, tmp_path / "out", caplog, "folder")
    assert text.count("not used because") == 1
    assert f"found {tmp_path / 'in' / file.split('/')[0]}, not used because" in text
    assert why in text


def test_a_model_in_another_place_of_the_lerf_mask_layout(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photographs(tmp_path / "in" / "images")
    model = tmp_path / "in" / "colmap" / "sparse"
    (model / "0").mkdir(parents=True)
    (model / "0" / "cameras.bin").write_bytes(b"")
    text = warnings(tmp_path / "in", tmp_path / "out", caplog, "lerf_mask")
    assert f"found {model}, not used because source `lerf_mask` reads only" in text


def test_the_lerf_mask_layout_read_as_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = photographs(tmp_path / "in" / "images")
    (tmp_path / "in" / "test_mask" / "0").mkdir(parents=True)
    text = warnings(path, tmp_path / "out", caplog, "folder")
    assert f"found {tmp_path / 'in' / 'test_mask'}, not used because" in text
    assert f"set `source: lerf_mask` and `path: {tmp_path / 'in'}`" in text


def test_other_folders_beside_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photographs(tmp_path / "in" / "images" / "left")
    photographs(tmp_path / "in" / "rendered")
    photographs(tmp_path / "in" / "masks")
    text = warnings(tmp_path / "in", tmp_path / "out", caplog, "folder")
    assert text.count("not used because") == 1
    assert f"found {tmp_path / 'in' / 'rendered'}, not used because photographs are read" in text
    assert {path.name for path in (tmp_path / "out" / "images").iterdir()} == {
        "a.png", "b.png", "c.png", "d.png"
    }  # fmt: skip


def test_nothing_is_said_of_plain_photographs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = photographs(tmp_path / "in" / "photos")
    assert "not used" not in warnings(path, tmp_path / "out", caplog, "folder")
