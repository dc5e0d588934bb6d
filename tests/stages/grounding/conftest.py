"""A trained scene whose held-out views are rendered."""

from __future__ import annotations

import pytest

from gradiseg_core.config.render import RenderConfig
from gradiseg_core.stages.rendering.stage import render_views
from tests import trained_scene
from tests.trained_scene import Folders


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folders = trained_scene.make(tmp_path_factory.mktemp("trained"))
    config = RenderConfig(rasterizer="reference")
    render_views(folders.scene, folders.colmap, folders.train, folders.render, config, threads=1)
    return folders


@pytest.fixture(scope="module")
def folders(rendered: Folders) -> Folders:
    return rendered
