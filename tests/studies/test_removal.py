"""Edits against rendered truth: what is rendered, and what the scores say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from docs.collect import collect
from gradiseg_core.config import edits as config
from gradiseg_core.editing.scene import Scene
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import write_id_map
from gradiseg_core.files.images import write_image
from studies.options import RemovalConfig, TabletopConfig
from studies.removal_scores import WAYS, Score, compare, operations, score, score_run
from studies.removal_tables import ids_file, swapped, without
from studies.removal_truth import render_truth
from studies.runs import collect_removals
from studies.tabletop.layout import arrange
from tests.editing.tables import make

CONFIG = TabletopConfig(width=64, height=48, views=3, test_views=2, objects=4, samples_per_pixel=1)


def test_without_and_swapped_leave_the_rest_where_it_was() -> None:
    things = arrange(CONFIG)
    names = [thing.prompt for thing in things]
    rest = without(things, names[1])
    assert [thing.prompt for thing in rest] == [names[0], *names[2:]]
    other = swapped(things, names[0], names[2])
    assert [thing.prompt for thing in other] == names
    for a, b in ((0, 2), (2, 0)):
        now, was = other[a].vertices, things[b].vertices
        np.testing.assert_allclose(
            0.5 * (now.min(axis=0) + now.max(axis=0))[:2],
            0.5 * (was.min(axis=0) + was.max(axis=0))[:2],
        )
        assert now[:, 2].min() == pytest.approx(was[:, 2].min())
    np.testing.assert_array_equal(other[1].vertices, things[1].vertices)
    with pytest.raises(InputError, match="no thing is called 'vase'; there are"):
        without(things, "vase")


def test_scores() -> None:
    truth = np.full((30, 40, 3), 100, np.uint8)
    before = truth.copy()
    before[10:20, 10:20] = (200, 20, 20)
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:20] = True

    def of(edited: np.ndarray) -> Score:
        return score({"a": edited}, {"a": truth}, {"a": before}, {"a": mask})

    perfect = of(truth)
    assert (perfect.residue, perfect.pixels) == (0.0, 18 * 18 - 4 * 10)
    assert perfect.ssim == pytest.approx(1.0)
    assert of(before).residue == 1.0
    half = truth.copy()
    half[10:20, 10:15] = before[10:20, 10:15]
    assert of(half).residue == 0.5
    assert of(before).psnr < of(half).psnr < perfect.psnr
    error = (100**2 + 2 * 80**2) / 3 * 100 / perfect.pixels
    assert of(before).psnr == pytest.approx(10 * np.log10(255**2 / error))
    same = score({"a": truth}, {"a": truth}, {"a": truth}, {"a": mask})
    assert same.residue is None  # nothing that could be seen was there
    with pytest.raises(InputError, match="no test view shows the object"):
        score({"a": truth}, {"a": truth}, {"a": truth}, {"a": ~mask & mask})


@pytest.mark.slow
def test_the_truth_is_the_table_without_the_object(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba", reason="renders views: pip install -e '.[studies]'")
    from gradiseg_core.files.id_maps import read_id_map
    from gradiseg_core.files.images import read_image
    from studies.tabletop.dataset import make_renderer, render_view
    from studies.tabletop.viewpoints import viewpoints

    things = arrange(CONFIG)
    found = render_truth(CONFIG, things[1:], tmp_path / "truth", threads=1)
    assert len(found) == 2
    shown = {int(i) for path in found.values() for i in np.unique(read_id_map(ids_file(path)))}
    assert shown == {0, 2, 3, 4}  # things keep their IDs
    index, camera = next(
        (i, camera) for i, (camera, is_test) in enumerate(viewpoints(CONFIG)) if is_test
    )
    renderer = make_renderer(CONFIG, threads=1)
    geometry = renderer.geometry(camera)
    whole = render_view(renderer, CONFIG, index, 0, geometry)
    own = renderer.object_ids(geometry) == 1
    truth = read_image(found[camera.name])
    change = np.abs(truth.astype(int) - whole.astype(int)).mean(axis=-1)
    assert own.any()
    assert change[own].mean() > 5 * change[~own].mean()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_removes_and_swaps(way: str) -> None:
    for whats in ([1], [1, 2]):
        (step,) = config.operations(operations(way, whats))
        assert step.name == ("remove" if len(whats) == 1 else "swap")
        assert step.fill is (way not in {"threshold_hull", "class", "clean"})
        assert step.cut is (way not in {"threshold_hull", "class"})
        assert step.shadow is (len(whats) == 1 and way != "clean_fill")


def test_what_two_hulls_share_is_swapped_once() -> None:
    (step,) = operations("threshold_hull", [1, 2])
    first, second = step["swap"]
    assert first == {"of": 1, "probability": 0.3, "hull": True}
    assert second == {"of": {**first, "of": 2}, "without": first}


def test_pixels_of_a_thing_count_where_it_was_and_where_it_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, _ = make()
    view = next(iter(scene.cameras))
    camera = scene.cameras[view]
    was, now = np.zeros((2, camera.height, camera.width), np.int32)
    was[8:12, 8:12], now[8:12, 30:34] = 1, 1
    folder = tmp_path / "scene"
    monkeypatch.setattr(type(scene.run), "manifest", folder)
    picture = np.zeros((*was.shape, 3), np.uint8)
    write_image(folder / "images" / view, picture)
    write_id_map(folder / "gt_ids" / f"{camera.stem}.png", was)
    truth = tmp_path / "truth" / f"{camera.stem}.png"
    write_image(truth, picture)
    write_id_map(ids_file(truth), now)
    scores = compare(scene, {view: truth}, [1], {"same": []}, tmp_path / "out")
    assert scores["same"]["pixels"] == 2 * (12 * 12 - 4 * 10)


def test_runs_are_scored_and_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = make()
    seen: list[tuple[str, bool]] = []

    def compare(
        scene: Scene, truth: object, ids: list[int], edits: dict[str, list[object]], out_dir: Path
    ) -> dict[str, dict[str, object]]:
        seen.extend((out_dir.name, bool(edit)) for edit in edits.values())
        return {
            way: {"psnr": 20.0 + sum(ids), "ssim": 0.5, "residue": 0.1 if edit else None}
            for way, edit in edits.items()
        }

    monkeypatch.setattr("studies.removal_scores.compare", compare)
    monkeypatch.setattr("studies.removal_scores.load", lambda run, device: scene)
    names = [thing.prompt for thing in arrange(CONFIG)]
    out = tmp_path / "table" / "gradiseg_plus" / "seed3" / "removal" / "scores.json"
    out.parent.mkdir(parents=True)
    edits = RemovalConfig(things=tuple(names[:2]), swaps=((names[0], names[1]),)).edits
    one, two, both = edits
    assert both.startswith("swap_")
    rows = score_run(out.parents[1], CONFIG, edits, ["class", "clean"], tmp_path / "truth", out)
    # The scene has a box of ID 1 alone: where the second thing is meant it stays as it is.
    assert seen == [(one, True)] * 2 + [(two, False)] * 2 + [(both, False)] * 2
    assert [(row["edit"], row["things"], row["way"], row["found"]) for row in rows] == [
        ("remove", names[:1], "class", True), ("remove", names[:1], "clean", True),
        ("remove", names[1:2], "class", False), ("remove", names[1:2], "clean", False),
        ("swap", names[:2], "class", False), ("swap", names[:2], "clean", False),
    ]  # fmt: skip
    assert json.loads(out.read_text()) == rows
    # A result file names the commits of all runs that it holds.
    out.write_text(json.dumps([{**row, "commit": f"c{row['way'] == 'clean':d}"} for row in rows]))
    table = tmp_path / "all.json"
    runs = collect_removals([out], table)
    assert json.loads(table.read_text())["runs"] == runs
    assert [run["variant"] for run in runs] == [
        "gradiseg_plus, class", "gradiseg_plus, clean",
        "gradiseg_plus, swap, class", "gradiseg_plus, swap, clean",
    ]  # fmt: skip
    assert [(run["seed"], run["region_psnr"], run["residue"]) for run in runs] == [
        (3, 21.5, 0.1), (3, 21.5, 0.1), (3, 23.0, None), (3, 23.0, None)
    ]  # fmt: skip
    assert runs[0]["things"] == {names[0]: [21.0, 0.1], names[1]: [22.0, None]}
    monkeypatch.setattr("docs.collect.DOCS", tmp_path)
    (tmp_path / "results").mkdir()
    kept = json.loads(collect(table, "removal", {"command": "c", "commit": "now"}).read_text())
    assert kept["about"]["commit"] == "c0, c1"
    assert "commit" not in kept["runs"][0]
