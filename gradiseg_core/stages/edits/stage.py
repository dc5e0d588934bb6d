"""One edit of one trained scene, and pictures of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute.cpu_runtime import set_threads
from gradiseg_core.config.base import Device
from gradiseg_core.config.edits import Operation, with_weights
from gradiseg_core.editing.operations import apply
from gradiseg_core.editing.run import check_output
from gradiseg_core.editing.scene import Scene, load
from gradiseg_core.editing.turntable import write_turntable
from gradiseg_core.files.images import write_image
from gradiseg_core.files.pictures import panel_row, shown_photograph

logger = logging.getLogger(__name__)

#: Most views that are shown where the scene has no test views.
_STAND_INS = 4


def edit_run(
    *,
    run_dir: Path,
    out_dir: Path,
    edit: Sequence[Operation],
    device: Device = "auto",
    threads: int | None = None,
    video: bool = True,
    lama: Path | None = None,
) -> Scene:
    """Edit a trained scene and write the result; the trained scene stays as it is.

    Writes the edited scene in the trained scene's format, ``edit.json`` (what was done, and how
    many Gaussians each operation touched), ``views/<view>.png`` (held-out views before and after,
    side by side; training views where there is none) and ``turntable.mp4``.

    Args:
        run_dir: `<results>/<scene>/<variant>/seed<n>`, or an edited scene.
        out_dir: Folder to write.
        edit: Operations, done one after the other.
        device: Where Gaussians are rendered.
        threads: CPU threads; None: all.
        video: Whether the turntable is written.
        lama: LaMa's downloaded file, for operations that name none.

    Raises:
        InputError: If an operation means something that there is not, or ``out_dir`` holds a
            trained scene or the one that is edited.
        BackendUnavailableError: Without a package or GPU that is needed.
    """
    if threads is not None:
        set_threads(threads)
    check_output(out_dir, run_dir)
    if lama is not None:
        edit = with_weights(edit, lama)
    scene = load(run_dir, device=device)
    edited, records = apply(scene, edit)
    edited.history = (*scene.history, *records)
    edited.save(out_dir)
    for view in shown_views(scene):
        write_image(
            out_dir / "views" / f"{scene.camera(view).stem}.png", beside(scene, edited, view)
        )
    if video and scene.cameras:
        write_turntable(out_dir / "turntable.mp4", edited)
    logger.info("%s: %d Gaussians, before %d", out_dir, len(edited), len(scene))
    return edited


def shown_views(scene: Scene) -> list[str]:
    """Return the held-out views; without any, some others, evenly spread."""
    held_out = [name for name, split in scene.splits.items() if split == "test"]
    if held_out:
        return held_out
    names = list(scene.cameras)
    count = min(_STAND_INS, len(names))
    return [names[round(i * (len(names) - 1) / max(1, count - 1))] for i in range(count)]


def beside(before: Scene, after: Scene, view: str) -> NDArray[np.uint8]:
    """Return a view's photograph, where it is there, and the renderings before and after."""
    camera = before.camera(view)
    panels = [
        (title, (255.0 * scene.render(camera).color + 0.5).astype(np.uint8))
        for title, scene in (("before", before), ("after", after))
    ]
    colmap = before.run.colmap
    if colmap is not None and (colmap / "images" / camera.name).is_file():
        size = camera.width, camera.height
        panels.insert(0, ("photograph", shown_photograph(colmap, camera.name, size)))
    return panel_row(panels)
