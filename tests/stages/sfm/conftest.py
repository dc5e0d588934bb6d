"""One reconstruction of the tiny room corner through a distorting lens, shared by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradiseg_core.cameras import Camera
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.stages.sfm.stage import reconstruct
from tests.stages.sfm.scenes import make_scene

SEED = 3
CONFIG = ColmapConfig(max_features=500)


@dataclass(frozen=True)
class Corner:
    scene_dir: Path
    colmap_dir: Path
    work_dir: Path
    report: dict[str, Any]
    cameras: dict[str, Camera]
    walls: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Corner:
    folder = tmp_path_factory.mktemp("corner")
    scene_dir, colmap_dir, work_dir = folder / "scene", folder / "colmap", folder / "work"
    cameras, walls = make_scene(scene_dir, model="SIMPLE_RADIAL")
    report = reconstruct(scene_dir, colmap_dir, CONFIG, seed=SEED, threads=2, work_dir=work_dir)
    return Corner(scene_dir, colmap_dir, work_dir, report, cameras, walls)
