"""A trained scene in the hands of a user: `gradiseg_core.load`.

Lengths, boxes and positions that users see are in the units and axes of their own model (`frame`
says how training's differ); cameras and the Gaussians themselves are in the training frame.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.cameras import Camera, Frame, training_size
from gradiseg_core.compute.placement import training_device
from gradiseg_core.config.base import Device
from gradiseg_core.editing.labels import most_probable
from gradiseg_core.editing.objects import BACKGROUND, SceneObject, check_all, ids_of, object_table
from gradiseg_core.editing.placing import Ground, estimated_ground, saved_ground
from gradiseg_core.editing.rendering import Picture, picture, rasterizer_for, surface
from gradiseg_core.editing.run import (
    EDIT_FILE,
    Run,
    check_output,
    find_run,
    forget_pictures,
    made_from,
)
from gradiseg_core.editing.selection import (
    Selection,
    fingerprint,
    load_selections,
    save_selections,
)
from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap import load_cameras
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.names import names_of_ids
from gradiseg_core.files.trained import TrainedScene, load_trained, save_trained
from gradiseg_core.splatting.gaussians import PARAMETERS
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.version import __version__

if TYPE_CHECKING:
    from gradiseg_core.config.edits import Operation
    from gradiseg_core.config.picks import StoredSelection


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
    scene = Scene(load_trained(run.gaussians).to(where), run, Frame.load(run.gaussians))
    scene.history = run.done
    return scene


class Scene:
    """Gaussians with identities, their cameras, and the names of their objects.

    A scene is never changed: :meth:`edit` returns another one.

    Attributes:
        trained: Gaussians and classifier, training frame.
        run: Where they come from.
        frame: From the user's world to the training frame.
        history: What was done to the trained scene, an entry for every operation.
    """

    history: tuple[dict[str, Any], ...] = ()
    #: Of selections of files, while an edit runs: masks [N] that follow the Gaussians.
    remembered: Mapping[StoredSelection, NDArray[np.bool_]] = MappingProxyType({})

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
        metadata = self.trained.metadata
        sides = (metadata.get("longest_side"), metadata.get("downsample"))
        return {
            name: camera.resized(*training_size(camera.width, camera.height, *sides))
            for name, camera in self._photographs.items()
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
        """IDs by prompt, as grounding chose them, and of what edits added."""
        return {**self.run.prompts(), **self.trained.metadata.get("names", {})}

    @cached_property
    def names_of_ids(self) -> dict[int, str]:
        """One name for every ID that has some; 0 is background."""
        return {**names_of_ids(self.prompts), 0: BACKGROUND}

    @cached_property
    def objects(self) -> tuple[SceneObject, ...]:
        """A row for every ID that Gaussians have, background (ID 0) first."""
        return object_table(
            self.ids,
            self.certainty,
            self.points,
            self.trained.opacities.sigmoid().cpu().numpy(),
            self.names_of_ids,
            self.run.tracked_views(),
            self.up,
        )

    @cached_property
    def up(self) -> NDArray[np.float64] | None:
        """What is up in the user's world, [3]; None where it is unknown."""
        return None if self.ground is None else self.ground.normal

    @cached_property
    def ground(self) -> Ground | None:
        """What things stand on, user's world: as stage `geometry` found it, else estimated."""
        saved = saved_ground(self.run.surface, self.frame)
        if saved is not None:
            return saved
        opacities = self.trained.opacities.sigmoid().cpu().numpy()
        return estimated_ground(
            self.points, opacities, surface(self.values), list(self.cameras.values()), self.frame
        )

    @cached_property
    def fingerprint(self) -> str:
        """What tells it from other scenes."""
        return fingerprint(self.trained)

    @property
    def values(self) -> dict[str, Tensor]:
        """Parameters of the Gaussians as stored, by name."""
        return {name: getattr(self.trained, name) for name in PARAMETERS}

    def ids_of(self, what: int | str) -> list[int]:
        """Return the IDs of an ID, a name or a prompt.

        Raises:
            InputError: If there is no such object, or several are meant.
        """
        return ids_of(what, self._present, self.prompts)

    def check_names(self, names: Iterable[int | str]) -> None:
        """Check that there is an object for each of some IDs and names.

        Raises:
            InputError: Of all that are not there.
        """
        check_all(names, self._present, self.prompts)

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
        written: list[Path] = _module("export").export_scene(self, out, format, **options)
        return written

    def select(self, what: Any = None, **pick: Any) -> Selection:
        """Return the Gaussians that are meant.

        ``scene.select("red apple")``, ``scene.select([3, 4])``, ``scene.select(click={"view":
        "test_0", "at": (157, 128)}, grow=0.01)``.

        Args:
            what: An ID, a name or prompt, a list of them, a mapping of keys, or a selection.
            **pick: Keys of :class:`gradiseg_core.config.picks.Pick`, ``of`` being ``what``.

        Raises:
            InputError: If there is no such object or view, a key is wrong, or nothing is selected.
        """
        if isinstance(what, Selection):
            if what.fingerprint != self.fingerprint:
                raise InputError("the selection is of another scene; select again in this one")
            return what
        if pick and what is not None:
            pick = {"of": what, **pick}
        found: Selection = _module("selecting").selected(self, pick if pick else what)
        return found

    def save_selections(self, path: Path | str, selections: Mapping[str, Any]) -> None:
        """Write selections to a file, for edits in a configuration or of another day.

        Args:
            path: File to write.
            selections: By name, each as :meth:`select` takes it.

        Raises:
            InputError: If there is no such object, or a selection is of another scene.
        """
        save_selections(Path(path), {name: self.select(what) for name, what in selections.items()})

    def load_selections(self, path: Path | str) -> dict[str, Selection]:
        """Read the selections of a file by name.

        Raises:
            InputError: If the file is missing, damaged, or of another scene.
        """
        return load_selections(Path(path), self.fingerprint)

    def stored(self, selection: StoredSelection) -> NDArray[np.bool_]:
        """Return the Gaussians of a selection of a file, [N]; an edit remembers which they were.

        Raises:
            InputError: If the file is missing, damaged, of another scene, or has no such name.
        """
        if selection in self.remembered:
            return self.remembered[selection]
        found = self.load_selections(selection.file)
        if selection.name not in found:
            raise InputError(
                f"{selection.file} has no selection {selection.name!r}; it has {', '.join(found)}"
            )
        return found[selection.name].mask

    def remembering(self, selections: Iterable[StoredSelection]) -> Scene:
        """Return the same scene, which knows these selections after operations as well."""
        scene = copy(self)
        scene.remembered = {selection: self.stored(selection) for selection in selections}
        return scene

    def remembered_of(self, mask: NDArray[np.bool_]) -> dict[StoredSelection, NDArray[np.bool_]]:
        """Return which of some Gaussians, [N], belong to the selections that are remembered."""
        return {selection: own[mask] for selection, own in self.remembered.items()}

    def edit(self, operations: Sequence[Mapping[str, Any] | Operation]) -> Scene:
        """Return an edited copy.

        Args:
            operations: As in section `edits` of the configuration (docs/editing.md), such as
                ``[{"remove": "red apple"}]``; done one after the other. A :class:`Selection` may
                stand for what is meant; it is made again where earlier operations changed things.

        Raises:
            InputError: If an operation is wrong, or means something that there is not.
        """
        edited: Scene = _module("operations").edited(self, operations)
        return edited

    def save(self, folder: Path | str) -> None:
        """Write the scene in the trained scene's format, and `edit.json`: what was done to it.

        Raises:
            InputError: If the folder holds a trained scene or the one that this was loaded from,
                or is a file.
        """
        folder = Path(folder)
        check_output(folder, self.run.gaussians)
        folder.mkdir(parents=True, exist_ok=True)
        forget_pictures(folder)
        metadata = {**self.trained.metadata, "num_gaussians": len(self)}
        values = {name: value.detach().cpu() for name, value in self.values.items()}
        classifier = self.trained.classifier.cpu()
        save_trained(folder, values, classifier, metadata, self.frame)
        done = {
            "made_from": made_from(self.run, folder),
            "gradiseg": __version__,
            "edit": [record["operation"] for record in self.history],
            "num_gaussians": len(self),
            "done": list(self.history),
        }
        (folder / EDIT_FILE).write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")

    def another(self, folder: Path | str) -> Scene:
        """Read another trained scene."""
        return load(folder, device="cpu")

    def photograph_size(self, view: str) -> tuple[int, int]:
        """Return the (width, height) of a view's photograph, px."""
        whole = self._photographs[self.camera(view).name]
        return whole.width, whole.height

    def to_user(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points [..., 3] of the training frame in the user's world."""
        return points / self.frame.scale + np.array(self.frame.offset)

    def to_training(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points [..., 3] of the user's world in the training frame."""
        return self.frame.scale * (points - np.array(self.frame.offset))

    def changed(
        self,
        values: Mapping[str, Tensor],
        origin: NDArray[np.int64],
        *,
        classifier: IdentityClassifier | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Scene:
        """Return a scene of other Gaussians in the same surroundings.

        Args:
            values: Parameters, [N', ...] each.
            origin: [N'] the row that each has been, with the encoding that it had; -1: it is new.
            classifier: None: the same; it must classify what there was as before.
            metadata: What changes of it.
        """
        trained = replace(
            self.trained,
            **values,
            classifier=classifier or self.trained.classifier,
            metadata={**self.trained.metadata, **(metadata or {})},
        )
        scene = Scene(trained, self.run, self.frame)
        scene.history = self.history
        scene.remembered = {
            selection: own[origin] & (origin >= 0) for selection, own in self.remembered.items()
        }
        # The surroundings are those of the photographs, whatever is left of them.
        for name in ("cameras", "splits", "ground", "_photographs"):
            scene.__dict__[name] = getattr(self, name)
        if "_labels" in self.__dict__:
            scene.__dict__["_labels"] = self._labels_after(trained, origin)
        return scene

    def kept(self, mask: NDArray[np.bool_]) -> Scene:
        """Return the scene of some of its Gaussians, [N]."""
        rows = np.flatnonzero(mask)
        index = torch.from_numpy(rows).to(self.trained.means.device)
        return self.changed({name: value[index] for name, value in self.values.items()}, rows)

    def joined(
        self,
        new: Mapping[str, Tensor],
        *,
        classifier: IdentityClassifier | None = None,
        names: Mapping[str, list[int]] | None = None,
        remembered: Mapping[StoredSelection, NDArray[np.bool_]] = MappingProxyType({}),
    ) -> Scene:
        """Return the scene with more Gaussians at the end.

        Args:
            new: Their parameters.
            classifier: None: the same.
            names: What edits have added, by name; None: as before.
            remembered: Which of them belong to the selections that are remembered: none by default.
        """
        values = {name: torch.cat([value, new[name]]) for name, value in self.values.items()}
        origin = np.concatenate([np.arange(len(self)), np.full(len(new["means"]), -1)])
        metadata: dict[str, Any] = {} if names is None else {"names": dict(names)}
        if classifier is not None:
            metadata["num_classes"] = classifier.num_classes
        scene = self.changed(values, origin, classifier=classifier, metadata=metadata)
        for selection, own in remembered.items():
            scene.remembered[selection][len(self) :] = own
        return scene

    def noted(self, **metadata: Any) -> Scene:
        """Return the scene with other metadata."""
        return self.changed(self.values, np.arange(len(self)), metadata=metadata)

    @cached_property
    def _present(self) -> list[int]:
        """IDs that Gaussians have."""
        return [int(index) for index in np.flatnonzero(np.bincount(self.ids))]

    @cached_property
    def _photographs(self) -> dict[str, Camera]:
        return {} if self.run.colmap is None else load_cameras(self.run.colmap)

    def _labels_after(
        self, trained: TrainedScene, origin: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels of changed Gaussians; only new ones are classified."""
        ids, certainty = self._labels[0][origin], self._labels[1][origin]
        new = np.flatnonzero(origin < 0)
        if len(new):
            rows = torch.from_numpy(new).to(trained.means.device)
            found = most_probable(replace(trained, identities=trained.identities[rows]))
            ids[new], certainty[new] = (value.cpu().numpy() for value in found)
        return ids, certainty

    @cached_property
    def _labels(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        with torch.no_grad():
            ids, certainty = most_probable(self.trained)
        return ids.cpu().numpy(), certainty.cpu().numpy()


def _module(name: str) -> ModuleType:
    """Import a module of this folder when it is needed.

    By name: an import statement would make edits and formats an input of every stage that loads a
    scene (modules.py).
    """
    return importlib.import_module(f"gradiseg_core.editing.{name}")
