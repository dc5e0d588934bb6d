"""The page of a scene: what it says, and how it behaves in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config.render import RenderConfig
from gradiseg_core.files.html import Html, element, table
from gradiseg_core.files.manifest import Unused
from gradiseg_core.stages.rendering.stage import render_views
from gradiseg_core.stages.report.cautions import cautions, some
from gradiseg_core.stages.report.comparing import _crop, compare
from gradiseg_core.stages.report.scene_page import Sources, write_scene_report
from gradiseg_core.stages.report.timeline import timeline
from gradiseg_core.stages.report.timing import duration, read_benchmark
from tests import trained_scene
from tests.stages.view.browser import ARGUMENTS, chromium


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_text_is_escaped_and_html_is_not() -> None:
    assert element("p", "a < b", Html("<b>c</b>"), klass='"x"') == (
        '<p class="&quot;x&quot;">a &lt; b<b>c</b></p>'
    )
    assert "<td>&lt;i&gt;</td>" in table(["a", "b"], [["row", "<i>"]])


def test_times(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    assert read_benchmark(path) is None
    path.write_text("s\th:m:s\tmax_rss\n105.5\t0:01:45\t921.7\n")
    measured = read_benchmark(path)
    assert measured is not None
    assert (measured.seconds, measured.megabytes) == (105.5, 921.7)
    path.write_text("s\th:m:s\tmax_rss\n0.2\t0:00:00\t-\n")
    assert read_benchmark(path).megabytes is None
    path.write_text("s\th:m:s\n")
    assert read_benchmark(path) is None
    assert [duration(s) for s in (9.6, 105, 3725)] == ["10 s", "1 min 45 s", "1 h 2 min"]


def test_cautions(tmp_path: Path) -> None:
    light = {"exposure_stops": 1.25, "white_balance_stops": 0.1, "differ": ["2.jpg", "4.jpg"]}
    facts = {"left_out": ["3.jpg"], "total": 9, "models": [8], "light": light}
    write(tmp_path / "colmap" / "sfm.json", facts)
    objects = [{"id": 4, "persistence": 0.4}, {"id": 5, "persistence": 1.0}]
    objects.append({"id": 6, "persistence": None})
    merged = [{"area_px": 5, "views": ["1"], "into": label} for label in (4, 5, 0)]
    # A photograph without a camera, which tracking leaves out too, is no object without a class.
    write(
        tmp_path / "tracking" / "objects.json",
        {"objects": objects, "merged": merged, "left_out": ["3.jpg"]},
    )
    found = {"cup": {"ids": []}, "pot": {"ids": [4]}}
    write(tmp_path / "grounding" / "selection.json", {"prompts": found})
    true = [{"gt_id": 1, "id": 5}, {"gt_id": 2, "id": 0}, {"gt_id": 3, "id": None}]
    quality = write(tmp_path / "quality.json", {"objects": true})
    coverage = {
        "test_views": 4, "test_views_rendered": 3, "masks_annotated": 6,
        "masks_missing": [[2, "cup"]],
    }  # fmt: skip
    run = {"variant": "igd", "seed": 1, "coverage": coverage}
    groundings = {"igd, seed 1": tmp_path / "grounding"}
    unused = [
        Unused(file="b.jpg", why="unreadable", detail="cut"),
        *(Unused(file=f"{k} copy.jpg", why="copy", detail=f"{k}.jpg") for k in (1, 2)),
    ]
    lines = cautions(unused, tmp_path / "colmap", tmp_path / "tracking", groundings, [run], quality)
    assert lines == [
        "1 photograph cannot be read and was skipped: b.jpg",
        "2 files have the picture of another and are not used: 1 copy.jpg (as 1.jpg), "
        "2 copy.jpg (as 2.jpg)",
        "1 of 9 photographs has no camera and takes no part: 3.jpg",
        "exposure changes by up to 1.2 stops and white balance by up to 0.1, most in 2.jpg, 4.jpg",
        "lost tracks: 1 of 3 objects keeps its ID in less than half of its views: ID 4",
        "2 objects are beyond the number of classes and taken as part of others",
        "1 object is beyond the number of classes and without an ID",
        "2 of 3 true objects never got an ID of their own: object 2, object 3",
        "igd, seed 1: no ID was found for cup",
        "igd, seed 1: 1 of 6 annotated masks has no prediction: 2, cup",
        "igd, seed 1: 3 of 4 held-out views are rendered",
    ]
    assert some(range(9)) == "0, 1, 2, 3, 4, 5 and 3 more"


def test_the_timeline_has_runs_gaps_and_switches(tmp_path: Path) -> None:
    views = [f"v{number}" for number in range(6)]
    entry = {"id": 2, "area_px": 5, "views": ["v0", "v1", "v4"], "switched": [["v4", 1]]}
    other = {"id": 1, "area_px": 9, "views": views, "switched": []}
    write(tmp_path / "objects.json", {"objects": [other, entry]})
    (tmp_path / "objects").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "objects" / "2.png")
    text = timeline(tmp_path, views, {2: "a <mug>"})
    first, second = text.split('class="object"')[1:]
    assert re.findall(r'<rect x="(\d+)" y="(\d)" width="(\d+)"', first) == [("0", "0", "6")]
    assert re.findall(r'<rect x="(\d+)" y="(\d)" width="(\d+)"', second) == [
        *(("0", "0", "2"), ("4", "0", "1"), ("4", "1", "1")),
    ]
    assert "ID 2: v0 to v1" in second
    assert "v4: matched points say ID 1" in second
    assert "2 a &lt;mug&gt;" in second
    assert "3 of 6 views" in second
    assert second.count("<img") == 1
    assert first.count("<img") == 0


def test_a_crop_shows_the_outline_where_it_is() -> None:
    """Between columns 9 and 10 of a window that begins at column 5."""
    picture = np.zeros((40, 60, 3), np.uint8)
    edges = np.array([[[9.5, 9.5], [9.5, 29.5]], [[50.5, 0.5], [50.5, 9.5]]])
    crop = np.asarray(_crop(picture, edges, (10, 5, 20, 30)))
    scale = crop.shape[1] // 30
    assert scale == 10
    columns = np.flatnonzero(crop[100, :, 0])
    assert abs(columns.mean() + 0.5 - 5 * scale) <= 1
    assert len(columns) <= 4


def metrics(variant: str, seed: int, miou: float) -> dict[str, Any]:
    scores = dict.fromkeys(("mbiou", "object_miou", "object_mbiou", "psnr", "ssim", "lpips"))
    return {
        "variant": variant, "seed": seed, "num_gaussians": 100 + seed, "aggregation": "strict",
        "grounding": "manual", "summary": scores | {"miou": miou},
        "not_available": {"psnr": "nothing is held out"}, "coverage": {},
    }  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Two variants of a scene; the second one's pictures are all white."""
    root = tmp_path_factory.mktemp("page") / "balls"
    made = trained_scene.make(root)
    config = RenderConfig(rasterizer="reference")
    render_views(made.scene, made.colmap, made.train, made.render, config, threads=1)
    white = root / "gradiseg" / "seed0" / "render"
    shutil.copytree(made.render, white)
    about = json.loads((white / "render.json").read_text())
    write(white / "render.json", about | {"variant": "gradiseg"})
    for path in (white / "color").iterdir():
        Image.new("RGB", Image.open(path).size, "white").save(path)
    stems = sorted(path.stem for path in (made.tracking / "ids").glob("*.png"))
    ball = {"id": 3, "area_px": 9, "views": stems, "switched": [], "persistence": 1.0}
    write(made.tracking / "objects.json", {"objects": [ball]})
    write(made.grounding / "names.json", {"objects": [{"id": 3, "name": "red ball"}]})
    Image.new("RGB", (30, 20), "yellow").save(root / "curves.png")
    runs = [metrics("baseline", 0, 0.5), metrics("gradiseg", 0, 0.6), metrics("gradiseg", 1, 0.8)]
    scored = [write(root / f"{number}.json", run) for number, run in enumerate(runs)]
    benchmark = made.train.parent / "benchmarks" / "train.tsv"
    benchmark.parent.mkdir()
    benchmark.write_text("s\th:m:s\tmax_rss\n105.5\t0:01:45\t921.7\n")
    write(made.train / "versions.json", {"torch": "2.9", "cpu_count": 4})
    return Sources(
        made.scene, made.colmap, made.tracking, [white, made.render], [made.grounding],
        [made.train], scored, root / "curves.png",
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(sources: Sources) -> Path:
    out = sources.scene.parent / "report.html"
    write_scene_report(sources, out)
    return out


def test_pictures_are_of_the_right_variant(sources: Sources) -> None:
    _, zooms, pictures = compare(sources.scene, sources.colmap, list(sources.renders))
    assert len(pictures) == 2  # two of eight views are held out
    urls = pictures[0]
    assert list(urls) == ["truth", "baseline", "gradiseg"]
    shades = {}
    for name, layers in urls.items():
        content = base64.b64decode(layers["colour"].partition(",")[2])
        shades[name] = np.asarray(Image.open(io.BytesIO(content)), float)
    assert shades["gradiseg"].min() > 250
    assert np.abs(shades["truth"] - shades["baseline"]).mean() < 10  # the scene is its own truth
    assert zooms.count("<img") == 2 * 4  # photograph, truth, two variants


def test_the_page_has_it_all_and_fetches_nothing(page: Path) -> None:
    text = page.read_text()
    body = re.sub(r'(src|href)="data:[^"]*"', "", text)
    assert not re.search(r'(src|href)="|@import|url\(|https?://', body.replace("xmlns", ""))
    rows = {
        row[0]: row[1:]
        for line in re.findall(r"<tr>(.*?)</tr>", text)
        if (row := re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line))
    }
    assert rows["variant"] == ["mIoU of prompts, %", "Gaussians"]
    assert rows["baseline (Gaussian Grouping)"] == ["50.0", "100"]
    assert rows["GradiSeg (IGD + LA-KNN)"] == ["70.0 ± 14.1", "100 ± 1"]
    assert rows["train"] == ["1", "1 min 46 s", "1 min 46 s", "0.92 GB"]
    assert "No PSNR: nothing is held out." in text
    assert "trained on: cpu_count 4, torch 2.9" in text
    assert "3 red ball" in text
    assert "<h2>Warnings</h2><p>None.</p>" in text


