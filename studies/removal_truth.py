"""Renders the truth of an edit: a table's test views with other things on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradiseg_core.files.images import write_image
from studies.options import TabletopConfig
from studies.removal_tables import truth_files
from studies.tabletop.dataset import develop_view
from studies.tabletop.objects import Thing
from studies.tabletop.renderer import Renderer
from studies.tabletop.room import lights, room_parts
from studies.tabletop.viewpoints import viewpoints


def render_truth(
    config: TabletopConfig, things: Sequence[Thing], folder: Path, *, threads: int = 2
) -> dict[str, Path]:
    """Render the test views of a table with other things; those that lie in ``folder`` are kept.

    Returns:
        Files by the name of the view.
    """
    room = room_parts(np.random.default_rng([config.seed, 4]), config.texture_strength)
    renderer = None
    files = truth_files(config, folder)
    for index, (camera, is_test) in enumerate(viewpoints(config)):
        if is_test and not files[camera.name].is_file():
            if renderer is None:
                renderer = Renderer(things, room, lights(), threads=threads)
            geometry = renderer.geometry(camera)
            picture = develop_view(renderer, config, camera, index, seed=0, geometry=geometry)
            write_image(files[camera.name], picture)
    return files
