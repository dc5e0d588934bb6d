"""Photographs that get no camera are shown on a page, each with the likely reason."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import ReconstructionError
from gradiseg_core.stages.sfm.left_out import Measured, look, reason
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import lens, make_scene, poses, render, write_manifest, write_sparse

ONCE = ColmapConfig(max_features=500, retry_minutes=0.0, min_registered_share=0.3)
BAD = {
    "x_blurred.png": "blurred",
    "x_dark.png": "too dark",
    "x_bright.png": "too bright",
    "x_bare.png": "hardly any texture",
    "x_elsewhere.png": "no overlap",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Seven good photographs and five bad ones."""
    folder = tmp_path_factory.mktemp("bad") / "scene"
    make_scene(folder, count=7)
    good, _ = render(lens(), poses(14)[3])
    picture = Image.fromarray(good)
    rng = np.random.default_rng(0)
    bare = 120 + rng.normal(0, 1.5, good.shape) + np.linspace(0, 30, good.shape[1])[:, None]
    elsewhere, _ = render(lens(), poses(3)[1], seed=5)
    made = {
        "x_blurred.png": picture.filter(ImageFilter.GaussianBlur(6)),
        "x_dark.png": picture.point(lambda value: value // 25),
        "x_bright.png": picture.point(lambda value: min(255, 4 * value)),
        "x_bare.png": Image.fromarray(bare.clip(0, 255).astype(np.uint8)),
        "x_elsewhere.png": Image.fromarray(elsewhere),
    }
    for name, image in made.items():
        image.save(folder / "images" / name)
    write_manifest(folder, sorted(path.name for path in (folder / "images").iterdir()))
    return folder


def test_each_has_its_reason_on_the_page(scene, tmp_path, caplog):
    page = tmp_path / "logs" / "photographs.html"
    report = reconstruct(scene, tmp_path / "out", ONCE, seed=0, threads=2, page=page)
    text = page.read_text()
    shown = re.findall(r"<h3>(.*?)</h3><p class=\"why\">(.*?)</p>", text)
    assert dict(shown) == {name: why for name, why in BAD.items() if name in report["left_out"]}
    assert set(report["left_out"]) >= {"x_dark.png", "x_bare.png", "x_elsewhere.png"}
    assert f"{len(shown)} of 12 photographs have no camera" in text
    assert text.count('src="data:image/jpeg') >= len(shown)
    assert not re.search(r"(src|href)=\"(?!data:)", text)  # all of it is in the file
    assert f"Pictures and reasons: {page}" in caplog.text
    assert len(text) < 500_000


def test_the_error_names_the_page(scene, tmp_path):
    strict = ONCE.model_copy(update={"min_registered_share": 1.0})
    page = tmp_path / "photographs.html"
    with pytest.raises(ReconstructionError, match=r"Pictures and reasons: .*photographs\.html"):
        reconstruct(scene, tmp_path / "out", strict, seed=0, threads=2, page=page)
    assert "x_dark.png" in page.read_text()


def test_there_is_no_page_where_all_have_a_camera(tmp_path):
    make_scene(tmp_path / "scene", count=5)
    page = tmp_path / "photographs.html"
    page.write_text("of an earlier run")
    reconstruct(tmp_path / "scene", tmp_path / "out", ONCE, seed=0, threads=2, page=page)
    assert not page.exists()


def test_files_that_are_not_used_are_on_the_page(tmp_path):
    """With photographs that have no camera, and alone; also where a model is given."""
    make_scene(tmp_path / "scene", count=5)
    manifest = tmp_path / "scene" / "scene.json"
    unused = [
        {"file": "in/<b>.jpg", "why": "unreadable", "detail": "cut & broken"},
        {"file": "1 copy.jpg", "why": "copy", "detail": "1.jpg"},
        {"file": "all.jpg", "why": "panorama", "detail": "9000 x 3000 px"},
    ]
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"unused": unused}))
    page = tmp_path / "photographs.html"

    def run(config=ONCE):
        reconstruct(tmp_path / "scene", tmp_path / "out", config, seed=0, threads=2, page=page)
        return page.read_text()

    text = run()
    assert "corner: 3 files of the photographs not used</h1>" in text
    assert "Cannot be read (`skip_unreadable`): 1" in text
    assert "in/&lt;b&gt;.jpg</th><td>cut &amp; broken" in text
    assert "1 copy.jpg</th><td>1.jpg" in text
    assert "Panorama, which no camera with a lens shows: 1" in text
    assert "all.jpg</th><td>9000 x 3000 px" in text
    write_sparse(
        tmp_path / "scene" / "sparse", lens(), {f"view_{k}.png": p for k, p in enumerate(poses(5))}
    )
    assert run() == text
    shutil.rmtree(tmp_path / "scene" / "sparse")
    grey = Image.new("RGB", (240, 180), (120, 120, 120))
    grey.save(tmp_path / "scene" / "images" / "view_4.png")
    text = run()
    assert "1 of 5 photographs have no camera" in text
    assert "1 copy.jpg</th><td>1.jpg" in text
    assert "Panorama, which no camera with a lens shows: 1" in text
    assert "all.jpg</th><td>9000 x 3000 px" in text


def test_sharpness_falls_with_blur_and_hardly_with_contrast_and_noise(tmp_path):
    photograph, _ = render(lens(), poses(3)[1])
    rng = np.random.default_rng(0)

    def sharpness(image):
        Image.fromarray(np.asarray(image)).save(tmp_path / "a.png")
        return look(tmp_path / "a.png")[0]

    picture = Image.fromarray(photograph)
    sharp = sharpness(photograph)
    assert sharpness(picture.filter(ImageFilter.GaussianBlur(3))) < 0.4 * sharp
    assert sharpness(picture.point(lambda v: 60 + v // 2)) == pytest.approx(sharp, rel=0.1)
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(3))).astype(float)
    noisy = (blurred + rng.normal(0, 3, blurred.shape)).clip(0, 255).astype(np.uint8)
    assert sharpness(noisy) < 0.5 * sharp


@pytest.mark.parametrize(
    ("partners", "registered", "why"),
    [
        ({}, {"a"}, "no overlap"),
        ({"b": 200}, {"a"}, "matches only others without a camera"),
        ({"a": 16, "b": 200}, {"a"}, "little overlap"),
        ({"a": 200}, {"a"}, "no position fits its matches"),
    ],
)
def test_reasons_that_matches_tell(partners, registered, why):
    found = Measured("x", 1.0, 120.0, 0.0, 5000, partners)
    assert reason(found, 1.0, 5000.0, registered)[0] == why
