"""The page draws what the core draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from gradiseg_core.config.view import ViewConfig
from gradiseg_core.files.palette import id_colors
from gradiseg_core.stages.view import splats as splats_module
from gradiseg_core.stages.view import stage as stage_module
from gradiseg_core.stages.view.stage import write_view
from tests.stages.view.browser import Viewer, psnr
from tests.stages.view.conftest import SIZE, Made, opened

pytestmark = pytest.mark.browser


def test_it_loads_without_a_word_of_the_console(view: Viewer) -> None:
    assert view.state == "ready"
    assert view.problems == []


@pytest.mark.parametrize("camera", range(0, 12, 2))
def test_colours_are_those_of_the_core(camera: int, view: Viewer, made: Made) -> None:
    drawn = view.picture(camera, *SIZE)
    assert psnr(drawn, made.scene.render(made.cameras[camera]).color) > 42


def test_a_larger_picture_is_that_of_the_core(view: Viewer, made: Made) -> None:
    camera = made.cameras[3].resized(400, 300)
    assert psnr(view.picture(3, 400, 300), made.scene.render(camera).color) > 42


def test_a_window_shows_more_around_a_photograph(view: Viewer, made: Made) -> None:
    """Wider than the photograph: the same rays, and the frame in the middle."""
    camera = made.cameras[5]
    K = camera.K.copy()
    K[0, 2] += 40
    wide = replace(camera, width=SIZE[0] + 80, K=K)
    drawn = view.picture(5, SIZE[0] + 80, SIZE[1])
    assert psnr(drawn, made.scene.render(wide).color) > 42


def test_depth_is_drawn_in_the_order_of_depths(view: Viewer, made: Made) -> None:
    """Nearer is brighter, by the ends that the legend names."""
    drawn = view.picture(1, *SIZE, "depth").sum(axis=-1)
    depth = made.scene.render(made.cameras[1])
    solid = depth.alpha > 0.98
    near, far = np.quantile(depth.depth[solid], [0.15, 0.85])
    bright, dark = (
        drawn[solid & (depth.depth < near)].mean(),
        drawn[solid & (depth.depth > far)].mean(),
    )
    assert bright > 0.3 + dark


def test_objects_have_the_colours_of_the_pictures_of_the_workflow(view: Viewer, made: Made) -> None:
    """45 % grey and 55 % of the palette."""
    camera = made.cameras[4]
    drawn, plain = view.picture(4, *SIZE, "objects"), view.picture(4, *SIZE)
    core = made.scene.render(camera)
    ids = np.where(core.alpha > 0.98, core.ids, 0)
    palette = id_colors(9) / 255.0
    for index in (1, 3, 5):
        # Away from the outline, where layers of others shine through.
        inside = binary_erosion(ids == index, iterations=2)
        assert inside.any()
        grey = plain[inside] @ [0.299, 0.587, 0.114]
        expected = 0.45 * grey[:, None] + 0.55 * palette[index]
        assert np.abs(drawn[inside] - expected).mean() < 0.05


def test_confidence_is_yellow_where_the_classifier_is_sure(view: Viewer, made: Made) -> None:
    """All of the balls' Gaussians are sure: the end of viridis, #fde725."""
    solid = made.scene.render(made.cameras[0]).alpha > 0.98
    drawn = view.picture(0, *SIZE, "confidence")[solid]
    assert np.abs(drawn - np.array([0xFD, 0xE7, 0x25]) / 255).max() < 0.05


def test_identities_differ_between_objects_and_agree_within(view: Viewer, made: Made) -> None:
    drawn = view.picture(4, *SIZE, "identity")
    core = made.scene.render(made.cameras[4])
    ids = np.where(core.alpha > 0.98, core.ids, 0)
    means = {index: np.median(drawn[ids == index], axis=0) for index in (1, 3, 5)}
    for index, mean in means.items():
        assert np.median(np.abs(drawn[ids == index] - mean)) < 0.06
        assert all(np.abs(mean - means[other]).max() > 0.15 for other in means if other != index)


def test_a_scene_without_harmonics_is_drawn(
    browser: Any, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = replace(made.scene.trained, metadata=made.scene.trained.metadata | {"sh_degree": 0})
    scene = type(made.scene)(plain, made.scene.run, made.scene.frame)
    monkeypatch.setattr(stage_module, "load", lambda *_, **__: scene)
    write_view(made.run, made.folders.tracking, tmp_path / "v.html", ViewConfig(), threads=1)
    viewer = opened(browser)
    viewer.open(tmp_path / "v.html")
    assert psnr(viewer.picture(2, *SIZE), scene.render(made.cameras[2]).color) > 42
    viewer.page.context.close()


def test_a_large_scene_s_rounding_costs_little(
    browser: Any, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above LEAN_ABOVE: degree 1, fewer bits. Degrees 2 and 3 here are noise of 0.08."""
    for module in (splats_module, stage_module):
        monkeypatch.setattr(module, "LEAN_ABOVE", 100)
    write_view(made.run, made.folders.tracking, tmp_path / "v.html", ViewConfig(), threads=1)
    viewer = opened(browser)
    viewer.open(tmp_path / "v.html")
    first = replace(made.scene.trained, metadata=made.scene.trained.metadata | {"sh_degree": 1})
    scene = type(made.scene)(first, made.scene.run, made.scene.frame)
    assert psnr(viewer.picture(2, *SIZE), scene.render(made.cameras[2]).color) > 36
    assert "rounded" in viewer.page.inner_text("#notes") or viewer.app("return app.scene.notes")
    viewer.page.context.close()


def test_nothing_is_drawn_while_nothing_changes(view: Viewer) -> None:
    view.page.wait_for_timeout(500)
    view.app(
        """app.renderer.calls = 0;
        const draw = app.renderer.draw;
        app.renderer.draw = function (...a) { this.calls++; return draw.apply(this, a); };"""
    )
    view.page.wait_for_timeout(700)
    assert view.app("const { calls } = app.renderer; delete app.renderer.draw; return calls;") == 0
