"""Backend `geometry`: from a tracking request to IDs, on exact depth instead of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import SceneView
from gradiseg_core.geometry import prepare as preparing
from gradiseg_core.stages.tracking.interface import Request, Tracked
from gradiseg_core.stages.tracking.quality import assess_maps
from tests.geometry.ray_casting import Cast, cast


def track(views: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch, **options) -> Tracked:
    config = TrackingConfig(backend="geometry", geometry=options)
    assert not config.needs_masks
    assert config.weights() == {}
    given = []
    (folder / "images").mkdir(parents=True)
    for number, photograph in enumerate(views.photographs):
        name = f"v{number:02}.png"
        Image.fromarray(photograph).save(folder / "images" / name)
        given.append(SceneView(name=name, split="train", width=1, height=1))

    def prepare(colmap_dir, names, chosen, seed):
        assert names == [view.name for view in given]
        assert (chosen.iterations, seed) == (options.get("iterations", 1000), 3)
        return preparing.Renderings(views.cameras, views.depths, views.alphas, views.colours)

    monkeypatch.setattr(preparing, "prepare", prepare)
    return config.chosen.run(Request(folder, folder, None, given, config.options, 3, 1))


def test_touching_things_have_one_id_each_in_all_views(tmp_path, monkeypatch) -> None:
    views = cast(width=320, height=240)
    tracked = track(views, tmp_path, monkeypatch, iterations=50)
    assert list(tracked.maps) == [f"v{number:02}" for number in range(len(views.ids))]
    scores = assess_maps(list(tracked.maps.values()), views.ids)
    assert scores["accuracy"] > 0.98
    assert (scores["switches"], scores["fragments"], scores["merges"]) == (0, 0, 0)
    assert [entry["id"] for entry in tracked.details["found"]] == [1, 2, 3]


def test_without_a_surface_the_error_says_what_to_take(tmp_path, monkeypatch) -> None:
    with pytest.raises(InputError, match=r"3 views are too few.*tracking\.backend: sfm"):
        track(cast(3), tmp_path, monkeypatch)
