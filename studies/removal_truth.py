"""Renders the truth of an edit: a table's test views with other things on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradiseg_core.files.id_maps import write_id_map
from gradiseg_core.files.images import write_image
from studies.options import TabletopConfig
from studies.removal_tables import ids_file, index_of, truth_files
from studies.tabletop.dataset import develop_view
from studies.tabletop.layout import arrange
from studies.tabletop.objects import Thing
from studies.tabletop.renderer import Renderer
from studies.tabletop.room import lights, room_parts
from studies.tabletop.viewpoints import viewpoints


def render_truth(
    config: TabletopConfig, things: Sequence[Thing], folder: Path, *, threads: int = 2
) -> dict[str, Path]:
    """Render the test views of a table with other things, and their exact IDs.

    Things keep the IDs that they have in the table itself. What lies in ``folder`` is kept.

    Returns:
        Pictures by the name of the view; :func:`ids_file` tells where their IDs lie.
    """
    files = truth_files(config, folder)
    wanted = [
        (index, camera)
        for index, (camera, is_test) in enumerate(viewpoints(config))
        if is_test and not (files[camera.name].is_file() and ids_file(files[camera.name]).is_file())
    ]
    if not wanted:
        return files
    room = room_parts(np.random.default_rng([config.seed, 4]), config.texture_strength)
    renderer = Renderer(things, room, lights(), threads=threads)
    seen = {}
    for index, camera in wanted:
        geometry = seen[camera.name] = renderer.geometry(camera)
        if not files[camera.name].is_file():
            picture = develop_view(renderer, config, camera, index, seed=0, geometry=geometry)
            write_image(files[camera.name], picture)
    table = arrange(config)
    numbers = np.array([0, *(index_of(table, thing.prompt) + 1 for thing in things)])
    for name, geometry in seen.items():  # after all rendering: object_ids says why
        write_id_map(ids_file(files[name]), numbers[renderer.object_ids(geometry)])
    return files
