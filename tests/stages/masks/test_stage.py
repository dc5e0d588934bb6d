"""The stage: files, processes, resuming, given masks, and what goes wrong."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config import backends
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.config.masks import MasksConfig
from gradiseg_core.errors import BackendUnavailableError, GradisegError, InputError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.ignore import write_ignored
from gradiseg_core.files.images import read_image
from gradiseg_core.files.undistort import warp_map
from gradiseg_core.stages.masks.backends import graph
from gradiseg_core.stages.masks.backends.graph import segment
from gradiseg_core.stages.masks.stage import generate
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.masks.drawings import drawing
from tests.stages.sfm.scenes import lens, poses, write_manifest, write_sparse

NAMES = [f"view_{index}.png" for index in range(4)]
TRAIN = [name[:-4] for name in NAMES[1:]]


def _prepare(folder: Path, model: str = "PINHOLE") -> tuple[Path, Path]:
    scene_dir, colmap_dir = folder / "scene", folder / "colmap"
    (scene_dir / "images").mkdir(parents=True)
    picture, _ = drawing(180, 240)
    for index, name in enumerate(NAMES):
        Image.fromarray(np.roll(picture, 7 * index, axis=1)).save(scene_dir / "images" / name)
    write_manifest(scene_dir, NAMES, test=(NAMES[0],))
    write_sparse(scene_dir / "sparse", lens(model), dict(zip(NAMES, poses(4), strict=True)))
    reconstruct(scene_dir, colmap_dir, ColmapConfig(), seed=0, threads=1)
    return scene_dir, colmap_dir


@pytest.fixture
def scene(tmp_path):
    return _prepare(tmp_path)


def test_training_views_only_and_the_same_on_two_processes(scene, tmp_path):
    scene_dir, colmap_dir = scene
    one = generate(scene_dir, colmap_dir, tmp_path / "one", MasksConfig(), threads=1)
    two = generate(scene_dir, colmap_dir, tmp_path / "two", MasksConfig(), threads=2)
    assert one == two == json.loads((tmp_path / "one" / "masks.json").read_text())
    assert one["backend"] == "graph"
    assert list(one["views"]) == TRAIN
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == [
        "masks.json",
        *(f"{stem}.png" for stem in TRAIN),
    ]
    for stem, count in one["views"].items():
        ids = read_id_map(tmp_path / "one" / f"{stem}.png")
        image = read_image(colmap_dir / "images" / f"{stem}.png")
        np.testing.assert_array_equal(ids, segment(image, MasksConfig().options))
        np.testing.assert_array_equal(ids, read_id_map(tmp_path / "two" / f"{stem}.png"))
        assert len(np.unique(ids[ids > 0])) == count
        with Image.open(tmp_path / "one" / f"{stem}.png") as file:
            assert file.mode == "I;16"


def test_processes_from_a_script_without_guard(scene, tmp_path):
    """As Snakemake runs it: a bare script, which the workers must not run again."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
from pathlib import Path
from gradiseg_core.stages.masks.stage import generate
from gradiseg_core.config.masks import MasksConfig
print("started")
generate(Path({str(scene[0])!r}), Path({str(scene[1])!r}), Path({str(tmp_path / "out")!r}),
         MasksConfig(), threads=2)
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("started") == 1
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_finished_views_are_kept(scene, tmp_path, monkeypatch):
    scene_dir, colmap_dir = scene
    made: list[str] = []

    def counting(image, config):
        made.append("view")
        return segment(image, config)

    monkeypatch.setattr(graph, "segment", counting)
    work, out = tmp_path / "work", tmp_path / "out"
    generate(scene_dir, colmap_dir, out, MasksConfig(), threads=1, work_dir=work)
    assert len(made) == 3
    shutil.rmtree(out)
    (work / "view_2.png").unlink()  # as if killed before this view
    result = generate(scene_dir, colmap_dir, out, MasksConfig(), threads=1, work_dir=work)
    assert len(made) == 4
    assert list(result["views"]) == TRAIN
    assert len(list(out.glob("*.png"))) == 3

    changed = read_image(colmap_dir / "images" / "view_1.png").copy()
    changed[:20] = 0
    Image.fromarray(changed).save(colmap_dir / "images" / "view_1.png")
    generate(scene_dir, colmap_dir, out, MasksConfig(), threads=1, work_dir=work)
    assert len(made) == 5  # the changed photograph only
    other = MasksConfig.model_validate({"graph": {"merge_threshold": 3.0}})
    generate(scene_dir, colmap_dir, out, other, threads=1, work_dir=work)
    assert len(made) == 8  # all: the parameters changed


def test_views_without_a_camera_are_left_out(scene, tmp_path, caplog):
    scene_dir, colmap_dir = scene
    (colmap_dir / "images" / "view_2.png").unlink()
    (tmp_path / "out").mkdir()
    Image.new("I;16", (4, 4)).save(tmp_path / "out" / "view_2.png")  # of an earlier run
    with caplog.at_level(logging.WARNING):
        result = generate(scene_dir, colmap_dir, tmp_path / "out", MasksConfig(), threads=1)
    assert list(result["views"]) == ["view_1", "view_3"]
    assert "view_2.png" in caplog.text
    assert not (tmp_path / "out" / "view_2.png").exists()


@dataclass
class _Fixed:
    ids: np.ndarray
    max_processes: int | None = 1

    def segments(self, name):
        return self.ids

    def fingerprint(self, name):
        return "fixed"


