"""Backend ``clicks``: a prompt means what lies under one or more clicks.

A click is a photograph and a pixel of it. For each prompt, in this order:

1. the configuration has clicks for it (``grounding.clicks.prompts``);
2. the scene has exact IDs of training views: one click at the middle of the object there, in the
   training view that shows the most prompts well. No held-out view is seen;
3. a test view is annotated: one click at the middle of its mask in the first such view. Its scores
   there are those of an interactive protocol, and the tables name the view.

The ID under a click is that of the labels which the trained scene renders there; views that stage
``render`` left out, as training views are, are rendered for it. Where nothing is trained (the
method in 2D) it is the tracked ID.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from gradiseg_core.cameras import Camera, training_size
from gradiseg_core.config.backends import BackendOptions, Requires, Split
from gradiseg_core.config.base import option
from gradiseg_core.config.datasets import images_folder
from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.photo_files import files_below, is_photo, videos_of
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.annotations import annotation_files, exact_ids
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.manifest import SceneView
from gradiseg_core.files.masks import read_mask
from gradiseg_core.prompts import read_ground_truth, wrong_prompts
from gradiseg_core.stages.grounding.interface import Request
from gradiseg_core.stages.grounding.selection import Choice, Click

if TYPE_CHECKING:
    from gradiseg_core.files.trained import TrainedScene

logger = logging.getLogger(__name__)

REQUIRES = Requires("evaluate", runtime_min=60)

WELL_SEEN = 0.5
"""A view shows an object well where its area is at least this share of its largest area."""

Pixel = tuple[int, int]


def _is_pixel(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(type(number) is int and number >= 0 for number in value)
    )


def _pixels(value: object) -> object:
    several = isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_pixel, value))
    if not (_is_pixel(value) or several):
        raise ValueError(
            "give the pixel as [column, row], whole numbers from 0, or several as "
            f"[[column, row], ...], got {value!r}"
        )
    return value


Pixels = Annotated[Pixel | tuple[Pixel, ...], BeforeValidator(_pixels)]


class Options(BackendOptions):
    """What lies under clicks of yours, or under one at the middle of the annotation."""

    prompts: dict[str, dict[str, Pixels]] = option(
        {},
        "For each prompt, photographs and pixels from 0: `teapot: {frame_0003.jpg: [column, "
        "row]}`, or a list of pixels. Others are clicked at the middle of their annotation.",
    )
    several: Literal["union", "vote"] = option(
        "union",
        "Several clicks mean all objects under them, or the one that most hit.",
    )

    def clicks_of(self, prompt: str) -> list[tuple[str, Pixel]]:
        """Return the photographs and pixels that are written for a prompt."""
        return [
            (view, at)
            for view, pixels in self.prompts.get(prompt, {}).items()
            for at in cast("tuple[Pixel, ...]", (pixels,) if _is_pixel(pixels) else pixels)
        ]

    def problems(
        self, scene: SceneConfig, folder: Path, split: Split, *, made: bool
    ) -> dict[str, str]:
        """Return the prompts and photographs that the scene lacks, where that can be seen."""
        wrong = [line.partition(": ")[2] for line in wrong_prompts(list(self.prompts))]
        own = None if made else _own_folder(scene, folder)
        if own is not None:
            wrong += _absent(self.prompts, _prompts_in(own, scene), "prompt")
            names = _photographs(own, scene)
            views = dict.fromkeys(view for clicks in self.prompts.values() for view in clicks)
            wrong += [
                _unknown("photograph", view, names)
                for view in views
                if names and not any(_means(view, name) for name in names)
            ]
        return {"prompts": "; ".join(wrong)} if wrong else {}


def _own_folder(scene: SceneConfig, folder: Path) -> Path | None:
    if scene.source == "demo":
        return DEMO_FOLDER
    return None if scene.path is None else folder / scene.path


def _photographs(own: Path, scene: SceneConfig) -> list[str]:
    """Return the names of a scene's photographs in its folder; none where frames are chosen yet."""
    if scene.source != "folder":
        folder = own / (images_folder(scene.factor) if scene.source == "mipnerf360" else "images")
        return [path.name for path in sorted(folder.glob("[!.]*"))]
    images = find_given(own).images
    if videos_of(images):
        return []
    return sorted(str(path.relative_to(images)) for path in files_below(images) if is_photo(path))


def _prompts_in(own: Path, scene: SceneConfig) -> list[str]:
    """Return the prompts of a scene in LERF-Mask's layout; none of others."""
    if scene.source not in ("demo", "lerf_mask"):
        return []
    truth = read_ground_truth(own / "ground_truth.json") or {"prompts": []}
    masks = sorted((own / "test_mask").glob("[!.]*/[!.]*.*"))
    return list(dict.fromkeys([*truth["prompts"], *(path.stem for path in masks)]))