def test_truth_and_prompts_are_named_only_where_there_are_any(
    sources: Sources, page: Path, tmp_path: Path
) -> None:
    said = ("White: the true outlines", "3 prompts", "prompts grounded by manual", "from the truth")
    assert all(text in page.read_text() for text in said)
    scene = tmp_path / "scene"
    shutil.copytree(sources.scene, scene, ignore=shutil.ignore_patterns("gt_ids", "test_mask"))
    manifest = json.loads((scene / "scene.json").read_text())
    manifest["has"] |= {"gt_ids": False, "test_mask": False}
    write(scene / "scene.json", manifest | {"prompts": []})
    run = metrics("baseline", 0, 0.5)
    run["summary"]["miou"] = None
    own = replace(sources, scene=scene, metrics=[write(tmp_path / "run.json", run)])
    for renders, note in (
        (sources.renders, "of the variants differ most from each other: the worst place"),
        (sources.renders[1:], "The middle of each view"),
    ):
        write_scene_report(replace(own, renders=renders), tmp_path / "report.html")
        text = re.sub(r'"data:[^"]*"', "", (tmp_path / "report.html").read_text())
        assert note in text
        assert "prompt" not in text
        assert not any(other in text for other in said)


def test_the_page_of_photographs_without_a_camera_is_linked(sources: Sources) -> None:
    out = sources.scene.parent / "linked.html"
    other = out.parent / "logs" / "photographs.html"
    other.parent.mkdir(exist_ok=True)
    other.write_text("<!doctype html>")
    write_scene_report(sources, out)
    assert '<a href="logs/photographs.html">photographs that take no part' in out.read_text()
    other.unlink()


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="no Chromium")
def test_the_slider_follows_mouse_and_keyboard(page: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        tab = browser.new_page(viewport={"width": 900, "height": 700})
        asked: list[str] = []
        problems: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text))
        tab.goto(page.as_uri())
        box = tab.locator(".pair").first.bounding_box()
        at = "document.querySelector('.pair').style.getPropertyValue('--at')"
        assert tab.evaluate(at) == "50%"
        tab.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 5)
        assert abs(float(tab.evaluate(at).rstrip("%")) - 20) <= 1
        tab.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 5)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 5, steps=4)
        tab.mouse.up()
        assert abs(float(tab.evaluate(at).rstrip("%")) - 70) <= 1
        tab.keyboard.press("Home")
        assert tab.evaluate(at) == "0%"
        over = "document.querySelector('.over').src"
        before = tab.evaluate(over)
        tab.select_option("#variant", "gradiseg")
        white = tab.evaluate(over)
        tab.select_option("#layer", "labels")
        assert len({before, white, tab.evaluate(over)}) == 3
        width = "document.documentElement.scrollWidth - innerWidth"
        for size in (900, 360):  # nothing sticks out
            tab.set_viewport_size({"width": size, "height": 700})
            assert tab.evaluate(width) <= 0
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert problems == []
        browser.close()
