"""Backend `geometry`: from the files of stage `geometry` to IDs of all views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.cameras import Frame
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.geometry import (
    CUTS,
    depth_unit,
    load_geometry,
    save_depth,
    save_facts,
    save_surface,
)
from gradiseg_core.geometry.find import segment_scene, to_save
from gradiseg_core.geometry.options import GeometryOptions
from gradiseg_core.stages.tracking.quality import assess_maps
from gradiseg_core.stages.tracking.stage import Association, associate
from tests.geometry.ray_casting import Cast, cast, write_cast

VIEWS = 13


@pytest.fixture(scope="module")
def views() -> Cast:
    return cast(VIEWS, 320, 240)


@pytest.fixture(scope="module")
def root(views: Cast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with what stage `geometry` writes, of its training views and its test view."""
    root = tmp_path_factory.mktemp("tracked")
    write_cast(views, root)
    out = root / "geometry"
    train = slice(0, VIEWS - 1)
    segmented = segment_scene(
        views.depths[train], views.alphas[train], views.colours[train], views.cameras[train],
        GeometryOptions(),
    )  # fmt: skip
    out.mkdir()
    save_surface(out, to_save(segmented), Frame())
    unit = depth_unit(max(float(depth.max()) for depth in views.depths))
    for camera, depth in zip(views.cameras, views.depths, strict=True):
        save_depth(out, camera.stem, depth, unit)
    facts = {"verdict": "found", "reason": None, "agreement": 0.9, "support": None}
    facts |= {"depth_unit": unit, "measured": segmented.diagnostics}
    save_facts(out, facts | {"views": [camera.stem for camera in views.cameras]}, Frame())
    return root


def track(root: Path, out: Path, split: str = "train", **options) -> tuple[dict, list]:
    from gradiseg_core.files.id_maps import read_id_map

    config = TrackingConfig(backend="geometry", geometry=options)
    assert (config.needs_masks, config.weights()) == (False, {})
    summary = associate(
        Association(
            root / "scene",
            root / "colmap",
            None,
            config,
            max_ids=64,
            seed=0,
            threads=1,
            geometry_dir=root / "geometry",
            split=split,
        ),
        out,
    )
    return summary, [read_id_map(path) for path in sorted((out / "ids").iterdir())]


def test_touching_things_have_one_id_each_in_all_views(
    views: Cast, root: Path, tmp_path: Path
) -> None:
    summary, maps = track(root, tmp_path)
    assert len(maps) == VIEWS - 1
    scores = assess_maps(maps, views.ids[:-1])
    assert scores["accuracy"] > 0.98
    assert (scores["switches"], scores["fragments"], scores["merges"]) == (0, 0, 0)
    assert [entry["id"] for entry in summary["details"]["found"]] == [1, 2, 3]
    assert summary["instead_of_geometry"] is None


def test_the_method_in_2d_has_ids_of_test_views(views: Cast, root: Path, tmp_path: Path) -> None:
    _, maps = track(root, tmp_path, split="all")
    assert len(maps) == VIEWS
    assert assess_maps(maps[-1:], views.ids[-1:])["accuracy"] > 0.97