def _means(given: str, name: str) -> bool:
    """Whether a user means the photograph ``name``; its ending may be left out or have changed.

    A photograph in sub-folders is called by the end of its path, or as the scene calls it
    (``left_1.jpg`` for ``left/1.jpg``).
    """
    parts = name.split("/")
    forms = {mark.join(parts[place:]) for place in range(len(parts)) for mark in "/_"}
    stems = {form.rpartition(".")[0] for form in forms} - {""}
    return given in forms | stems or given.rpartition(".")[0] in stems


def _absent(wanted: Iterable[str], known: Sequence[str], what: str) -> list[str]:
    """Return a line for each wanted name that is not known; none where no name is known."""
    return [_unknown(what, name, known) for name in wanted if known and name not in known]


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    from gradiseg_core.config.messages import nearest

    shown = [*known[:6], "..."] if len(known) > 6 else list(known)
    hint = nearest(name, known)
    return f"the scene has no {what} {name!r}" + (
        hint if "did you mean" in hint else nearest(name, shown)
    )


def run(request: Request) -> dict[str, Choice]:
    """Choose the IDs under the clicks of every prompt.

    Raises:
        InputError: If a click names a prompt or a photograph that the scene lacks, or lies where
            there is no pixel or no camera.
    """
    options: Options = request.options
    prompts = request.manifest.prompts or list(options.prompts)
    unknown = _absent(options.prompts, prompts, "prompt")
    if unknown:
        raise InputError(
            f"grounding.clicks.prompts: {'; '.join(unknown)}. Clicks for one scene alone stand in "
            f"scenes.{request.manifest.name}.grounding"
        )
    labels = _Labels(request)
    annotated = _annotated_clicks(request, [p for p in prompts if not options.clicks_of(p)])
    return {prompt: _answered(prompt, annotated.get(prompt), labels, options) for prompt in prompts}


@dataclass(frozen=True)
class _Asked:
    """A click before it is known what lies there."""

    view: SceneView
    at: Pixel
    origin: str


class _Labels:
    """The labels of the views that are clicked, each read or rendered once."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._known: dict[str, NDArray[np.int32]] = {}

    def of(self, view: SceneView) -> NDArray[np.int32] | None:
        """Return a view's IDs, [H, W]; None where it has no camera."""
        path = self.request.label_file(view)
        if path is None:
            return None
        if view.stem not in self._known:
            of_tracking = path.is_relative_to(self.request.tracking_dir)
            rendered = of_tracking and self.request.train_dir is not None
            self._known[view.stem] = self._render(view) if rendered else read_id_map(path)
        return self._known[view.stem]

    @cached_property
    def _trained(self) -> tuple[TrainedScene, dict[str, Camera]]:
        from gradiseg_core.compute.cpu_runtime import set_threads
        from gradiseg_core.files.colmap import load_cameras
        from gradiseg_core.files.trained import load_trained

        assert self.request.train_dir is not None
        set_threads(1)  # as the rule says
        return load_trained(self.request.train_dir), load_cameras(self.request.colmap_dir)

    def _render(self, view: SceneView) -> NDArray[np.int32]:
        """Return the labels that the trained scene has in a view, at the size of training."""
        from gradiseg_core.editing.rendering import picture, rasterizer_for

        trained, cameras = self._trained
        camera, sides = cameras[view.name], ("longest_side", "downsample")
        size = training_size(camera.width, camera.height, *(trained.metadata[k] for k in sides))
        logger.info("rendering %s, which is clicked", view.name)
        return picture(trained, camera.resized(*size), rasterizer_for(trained)).ids

    def view(self, given: str) -> SceneView:
        """Return the view that a user means.

        Raises:
            InputError: If there is none.
        """
        views = self.request.manifest.views
        found = [view for view in views if given in (view.name, view.original)]
        found = found or [view for view in views if _means(given, view.original or view.name)]
        if not found:
            names = [view.name for view in views]
            raise InputError(f"grounding.clicks.prompts: {_unknown('photograph', given, names)}")
        if len(found) > 1:
            several = " or ".join(str(view.original) for view in found)
            raise InputError(f"grounding.clicks.prompts: {given!r} may be {several}; write which")
        return found[0]

    def under(self, asked: _Asked) -> Click | str:
        """Return the click with the ID that lies there, or why there is none."""
        view, (column, row) = asked.view, asked.at
        ids = self.of(view)
        if ids is None:
            return f"{view.name} has no camera: structure from motion left it out"
        pixel = f"[{column}, {row}]"
        if column >= view.width or row >= view.height:
            return f"{view.name} is {view.width} x {view.height} px, and {pixel} lies outside"
        place = self._place(view, (column + 0.5, row + 0.5))
        if place is None:
            return f"{pixel} of {view.name} is cut off where its lens distortion is removed"
        height, width = ids.shape
        there = int(ids[int(place[1] * height), int(place[0] * width)])
        return Click(view, asked.at, place, there, ids)

    def _place(self, view: SceneView, point: tuple[float, float]) -> tuple[float, float] | None:
        colmap_dir = self.request.colmap_dir
        if not (colmap_dir / "distorted").is_dir():
            return point[0] / view.width, point[1] / view.height
        from gradiseg_core.files.undistort import undistorted_point

        return undistorted_point(colmap_dir, view.name, point)


