"""A tiny rendered tabletop."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.stages.scene.stage import prepare
from studies.options import TabletopConfig
from studies.tabletop.dataset import make_tabletop


@pytest.fixture(scope="session")
def tiny_config() -> TabletopConfig:
    return TabletopConfig(
        width=64, height=48, views=3, test_views=2, samples_per_pixel=2, write_sparse=True,
        sparse_points=600,
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_table(
    tmp_path_factory: pytest.TempPathFactory, tiny_config: TabletopConfig
) -> tuple[Path, SceneManifest]:
    """The folder, and what stage `scene` says of it."""
    pytest.importorskip("mitsuba", reason="renders the table: pip install -e '.[studies]'")
    folder = tmp_path_factory.mktemp("tables") / "tiny"
    make_tabletop(tiny_config, folder, name="tiny", seed=0, threads=1)
    config = SceneConfig(source="lerf_mask", path=folder)
    return folder, prepare(config, tmp_path_factory.mktemp("scene") / "scene", name="tiny")