def test_more_segments_than_16_bits(scene, tmp_path, monkeypatch):
    many = np.arange(180 * 240).reshape(180, 240) * 2
    monkeypatch.setattr(graph, "run", lambda request: _Fixed(many))
    with pytest.raises(GradisegError, match=r"`graph`, view view_1\.png: .* up to 86398.*65535"):
        generate(*scene, tmp_path / "out", MasksConfig(), threads=2)
    assert not list((tmp_path / "out").iterdir())
    monkeypatch.setattr(graph, "run", lambda request: _Fixed(many % 65536))
    generate(*scene, tmp_path / "out", MasksConfig(), threads=2)
    assert read_id_map(tmp_path / "out" / "view_1.png").max() == 65534


@pytest.mark.parametrize(
    ("ids", "wrong"),
    [
        (np.full((180, 240), -1), "the ID -1"),
        (np.zeros((180, 240), np.float32), "type float32"),
        (np.zeros((180, 240), bool), "type bool"),
        (np.zeros((240, 180), int), r"shape \[240, 180\]"),
        (np.zeros((180, 240, 1), int), r"shape \[180, 240, 1\]"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_segments_of_the_view_is_refused(scene, tmp_path, monkeypatch, ids, wrong):
    monkeypatch.setattr(graph, "run", lambda request: _Fixed(ids))
    message = rf"masks backend `graph`, view view_1\.png: returned .*{wrong}.*\[180, 240\]"
    with pytest.raises(GradisegError, match=message):
        generate(*scene, tmp_path / "out", MasksConfig(), threads=1)
    assert not list((tmp_path / "out").iterdir())


def test_unknown_backend():
    with pytest.raises(BackendUnavailableError, match=r"'snap'.*graph, precomputed, sam"):
        backends.load("masks", "snap")


def _write_ids(folder: Path, mode: str) -> dict[str, np.ndarray]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    maps = {}
    for stem in TRAIN:
        ids = rng.integers(0, 200, (18, 24)).repeat(10, 0).repeat(10, 1)
        if mode == "I;16":
            ids = ids * 300
        picture = Image.fromarray(ids.astype(np.uint16 if mode == "I;16" else np.uint8))
        if mode == "P":
            picture = picture.copy()
            picture.putpalette(list(rng.integers(0, 256, 768)))
        picture.save(folder / f"{stem}.png")
        maps[stem] = ids
    return maps


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_precomputed(scene, tmp_path, mode):
    maps = _write_ids(tmp_path / "given", mode)
    config = MasksConfig(backend="precomputed", precomputed={"folder": tmp_path / "given"})
    result = generate(*scene, tmp_path / "out", config, threads=1)
    for stem, ids in maps.items():
        np.testing.assert_array_equal(read_id_map(tmp_path / "out" / f"{stem}.png"), ids)
        assert result["views"][stem] == len(np.unique(ids[ids > 0]))


def test_precomputed_defaults_to_the_scenes_own(scene, tmp_path):
    config = MasksConfig(backend="precomputed")
    with pytest.raises(InputError, match=r"object_mask.*masks\.precomputed\.folder"):
        generate(*scene, tmp_path / "out", config, threads=1)
    maps = _write_ids(scene[0] / "object_mask", "L")
    generate(*scene, tmp_path / "out", config, threads=1)
    np.testing.assert_array_equal(read_id_map(tmp_path / "out" / "view_3.png"), maps["view_3"])


def test_precomputed_is_undistorted(tmp_path):
    scene_dir, colmap_dir = _prepare(tmp_path, "SIMPLE_RADIAL")
    maps = _write_ids(tmp_path / "given", "I;16")
    config = MasksConfig(backend="precomputed", precomputed={"folder": tmp_path / "given"})
    generate(scene_dir, colmap_dir, tmp_path / "out", config, threads=2)
    ids = read_id_map(tmp_path / "out" / "view_1.png")
    assert ids.shape == read_image(colmap_dir / "images" / "view_1.png").shape[:2]
    np.testing.assert_array_equal(ids, warp_map(colmap_dir, "view_1.png", maps["view_1"]))
    assert ids.shape != maps["view_1"].shape


def test_precomputed_missing_wrong_size_or_coloured(scene, tmp_path):
    given = tmp_path / "given"
    config = MasksConfig(backend="precomputed", precomputed={"folder": given})
    with pytest.raises(InputError, match=r"correct `masks\.precomputed\.folder`"):
        generate(*scene, tmp_path / "out", config, threads=1)
    _write_ids(given, "L")
    (given / "view_2.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 training views: view_2\.png"):
        generate(*scene, tmp_path / "out", config, threads=1)
    Image.new("L", (120, 90)).save(given / "view_2.png")
    with pytest.raises(InputError, match=r"view_2\.png.*120 x 90 px.*240 x 180"):
        generate(*scene, tmp_path / "out", config, threads=2)
    Image.new("RGB", (240, 180), "red").save(given / "view_2.png")
    with pytest.raises(InputError, match=r"view_2\.png has 3 channels"):
        generate(*scene, tmp_path / "out", config, threads=1)


def test_ignored_pixels_have_no_segment_and_a_new_mask_makes_the_view_anew(scene, tmp_path):
    scene_dir, colmap_dir = scene
    run = {"threads": 1, "work_dir": tmp_path / "work"}
    generate(scene_dir, colmap_dir, tmp_path / "plain", MasksConfig(), **run)
    ignored = np.zeros((180, 240), bool)
    ignored[30:90, 40:120] = True
    write_ignored(colmap_dir, TRAIN[0], ignored)
    generate(scene_dir, colmap_dir, tmp_path / "masked", MasksConfig(), **run)
    for stem in TRAIN:
        plain = read_id_map(tmp_path / "plain" / f"{stem}.png")
        masked = read_id_map(tmp_path / "masked" / f"{stem}.png")
        expected = np.where(ignored, 0, plain) if stem == TRAIN[0] else plain
        assert plain[ignored].any()
        assert np.array_equal(masked, expected)