def test_ignored_pixels_say_nothing_about_thin_things_and_outlines(
    views: Cast, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks of the files reach both; what they do there is tested beside them."""
    import shutil

    from gradiseg_core.files.ignore import write_ignored
    from gradiseg_core.geometry import labelling

    (tmp_path / "scene").symlink_to(root / "scene")
    (tmp_path / "geometry").symlink_to(root / "geometry")
    shutil.copytree(root / "colmap", tmp_path / "colmap")
    hand = np.zeros((240, 320), bool)
    hand[100:140, 150:200] = True
    write_ignored(tmp_path / "colmap", views.cameras[2].stem, hand)
    given: dict[str, list] = {"thin": [], "outlines": []}
    find_thin, decide = labelling.find_thin, labelling.decide

    def thin(*args):
        given["thin"] += args[-1]
        return find_thin(*args)

    def outlines(*args):
        given["outlines"].append(args[-1])
        return decide(*args)

    monkeypatch.setattr(labelling, "find_thin", thin)
    monkeypatch.setattr(labelling, "decide", outlines)
    _, maps = track(tmp_path, tmp_path / "out")
    for masks in given.values():
        assert [number for number, mask in enumerate(masks) if mask is not None] == [2]
        assert np.array_equal(masks[2], hand)
    assert (maps[2][hand] == 0).all()


def test_another_cut_is_read(root: Path, tmp_path: Path) -> None:
    """Not computed: the file says what the cuts are."""
    surface = load_geometry(root / "geometry").surface
    for name in CUTS:
        summary, maps = track(root, tmp_path / name, granularity=name)
        assert summary["details"]["granularity"] == name
        assert max(ids.max() for ids in maps) == surface.cuts[name].max()


def test_a_cut_without_objects_is_refused(root: Path, tmp_path: Path) -> None:
    import shutil
    from dataclasses import replace

    shutil.copytree(root / "geometry", tmp_path / "geometry")
    surface = load_geometry(root / "geometry").surface
    cuts = {**surface.cuts, "parts": np.zeros_like(surface.cuts["parts"])}
    save_surface(tmp_path / "geometry", replace(surface, cuts=cuts), Frame())
    for part in ("scene", "colmap"):
        (tmp_path / part).symlink_to(root / part)
    with pytest.raises(InputError, match="granularity: parts leaves no object"):
        track(tmp_path, tmp_path / "out", granularity="parts")


def test_flat_things_come_from_joined_segments(
    views: Cast, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradiseg_core.config.backends import load
    from gradiseg_core.files.id_maps import read_id_map
    from gradiseg_core.stages.tracking.interface import Tracked

    config = TrackingConfig(geometry={"flat": True}, sfm={"min_views": 5})
    found = config.after_geometry(failed=False)
    assert found.needs_masks
    assert found.association.min_views == 5
    assert [path.name for path in found.files] == ["geometry.py", "sfm.py"]
    sheet = []
    for ids in views.ids:
        rows, columns = np.nonzero(ids == 0)
        map_ = np.where(ids == 1, 7, 0).astype(np.int32)  # a box, which geometry has found
        map_[rows[-300:], columns[-300:]] = 9
        sheet.append(map_)

    def joined(request):
        assert (request.masks_dir, request.options.min_views) == (tmp_path / "masks", 5)
        stems = [view.stem for view in request.views]
        return Tracked(dict(zip(stems, sheet, strict=False)), False, {})

    monkeypatch.setattr(load("tracking", "sfm").module, "run", joined)
    job = Association(
        root / "scene", root / "colmap", tmp_path / "masks", found, max_ids=64, seed=0, threads=1,
        geometry_dir=root / "geometry",
    )  # fmt: skip
    associate(job, tmp_path / "out")
    maps = [read_id_map(path) for path in sorted((tmp_path / "out" / "ids").iterdir())]
    new = set(np.unique(maps[0][sheet[0] == 9])) - {0}
    assert max(ids.max() for ids in maps) == 4
    assert len(new) == 1
    assert not (maps[0][sheet[0] != 9] == new.pop()).any()


def test_it_becomes_sfm_where_nothing_was_found() -> None:
    config = TrackingConfig(geometry={"granularity": "parts"}, sfm={"min_views": 3})
    assert config.backend == "geometry"
    assert config.may_need_masks
    found = config.after_geometry(failed=False)
    assert (found.backend, found.needs_masks, found.association) == ("geometry", False, None)
    assert TrackingConfig(**found.model_dump(mode="json")) == found
    assert [path.name for path in found.files] == ["geometry.py"]
    failed = config.after_geometry(failed=True)
    assert (failed.backend, failed.needs_masks, failed.options.min_views) == ("sfm", True, 3)
    assert TrackingConfig(**failed.model_dump(mode="json")) == failed
    other = TrackingConfig(backend="sfm")
    assert other.after_geometry(failed=True) is other
