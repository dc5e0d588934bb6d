"""The report's plots: what they read, what they choose to show, and that they come out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core import plot_style as style
from gradiseg_core.config.render import RenderConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.stages.rendering.stage import render_views
from gradiseg_core.stages.report.curves import plot_curves, read_log, running_median
from gradiseg_core.stages.report.qualitative import (
    _densest,
    _disagreement,
    _edges,
    plot_qualitative,
)
from gradiseg_core.stages.report.quality import plot_quality
from tests import trained_scene


def write_log(folder: Path, variant: str, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"variant": variant, "seed": seed}))
    lines = [
        {
            "iteration": step, "loss": 1 / step, "l1": 0.5 / step, "ssim": 1 - 1 / step,
            "identity_loss": 0.1, "spatial_loss": 0.01 if step % 10 == 0 else None,
            "num_gaussians": 100 * step, "it_per_s": 30.0,
        }
        for step in range(5, 105, 5)
    ]  # fmt: skip
    lines[-1]["eval_psnr"] = 30.0
    (folder / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return folder


def test_log_is_read_by_key_without_gaps(tmp_path: Path) -> None:
    log = read_log(write_log(tmp_path / "train", "igd", 3))
    assert (log.variant, log.seed) == ("igd", 3)
    steps, values = log.series("spatial_loss")
    np.testing.assert_array_equal(steps, np.arange(10, 105, 10))
    np.testing.assert_array_equal(values, 0.01)
    assert log.series("eval_psnr")[0].tolist() == [100.0]
    assert len(log.series("unheard_of")[0]) == 0


def test_running_median_by_hand() -> None:
    values = np.array([1.0, 9.0, 2.0, 3.0, 100.0])
    np.testing.assert_array_equal(running_median(values, 3), [5.0, 2.0, 3.0, 3.0, 51.5])


def test_curves(tmp_path: Path) -> None:
    folders = [write_log(tmp_path / v, v) for v in ("gradiseg", "baseline", "my own")]
    plot_curves(folders, tmp_path / "out" / "curves.png", title="kitchen")
    assert Image.open(tmp_path / "out" / "curves.png").size[0] > 1500
    plot_curves(folders[:1], tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text()
    plot_curves(folders[:1], tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text  # equal runs, equal files


def test_curves_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train stage"):
        plot_curves([tmp_path], tmp_path / "curves.png")
    folder = write_log(tmp_path / "train", "igd")
    (folder / "metrics.jsonl").write_text("{oops\n")
    with pytest.raises(InputError, match="not JSON"):
        plot_curves([folder], tmp_path / "curves.png")
    (folder / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match="no metrics"):
        plot_curves([folder], tmp_path / "curves.png")


def test_quality(tmp_path: Path) -> None:
    paths = []
    keys = ("miou", "mbiou", "object_miou", "object_mbiou", "psnr", "ssim")
    for variant in ("baseline", "gradiseg"):
        for seed in (0, 1):
            summary = dict.fromkeys(keys, 0.8 + 0.1 * seed) | {"object_miou": None}
            paths.append(tmp_path / f"{variant}{seed}.json")
            content = {"variant": variant, "seed": seed, "summary": summary}
            paths[-1].write_text(json.dumps(content))
    plot_quality(paths, tmp_path / "quality.png", title="all")
    assert Image.open(tmp_path / "quality.png").size[0] > 1000
    content["summary"] = dict.fromkeys(keys)
    content["not_available"] = dict.fromkeys(keys, "no test views: the scene holds none out")
    paths[0].write_text(json.dumps(content))
    plot_quality(paths[:1], tmp_path / "none.svg")
    assert "no test views" in (tmp_path / "none.svg").read_text()
    with pytest.raises(InputError, match="no metrics"):
        plot_quality([], tmp_path / "none.png")


def test_comparison_of_training_views(tmp_path: Path) -> None:
    folders = trained_scene.make(tmp_path / "scene")
    manifest = json.loads((folders.scene / "scene.json").read_text())
    for view in manifest["views"]:
        view |= {"split": "train", "test_index": None}
    (folders.scene / "scene.json").write_text(json.dumps(manifest))
    config = RenderConfig(rasterizer="reference")
    render_views(folders.scene, folders.colmap, folders.train, folders.render, config, threads=1)
    plot_qualitative(folders.scene, folders.colmap, [folders.render], tmp_path / "out.svg")
    assert (tmp_path / "out.svg").read_text().count("(training view)") == 3


def test_qualitative(tmp_path: Path) -> None:
    folders = trained_scene.make(tmp_path / "scene")
    config = RenderConfig(rasterizer="reference")
    render_views(folders.scene, folders.colmap, folders.train, folders.render, config, threads=1)
    other = tmp_path / "igd" / "render"
    shutil.copytree(folders.render, other)
    about = json.loads((other / "render.json").read_text())
    (other / "render.json").write_text(json.dumps(about | {"variant": "igd"}))
    ids = read_id_map(other / "ids" / "view_000.png")
    write_id_map(other / "ids" / "view_000.png", np.roll(ids, 4, axis=0))
    renders = [other, folders.render]
    plot_qualitative(folders.scene, folders.colmap, renders, tmp_path / "with_truth.png")
    shutil.rmtree(folders.scene / "gt_ids")
    shutil.rmtree(folders.scene / "test_mask")
    plot_qualitative(folders.scene, folders.colmap, renders, tmp_path / "without.png", max_views=1)
    heights = [Image.open(tmp_path / name).size[1] for name in ("with_truth.png", "without.png")]
    assert heights[0] > 1.5 * heights[1]  # two views against one
    with pytest.raises(InputError, match="nothing to compare"):
        plot_qualitative(folders.scene, folders.colmap, [], tmp_path / "none.png")


def test_crop_lies_where_labels_are_wrong_most() -> None:
    wrong = np.zeros((40, 60), dtype=np.int64)
    wrong[30:34, 50:55] = 1
    wrong[5, 5] = 3
    top, left, height, width = _densest(wrong, 0.25)
    assert (height, width) == (10, 15)
    assert top <= 30
    assert top + height >= 34
    assert left <= 50
    assert left + width >= 55
    assert _densest(np.zeros((40, 60), dtype=np.int64), 0.25) == (15, 22, 10, 15)


def test_disagreement_by_hand() -> None:
    truth = np.array([[1, 1, 1, 0, 0]])
    ids = np.array([[7, 7, 0, 0, 7]])
    # ID 7 means object 1 (two of three pixels), ID 0 means background or object 1 (one each: 0).
    np.testing.assert_array_equal(_disagreement(ids, truth), [[False, False, True, False, True]])


def test_edges_run_between_pixels() -> None:
    edges = _edges(np.array([[1, 1, 2], [1, 1, 1]]))
    # Left of and below the 2, whose pixel spans x 1.5..2.5 and y -0.5..0.5.
    assert edges.tolist() == [[[1.5, -0.5], [1.5, 0.5]], [[1.5, 0.5], [2.5, 0.5]]]


def test_every_variant_has_its_own_look() -> None:
    variants = ["baseline", "igd", "la_knn", "gradiseg"]
    assert len({style.color(variant) for variant in variants}) == 4
    assert len({style.marker(variant) for variant in variants}) == 4
    assert style.order({"gradiseg", "zzz", "baseline"}) == ["baseline", "gradiseg", "zzz"]
    assert style.ink("la_knn") != style.ink("baseline")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("title", ["Küche", "台所"])
def test_a_title_whose_script_the_font_lacks_is_left_out(tmp_path: Path, title: str) -> None:
    assert style.can_draw(title) == (title == "Küche")
    with_title, without = tmp_path / "a.png", tmp_path / "b.png"
    folder = write_log(tmp_path / "train", "baseline")
    plot_curves([folder], with_title, title=title)
    plot_curves([folder], without)
    same = with_title.read_bytes() == without.read_bytes()
    assert same == (title == "台所")
