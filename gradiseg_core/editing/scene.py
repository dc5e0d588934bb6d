"""A trained scene in the hands of a user: `gradiseg_core.load`.

Lengths, boxes and positions that users see are in the units and axes of their own model (`frame`
says how training's differ); cameras and the Gaussians themselves are in the training frame.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.compute.placement import training_device
from gradiseg_core.config.base import Device
from gradiseg_core.editing.labels import most_probable
from gradiseg_core.editing.objects import SceneObject, ids_of, names_of_ids, object_table
from gradiseg_core.editing.rendering import Picture, picture, rasterizer_for
from gradiseg_core.editing.run import Run, find_run
from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.trained import TrainedScene, load_trained
from gradiseg_core.frame import Frame


def load(folder: Path | str, device: Device = "auto") -> Scene:
    """Read a trained scene, or an edited copy of one.

    Args:
        folder: `<results>/<scene>/<variant>/seed<n>`, or its `edits/<name>`.
        device: Where it is rendered; `auto` takes a GPU where there is one that works.

    Raises:
        InputError: If there is no trained scene, or its files are damaged.
    """
    run = find_run(folder)
    where = training_device(device, "device")
    return Scene(load_trained(run.gaussians).to(where), run, Frame.load(run.gaussians))


class Scene:
    """Gaussians with identities, their cameras, and the names of their objects.

    A scene is never changed: :meth:`edit` returns another one.

    Attributes:
        trained: Gaussians and classifier, training frame.
        run: Where they come from.
        frame: From the user's world to the training frame.
    """

    def __init__(self, trained: TrainedScene, run: Run, frame: Frame) -> None:
        """Wrap Gaussians; :func:`load` reads them."""
        self.trained, self.run, self.frame = trained, run, frame

    def __len__(self) -> int:
        return self.trained.means.shape[0]

    def __repr__(self) -> str:
        return f"Scene({str(self.run.gaussians)!r}: {len(self)} Gaussians)"

    @cached_property
    def cameras(self) -> dict[str, Camera]:
        """Views by name, training frame, at the size of training; empty without `colmap`."""
        if self.run.colmap is None:
            return {}
        metadata = self.trained.metadata
        sides = (metadata.get("longest_side"), metadata.get("downsample"))
        return {
            name: camera.resized(*training_size(camera.width, camera.height, *sides))
            for name, camera in load_cameras(self.run.colmap).items()
        }

    @cached_property
    def splits(self) -> dict[str, str]:
        """`train` or `test` by the name of the view; empty without `scene.json`."""
        if self.run.manifest is None:
            return {}
        views = SceneManifest.load(self.run.manifest).views
        return {view.name: view.split for view in views if view.name in self.cameras}

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """Most probable ID of every Gaussian, [N]."""
        return self._labels[0]

    @cached_property
    def certainty(self) -> NDArray[np.float32]:
        """Probability of that ID, [N]."""
        return self._labels[1]

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Centres of the Gaussians, [N, 3], user's world."""
        return self.to_user(self.trained.means.cpu().numpy().astype(np.float64))

    @cached_property
    def prompts(self) -> dict[str, list[int]]:
        """IDs by prompt, as grounding chose them."""
        return self.run.prompts()

    @cached_property
    def objects(self) -> tuple[SceneObject, ...]:
        """A row for every ID that Gaussians have, background (ID 0) first."""
        return object_table(
            self.ids,
            self.certainty,
            self.points,
            names_of_ids(self.prompts),
            self.run.tracked_views(),
            self.up,
        )

    @cached_property
    def up(self) -> NDArray[np.float64] | None:
        """What is up in the user's world, [3]; None where it is unknown."""
        return None

    def ids_of(self, what: int | str) -> list[int]:
        """Return the IDs of an ID, a name or a prompt.

        Raises:
            InputError: If there is no such object, or several are meant.
        """
        return ids_of(what, self.objects, self.prompts)

    def camera(self, view: str) -> Camera:
        """Return the camera of a view, by its file name with or without suffix.

        Raises:
            InputError: If there is no such view; the message lists some.
        """
        by_stem: Mapping[str, Camera] = {c.stem: c for c in self.cameras.values()}
        found = self.cameras.get(view) or by_stem.get(view)
        if found is None:
            some = ", ".join(list(self.cameras)[:8]) or "none, as the scene has no cameras"
            more = ", ..." if len(self.cameras) > 8 else ""
            raise InputError(f"there is no view {view!r}; there are {some}{more}")
        return found

    def render(self, camera: Camera | str, size: tuple[int, int] | None = None) -> Picture:
        """Render a view.

        Args:
            camera: In the training frame, or the name of a view.
            size: (width, height), px; None: the camera's own, for views that of training.

        Raises:
            InputError: If there is no such view.
        """
        if isinstance(camera, str):
            camera = self.camera(camera)
        if size is not None:
            camera = camera.resized(*size)
        return picture(self.trained, camera, rasterizer_for(self.trained), 1.0 / self.frame.scale)

    def export(self, out: Path | str, format: str | None = None, **options: Any) -> list[Path]:
        """Write a file for another program: ``scene.export("teapot.spz", objects="teapot")``.

        Args:
            out: File to write, or a folder where the format is several files.
            format: `ply`, `spz`, `glb`, ... (docs/exporting.md); None: by the end of ``out``.
            **options: ``objects``, ``split``, ``object_id``, ``axes``, as in section `exports`.

        Returns:
            The files written.

        Raises:
            InputError: If options do not go together or an object is not there.
        """
        # By name: an import statement would make formats an input of all that loads a scene
        # (modules.py).
        module = importlib.import_module("gradiseg_core.editing.export")
        written: list[Path] = module.export_scene(self, out, format, **options)
        return written

    def to_user(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points [P, 3] of the training frame in the user's world."""
        return points / self.frame.scale + np.array(self.frame.offset)

    @cached_property
    def _labels(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        with torch.no_grad():
            ids, certainty = most_probable(self.trained)
        return ids.cpu().numpy(), certainty.cpu().numpy()