def _answered(prompt: str, annotated: _Asked | None, labels: _Labels, options: Options) -> Choice:
    """Return what lies under the clicks of a prompt.

    Raises:
        InputError: If a click of the configuration has no answer.
    """
    asked = [
        _Asked(labels.view(view), at, "configuration") for view, at in options.clicks_of(prompt)
    ]
    asked = asked or ([annotated] if annotated else [])
    if not asked:
        return Choice([], "no click is written for it, and no view with a camera annotates it")
    clicks, said, protocol, entries = [], [], [], []
    for click in asked:
        found = labels.under(click)
        if isinstance(found, str) and click.origin == "configuration":
            raise InputError(f"grounding.clicks.prompts: {prompt!r}: {found}; click elsewhere")
        if isinstance(found, str):
            return Choice([], f"the middle of its annotation: {found}")
        clicks.append(found)
        column, row = click.at
        under = f"ID {found.id}" if found.id else "no ID"
        said.append(f"[{column}, {row}] of {click.view.name}, where the labels have {under}")
        kind = "training" if click.view.split == "train" else "test"
        how = "clicked" if click.origin == "configuration" else "clicked where annotated"
        protocol.append(f"{how} in {click.view.name}, a {kind} view")
        entries.append(
            {
                "view": click.view.name,
                "split": click.view.split,
                "at": [column, row],
                "id": found.id,
                "from": click.origin,
            }
        )
    ids = united([click.id for click in clicks], options.several)
    why = f"clicked at {'; '.join(said)}"
    if not ids:
        logger.warning("%s: %s: it selects nothing", prompt, why)
    return Choice(ids, why, {"clicks": entries}, clicks=tuple(clicks), protocol=tuple(protocol))


def united(ids: Sequence[int], several: Literal["union", "vote"]) -> list[int]:
    """Return what several clicks select; those that hit no object do not count.

    Args:
        ids: The ID under each click, 0 for none.
        several: ``union``: all of them. ``vote``: those that the most clicks hit, which are several
            only where they are equally many.
    """
    hits = Counter(number for number in ids if number != 0)
    most = max(hits.values(), default=0)
    return [number for number, count in hits.items() if several == "union" or count == most]


def _annotated_clicks(request: Request, prompts: list[str]) -> dict[str, _Asked]:
    """Return one click for each prompt that is annotated in a view with labels."""
    found = _in_training_views(request, prompts)
    for prompt in prompts:
        if prompt in found:
            continue
        for view in request.views:
            path = annotation_files(request.scene_dir, view).get(prompt)
            mask = None if path is None else read_mask(path)
            if mask is not None and mask.any():
                found[prompt] = _Asked(view, _middle(mask, view), "annotation")
                break
    return found


def _in_training_views(request: Request, prompts: list[str]) -> dict[str, _Asked]:
    """Return a click at the middle of each prompt's exact object, in as few views as show it well.

    A person would also look for one photograph that shows everything.
    """
    truth = read_ground_truth(request.scene_dir / "ground_truth.json") or {}
    exact = {
        prompt: number
        for prompt, number in truth.get("gt_id_of_prompt", {}).items()
        if prompt in prompts and number > 0
    }
    if not exact:
        return {}
    areas: dict[SceneView, dict[str, float]] = {}
    for view in request.manifest.train_views:
        ids = exact_ids(request.scene_dir, view) if request.label_file(view) else None
        if ids is not None:
            counts = np.bincount(ids.ravel(), minlength=max(exact.values()) + 1) / ids.size
            areas[view] = {prompt: float(counts[number]) for prompt, number in exact.items()}
    largest = {
        prompt: max((area[prompt] for area in areas.values()), default=0.0) for prompt in exact
    }
    left = {prompt for prompt, area in largest.items() if area > 0}
    found: dict[str, _Asked] = {}
    while left:
        well = {
            view: {prompt for prompt in left if area[prompt] >= WELL_SEEN * largest[prompt]}
            for view, area in areas.items()
        }
        view = max(well, key=lambda view: len(well[view]))  # the first by name, where several do
        ids = exact_ids(request.scene_dir, view)
        assert ids is not None
        for prompt in well[view]:
            found[prompt] = _Asked(view, _middle(ids == exact[prompt], view), "annotation")
        left -= well[view]
    return found


def _middle(mask: NDArray[np.bool_], view: SceneView) -> Pixel:
    """Return the pixel that lies deepest in a mask, px of the view's photograph.

    Args:
        mask: [h, w], of any size, not empty.
        view: Where it was annotated.
    """
    column, row = innermost(mask)
    height, width = mask.shape
    return (
        int((column + 0.5) * view.width / width),
        int((row + 0.5) * view.height / height),
    )


def innermost(mask: NDArray[np.bool_]) -> Pixel:
    """Return column and row of the pixel farthest from a mask's outline and from the border.

    Args:
        mask: [h, w], not empty.
    """
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(column), int(row)
