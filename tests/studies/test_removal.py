"""Edits against rendered truth: what is rendered, and what the scores say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gradiseg_core.editing.scene import Scene
from gradiseg_core.errors import InputError
from studies.options import TabletopConfig
from studies.removal_scores import Score, score, score_run
from studies.removal_tables import folder_of, swapped, without
from studies.removal_truth import render_truth
from studies.runs import collect_removals
from studies.tabletop.layout import arrange
from tests.editing.test_removal import make

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
    from gradiseg_core.files.images import read_image
    from studies.tabletop.dataset import make_renderer, render_view
    from studies.tabletop.viewpoints import viewpoints

    things = arrange(CONFIG)
    found = render_truth(CONFIG, things[1:], tmp_path / "truth", threads=1)
    assert len(found) == 2
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


def test_runs_are_scored_and_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = make()
    seen: list[tuple[str, bool]] = []

    def compare(
        scene: Scene, truth: object, ids: list[int], edits: dict[str, list[object]], out_dir: Path
    ) -> dict[str, dict[str, object]]:
        seen.extend((out_dir.name, bool(edit)) for edit in edits.values())
        return {
            way: {"psnr": 20.0 + ids[0], "ssim": 0.5, "residue": 0.1 if edit else None, "pixels": 9}
            for way, edit in edits.items()
        }

    monkeypatch.setattr("studies.removal_scores.compare", compare)
    monkeypatch.setattr("studies.removal_scores.load", lambda run, device: scene)
    names = [thing.prompt for thing in arrange(CONFIG)]
    out = tmp_path / "table" / "gradiseg_plus" / "seed3" / "removal" / "scores.json"
    out.parent.mkdir(parents=True)
    rows = score_run(out.parents[1], CONFIG, names[:2], ["class", "clean"], tmp_path / "truth", out)
    # The scene has a box of ID 1 alone: the second thing stays, and is scored as it is.
    assert seen == [(folder_of(names[0]), True)] * 2 + [(folder_of(names[1]), False)] * 2
    assert [(row["thing"], row["way"], row["found"]) for row in rows] == [
        (names[0], "class", True), (names[0], "clean", True),
        (names[1], "class", False), (names[1], "clean", False),
    ]  # fmt: skip
    assert json.loads(out.read_text()) == rows
    runs = collect_removals([out], tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text())["runs"] == runs
    assert [run["variant"] for run in runs] == ["gradiseg_plus, class", "gradiseg_plus, clean"]
    assert {(run["scene"], run["seed"], run["region_psnr"], run["residue"]) for run in runs} == {
        ("table", 3, 21.5, 0.1)
    }
    assert runs[0]["things"] == {names[0]: [21.0, 0.1], names[1]: [22.0, None]}
