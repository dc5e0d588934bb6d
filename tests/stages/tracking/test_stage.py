"""The whole stage: files, limits, given ID maps, contact sheet, consistency."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gradiseg_core.config import backends
from gradiseg_core.config.root import load
from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import BackendUnavailableError, GradisegError, InputError
from gradiseg_core.files.id_maps import read_id_map, write_id_map
from gradiseg_core.files.ignore import write_ignored
from gradiseg_core.files.palette import id_colors
from gradiseg_core.stages.tracking import stage, thumbnails
from gradiseg_core.stages.tracking.consistency import track_consistency
from gradiseg_core.stages.tracking.contact_sheet import (
    CAPTION,
    GAP,
    OPACITY,
    PICTURE_HEIGHT,
    PICTURE_WIDTH,
    SWATCH,
    THUMB_WIDTH,
    contact_sheet,
    evenly,
)
from gradiseg_core.stages.tracking.overflow import areas, limit_ids, renumber
from gradiseg_core.stages.tracking.stage import Association, associate
from tests.stages.tracking import blobs as synthetic

RUN = {"max_ids": 256, "seed": 0, "threads": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    blobs = synthetic.make(num_views=8)
    return blobs, *synthetic.write(blobs, tmp_path_factory.mktemp("blobs"), num_test=1)


def test_outputs_of_sfm(folders, tmp_path):
    blobs, scene_dir, colmap_dir, masks_dir = folders
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "stale.png").touch()
    summary = associate(
        Association(scene_dir, colmap_dir, masks_dir, TrackingConfig(backend="sfm"), **RUN),
        tmp_path,
    )
    assert json.loads((tmp_path / "objects.json").read_text()) == json.loads(json.dumps(summary))
    stems = [view.camera.stem for view in blobs.views[:-1]]
    assert sorted(path.stem for path in (tmp_path / "ids").iterdir()) == stems
    assert [entry["id"] for entry in summary["objects"]] == list(range(1, blobs.table + 1))
    assert summary["num_ids"] == blobs.table
    assert summary["unlabelled_share"] == 0.0
    # Largest first: the table is ID 1, and its pixels are those of the exact map.
    ids = read_id_map(tmp_path / "ids" / f"{stems[0]}.png")
    assert np.array_equal(ids == 1, blobs.exact[0] == blobs.table)
    assert Image.open(tmp_path / "ids" / f"{stems[0]}.png").mode.startswith("I")
    assert summary["id_consistency"] == 1.0
    assert all(entry["switches"] == 0 for entry in summary["objects"])
    pixels = sum(entry["area_px"] for entry in summary["objects"])
    assert pixels == len(stems) * synthetic.WIDTH * synthetic.HEIGHT


def test_contact_sheet_has_the_palette(folders, tmp_path, monkeypatch):
    _, scene_dir, colmap_dir, masks_dir = folders
    monkeypatch.setattr(stage, "SHEET_VIEWS", 4)
    associate(
        Association(scene_dir, colmap_dir, masks_dir, TrackingConfig(backend="sfm"), **RUN),
        tmp_path,
    )
    sheet = np.asarray(Image.open(tmp_path / "contact_sheet.png"))
    palette = id_colors(6)
    # Top left of the first thumbnail is the table (ID 1) over a grey photograph of 200.
    expected = OPACITY * palette[1] + (1 - OPACITY) * 200
    assert np.abs(sheet[GAP + 2, GAP + 2] - expected).max() <= 1
    height = round(synthetic.HEIGHT * THUMB_WIDTH / synthetic.WIDTH)
    ids = read_id_map(tmp_path / "ids" / "view_00.png")
    rows, columns = np.nonzero(ids == 2)
    y = GAP + int((rows.mean() + 0.5) * height / synthetic.HEIGHT)
    x = GAP + int((columns.mean() + 0.5) * THUMB_WIDTH / synthetic.WIDTH)
    assert np.abs(sheet[y, x] - (OPACITY * palette[2] + (1 - OPACITY) * 200)).max() <= 1
    # The legend shows every ID's pure colour on a square.
    for label in range(1, 6):
        assert (sheet == palette[label]).all(axis=2).sum() >= (SWATCH - 2) ** 2


def test_every_object_has_a_picture(folders, tmp_path, monkeypatch):
    """In the folder, in the list and on the sheet; none is left of an earlier run."""
    _, scene_dir, colmap_dir, masks_dir = folders
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "99.png").touch()
    monkeypatch.setattr(thumbnails, "MOST", 4)
    summary = associate(
        Association(scene_dir, colmap_dir, masks_dir, TrackingConfig(backend="sfm"), **RUN),
        tmp_path,
    )
    paths = {entry["id"]: entry["thumbnail"] for entry in summary["objects"]}
    largest = sorted(paths, key=lambda i: -summary["objects"][i - 1]["area_px"])[:4]
    assert paths == {i: f"objects/{i}.png" if i in largest else None for i in paths}
    assert None in paths.values()
    assert {path.name for path in (tmp_path / "objects").iterdir()} == {f"{i}.png" for i in largest}
    sheet = np.asarray(Image.open(tmp_path / "contact_sheet.png"))
    for entry in summary["objects"]:
        if entry["thumbnail"] is None:
            assert entry["best_view"] is None
            continue
        assert entry["best_view"] in entry["views"]
        picture = Image.open(tmp_path / entry["thumbnail"])
        assert max(picture.size) == thumbnails.SIDE
        picture.thumbnail((PICTURE_WIDTH, PICTURE_HEIGHT))
        row = np.asarray(picture)[-1]
        windows = np.lib.stride_tricks.sliding_window_view(sheet, row.shape[0], axis=1)
        assert (windows == row.T[None, None]).all(axis=(2, 3)).any()


def test_the_sheet_has_letters_of_names(tmp_path):
    """None is drawn as the box of what a font lacks; long names end within their thumbnail."""
    (tmp_path / "images").mkdir()

    def caption(stem):
        photograph = tmp_path / "images" / f"{stem}.png"
        Image.new("RGB", (24, 16), "grey").save(photograph)
        ids = {stem: np.zeros((16, 24), np.int32)}
        sheet = contact_sheet(ids, {stem: photograph}, {}, {}, max_views=1)
        top = GAP + round(THUMB_WIDTH * 16 / 24)
        return sheet[top : top + CAPTION]

    lacking = caption("\ue000")
    for letter in "üÄ№\u2013…é":
        assert not np.array_equal(caption(letter), lacking), letter
    assert np.array_equal(caption("u\u0308"), caption("ü"))
    assert (caption("W" * 80)[:, GAP + THUMB_WIDTH :] == 255).all()


def test_views_of_the_sheet_are_even():
    assert evenly(list("abcdefghi"), 3) == ["a", "e", "i"]
    assert evenly(["a", "b"], 5) == ["a", "b"]


def test_given_maps_are_renumbered_or_kept(folders, tmp_path):
    blobs, scene_dir, colmap_dir, _ = folders
    rename = np.array([0, 40, 7, 255, 300, 0])
    for view, exact in zip(blobs.views, blobs.exact, strict=True):
        write_id_map(tmp_path / "given" / f"{view.camera.stem}.png", rename[exact])
    options = {"folder": tmp_path / "given"}
    config = TrackingConfig(backend="precomputed", precomputed=options)
    out = tmp_path / "out"
    summary = associate(Association(scene_dir, colmap_dir, None, config, **RUN), out)
    assert [entry["id"] for entry in summary["objects"]] == [1, 2, 3, 4]
    size = {i: sum((exact == i).sum() for exact in blobs.exact[:-1]) for i in range(1, 5)}
    assert [e["area_px"] for e in summary["objects"]] == sorted(size.values(), reverse=True)
    by_area = sorted(size, key=lambda i: (-size[i], rename[i]))
    assert [e["given_ids"] for e in summary["objects"]] == [[int(rename[i])] for i in by_area]
    kept = TrackingConfig(backend="precomputed", precomputed=options | {"keep_ids": True})
    with pytest.raises(InputError, match=r"largest given ID is 300, of 4 objects.*keep_ids"):
        associate(Association(scene_dir, colmap_dir, None, kept, **RUN), out)
    summary = associate(
        Association(scene_dir, colmap_dir, None, kept, **RUN | {"max_ids": 301}), out
    )
    assert [entry["id"] for entry in summary["objects"]] == [7, 40, 255, 300]
    assert [entry["given_ids"] for entry in summary["objects"]] == [[7], [40], [255], [300]]
    assert np.array_equal(read_id_map(out / "ids" / "view_00.png"), rename[blobs.exact[0]])


def test_classes_go_by_objects_and_not_by_what_they_are_called(folders, tmp_path):
    """`num_classes: auto` with kept IDs up to 56,000 would make 56,001 classes."""
    blobs, scene_dir, colmap_dir, _ = folders
    rename = np.array([0, 40, 7, 255, 56_000, 0])
    for view, exact in zip(blobs.views, blobs.exact, strict=True):
        write_id_map(tmp_path / "given" / f"{view.camera.stem}.png", rename[exact])
    raw = {
        "scenes": {"k": {"source": "demo"}},
        "train": {"num_classes": "auto"},
        "tracking": {
            "backend": "precomputed",
            "precomputed": {"folder": tmp_path / "given", "keep_ids": True},
        },
    }
    out = tmp_path / "out"

    def run():
        settings = load(raw)
        run = RUN | {"max_ids": settings.num_classes("k")}
        config = settings.section("k", "tracking")
        return associate(Association(scene_dir, colmap_dir, None, config, **run), out)

    with pytest.raises(InputError, match=r"ID is 56000, of 4 objects.*56001 classes.*keep_ids"):
        run()
    raw["tracking"]["precomputed"]["keep_ids"] = False
    summary = run()
    assert summary["num_ids"] == 4
    assert {i for entry in summary["objects"] for i in entry["given_ids"]} == {40, 7, 255, 56_000}


def test_given_maps_are_checked(folders, tmp_path):
    _, scene_dir, colmap_dir, _ = folders
    given = tmp_path / "given"

    def run():
        config = TrackingConfig(backend="precomputed", precomputed={"folder": given})
        associate(Association(scene_dir, colmap_dir, None, config, **RUN), tmp_path / "out")

    with pytest.raises(InputError, match="is not a folder"):
        run()
    for index in range(7):
        write_id_map(given / f"view_{index:02d}.png", np.zeros((synthetic.HEIGHT, 128), int))
    with pytest.raises(InputError, match="are 0"):
        run()
    write_id_map(given / "view_03.png", np.ones((5, 9), int))
    with pytest.raises(InputError, match=r"view_03\.png is 9 x 5 px.*128 x 96 px"):
        run()
    (given / "view_05.png").unlink()
    with pytest.raises(InputError, match="view_05"):
        run()
    with pytest.raises(InputError, match="object_mask"):
        associate(
            Association(scene_dir, colmap_dir, None, TrackingConfig(backend="precomputed"), **RUN),
            tmp_path,
        )


def test_unknown_backend_names_the_known_ones():
    with pytest.raises(BackendUnavailableError, match="deva, geometry, precomputed, sfm"):
        backends.load("tracking", "tracker")


def test_renumbering_is_dense_by_area():
    maps, new_id = renumber({"a": np.array([[0, 9, 9, 4]]), "b": np.array([[4, 4, 9, 65000]])})
    assert new_id == {4: 1, 9: 2, 65000: 3}
    assert maps["b"].tolist() == [[1, 1, 2, 3]]


def test_overflow_is_an_error_or_a_merge_but_never_wraps():
    # Areas 8, 6, 3, 2, 1; 5 borders 3 along 1 px, 4 borders 2 along two and 3 along one.
    ids = np.array([[1, 1, 1, 1, 2, 2, 4, 0], [1, 1, 1, 1, 2, 2, 4, 3], [5, 0, 0, 0, 2, 2, 3, 3]])
    ids[2, 0], ids[2, 7] = 0, 5
    ids = np.pad(ids, ((0, 0), (0, 1)))
    ids[2, 7], ids[2, 8] = 3, 5
    assert areas({"v": ids}) == {1: 8, 2: 6, 3: 3, 4: 2, 5: 1}
    assert limit_ids({"v": ids}, 6, "error")[1] == []
    with pytest.raises(InputError, match=r"5 objects were found.*4 classes"):
        limit_ids({"v": ids}, 4, "error")
    maps, merged = limit_ids({"v": ids}, 4, "merge_smallest")
    assert areas(maps) == {1: 8, 2: 8, 3: 4}
    assert [(m["area_px"], m["into"]) for m in merged] == [(2, maps["v"][0, 4]), (1, 3)]
    assert maps["v"][2, 8] == maps["v"][2, 7]  # 5 went into 3, which it borders
    assert maps["v"][0, 6] == maps["v"][0, 5]  # 4 went into 2


def test_an_isolated_overflow_object_becomes_background():
    ids = np.array([[1, 1, 1, 0, 2]])
    maps, merged = limit_ids({"v": ids}, 2, "merge_smallest")
    assert maps["v"].tolist() == [[1, 1, 1, 0, 0]]
    assert merged == [{"area_px": 1, "views": ["v"], "into": 0}]


def test_track_consistency_by_hand():
    maps = {"a": np.array([[1, 1, 2, 0]]), "b": np.array([[1, 2, 2, 0]])}
    at = np.array([[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [3.5, 0.5]])
    seen = {"a": (at, np.array([0, 1, 2, 3])), "b": (at, np.array([0, 1, 2, 3]))}
    result = track_consistency(maps, seen, 5)
    # Point 1 has IDs 1 and 2: a tie, so ID 1; one of the six labelled observations disagrees.
    assert result["id_consistency"] == pytest.approx(5 / 6)
    assert result["unlabelled"] == pytest.approx(2 / 8)
    assert result["tracks"] == 3
    assert result["objects"][1] == {
        "tracks": 2, "views_seen": 2, "persistence": 1.0, "switches": 0, "switched": []
    }  # fmt: skip
    assert result["views"] == {
        "a": {"observations": 3, "agrees": 1.0},
        "b": {"observations": 3, "agrees": pytest.approx(2 / 3)},
    }
    assert result["alike"] == []  # one common track is fewer than MIN_ALIKE


def test_track_consistency_sees_a_switch():
    at = np.array([[0.5, 0.5], [1.5, 0.5]])
    seen = {stem: (at, np.array([0, 1])) for stem in "abc"}
    maps = {"a": np.array([[3, 3]]), "b": np.array([[3, 3]]), "c": np.array([[4, 4]])}
    result = track_consistency(maps, seen, 2)
    assert result["id_consistency"] == pytest.approx(4 / 6)
    assert result["objects"][3]["switches"] == 1
    assert result["objects"][3]["switched"] == [["c", 4]]
    assert result["alike"] == []
    assert result["objects"][3]["persistence"] == pytest.approx(2 / 3)
    assert track_consistency(maps, {}, 2)["id_consistency"] is None


def test_track_consistency_pairs_the_fragments_of_one_object():
    at = np.array([[x + 0.5, 0.5] for x in range(4)])
    seen = {stem: (at, np.arange(4)) for stem in "abcd"}
    # Points 0..2 are ID 1 in two views and ID 5 in the others; point 3 is ID 2 everywhere.
    maps = {stem: np.array([[5, 5, 5, 2] if stem > "b" else [1, 1, 1, 2]]) for stem in "abcd"}
    (pair,) = track_consistency(maps, seen, 4)["alike"]
    assert pair == {"ids": [1, 5], "tracks": 3, "share": 1.0, "together": 0}


def test_the_report_says_what_is_wrong_and_the_log_warns(folders, tmp_path, caplog):
    blobs, scene_dir, colmap_dir, _ = folders
    for index, (view, exact) in enumerate(zip(blobs.views, blobs.exact, strict=True)):
        # From the fifth view on, object 1 is called 9; in the third, objects 2 and 3 are swapped.
        rename = np.array([0, 9 if index >= 4 else 1, *((3, 2) if index == 2 else (2, 3)), 4, 5])
        write_id_map(tmp_path / "given" / f"{view.camera.stem}.png", rename[exact])
    options = {"folder": tmp_path / "given", "keep_ids": True}
    config = TrackingConfig(backend="precomputed", precomputed=options)
    summary = associate(Association(scene_dir, colmap_dir, None, config, **RUN), tmp_path / "bad")
    text = (tmp_path / "bad" / "report.md").read_text()
    assert "| 1 and 9 |" in text
    assert "| view_02 |" in text
    by_id = {entry["id"]: entry for entry in summary["objects"]}
    assert by_id[3]["switched"] == [["view_02", 2]]
    assert "view_02: 2" in text
    assert summary["repair"] is None
    assert "## Repair" not in text
    good = TrackingConfig(backend="precomputed", repair="sfm", precomputed=options)
    caplog.clear()
    summary = associate(Association(scene_dir, colmap_dir, None, good, **RUN), tmp_path / "good")
    assert summary["repair"]["id_consistency_before"] < 0.95
    assert summary["repair"]["id_consistency_after"] == summary["id_consistency"] > 0.995
    assert [entry["id"] for entry in summary["objects"]] == [1, 2, 3, 4, 5]  # names survive
    assert np.array_equal(read_id_map(tmp_path / "good" / "ids" / "view_02.png"), blobs.exact[2])
    text = (tmp_path / "good" / "report.md").read_text()
    assert "6 IDs became 5, 0 of them new" in text
    assert "Every object that can be judged keeps its ID" in text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids: ids - 1, r"view view_00: returned the ID -1"),
        (lambda ids: ids.T, r"view view_00: returned an array of shape \[128, 96\]"),
        (lambda ids: ids / 1.0, r"view view_00: returned values of type float64"),
        (None, r"returned no ID map of view_00\."),
    ],
)
def test_what_a_backend_returns_is_checked(folders, tmp_path, monkeypatch, change, message):
    from gradiseg_core.stages.tracking.backends import sfm

    _, scene_dir, colmap_dir, masks_dir = folders
    run = sfm.run

    def broken(request):
        tracked = run(request)
        ids = tracked.maps.pop("view_00")
        if change is not None:
            tracked.maps["view_00"] = change(np.maximum(ids, 1) * (ids != ids.max()))
        return tracked

    monkeypatch.setattr(sfm, "run", broken)
    with pytest.raises(GradisegError, match=rf"tracking backend `sfm`,? {message}"):
        associate(
            Association(scene_dir, colmap_dir, masks_dir, TrackingConfig(backend="sfm"), **RUN),
            tmp_path,
        )


def test_a_low_consistency_warns(folders, tmp_path, caplog):
    blobs, scene_dir, colmap_dir, _ = folders
    rng = np.random.default_rng(0)
    for view, exact in zip(blobs.views, blobs.exact, strict=True):
        write_id_map(
            tmp_path / "given" / f"{view.camera.stem}.png", (1 + rng.permutation(6))[exact]
        )
    config = TrackingConfig(backend="precomputed", precomputed={"folder": tmp_path / "given"})
    associate(Association(scene_dir, colmap_dir, None, config, **RUN), tmp_path / "out")
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "before training" in warning.message
    assert "report.md" in warning.message
    assert "contact_sheet.png` before training" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(("made_by", "join"), [("graph", "always"), ("precomputed", "never")])
def test_only_masks_that_know_no_objects_are_joined(
    folders, tmp_path, monkeypatch, made_by: str, join: str
):
    from gradiseg_core.stages.tracking import sfm_tracks

    _, scene_dir, colmap_dir, masks_dir = folders
    asked = []
    solve = sfm_tracks.solve

    def spy(views, xyz, config):
        asked.append(config.join)
        return solve(views, xyz, config)

    monkeypatch.setattr(sfm_tracks, "solve", spy)
    about = masks_dir / "masks.json"
    about.write_text(json.dumps({"backend": made_by, "views": {}}))
    associate(
        Association(scene_dir, colmap_dir, masks_dir, TrackingConfig(backend="sfm"), **RUN),
        tmp_path,
    )
    about.unlink()
    assert asked == [join]


def test_ignored_pixels_have_no_object(folders, tmp_path):
    blobs, scene_dir, colmap_dir, masks_dir = folders
    shutil.copytree(colmap_dir, tmp_path / "colmap")
    ignored = np.zeros((synthetic.HEIGHT, synthetic.WIDTH), bool)
    ignored[:, :40] = True
    stem = blobs.views[0].camera.stem
    write_ignored(tmp_path / "colmap", stem, ignored)
    config = TrackingConfig(backend="sfm")
    summary = associate(
        Association(scene_dir, tmp_path / "colmap", masks_dir, config, **RUN), tmp_path / "out"
    )
    ids = read_id_map(tmp_path / "out" / "ids" / f"{stem}.png")
    assert not ids[ignored].any()
    assert ids[~ignored].all()
    assert summary["unlabelled_share"] == 0.0  # of the pixels that are not ignored
