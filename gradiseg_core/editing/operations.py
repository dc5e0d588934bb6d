"""What each operation of section `edits` does: from one scene to the next, and what was touched."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.config import edits as config
from gradiseg_core.config.filling import Fill
from gradiseg_core.editing import colours
from gradiseg_core.editing.checking import check_names
from gradiseg_core.editing.classes import as_new, things
from gradiseg_core.editing.cutting import cut_across
from gradiseg_core.editing.filling import fill, find_hole
from gradiseg_core.editing.painting import painter
from gradiseg_core.editing.placing import Ground, foot, free_place, rotation, turn_to
from gradiseg_core.editing.regions import body
from gradiseg_core.editing.removal import (
    ALONE,
    WITH_SHADOW,
    halo_and_inside,
    sights,
    training_cameras,
)
from gradiseg_core.editing.rendering import surface
from gradiseg_core.editing.selecting import (
    check_swapped,
    chosen,
    chosen_thing,
    is_background,
    shown,
)
from gradiseg_core.editing.selection import Selection
from gradiseg_core.editing.transforms import transformed
from gradiseg_core.editing.walls import hole_behind
from gradiseg_core.errors import InputError
from gradiseg_core.splatting.gaussians import PARAMETERS

if TYPE_CHECKING:
    from gradiseg_core.config.picks import StoredSelection
    from gradiseg_core.editing.scene import Scene

logger = logging.getLogger(__name__)

Record = dict[str, Any]
#: What moves is an object's body and what is that near to it, in diagonals of the body.
_AROUND = 0.1
#: Two feet that differ by less than this share of a thing's height are on one level: what lies
#: lowest is seen worst.
_LEVEL = 0.33
#: Pixels of a style's picture that are looked at.
_SAMPLE = 50_000


def edited(scene: Scene, given: Any) -> Scene:
    """Return an edited copy of a scene, with what was done in its history.

    Args:
        scene: Stays as it is.
        given: Operations, as a user writes them; a selection of the scene stands for how it was
            made.

    Raises:
        InputError: If an operation is wrong, or means something that there is not.
    """
    try:
        steps = config.operations(_as_made(scene, given))
    except ValueError as error:
        raise InputError(f"the edit is not valid: {error}") from error
    result, records = apply(scene, steps)
    result.history = (*scene.history, *records)
    return result


def _as_made(scene: Scene, given: Any) -> Any:
    """Return operations with selections as what a user would write for them."""
    if isinstance(given, Selection):
        return scene.select(given).made
    if isinstance(given, Mapping):
        return {key: _as_made(scene, value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [_as_made(scene, entry) for entry in given]
    return given


def apply(scene: Scene, edit: Sequence[config.Operation]) -> tuple[Scene, list[Record]]:
    """Return the edited scene and, for every operation, what it did.

    Args:
        scene: Stays as it is.
        edit: Operations, done one after the other.

    Raises:
        InputError: If an operation means something that there is not; its number is named.
            Names are looked up before the first operation runs.
    """
    check_names(scene, edit)
    scene = scene.remembering(_stored(edit))
    records = []
    for number, step in enumerate(edit, 1):
        start, before = time.perf_counter(), len(scene)
        try:
            scene, record = _DO[step.name](scene, step)
        except InputError as error:
            raise InputError(f"operation {number} ({step.name}): {error}") from error
        record = {"operation": config.written(step), **record}
        record |= {"before": before, "after": len(scene)}
        record["seconds"] = round(time.perf_counter() - start, 3)
        logger.info("%s: %d Gaussians of %d, %.1f s", step.name, record["selected"], before,
                    record["seconds"])  # fmt: skip
        records.append(record)
    scene.remembered = {}
    return scene, records


def _stored(edit: Sequence[config.Operation]) -> Iterator[StoredSelection]:
    """Yield the selections of files that are of the edited scene: not of what is inserted."""
    for step in edit:
        if not isinstance(step, config.Insert):
            yield from step.stored


@dataclass(frozen=True)
class _Taken:
    """Something taken out of a scene.

    Attributes:
        rest: The scene without it, its hole filled where that was asked for.
        values: Its parameters.
        ids: Its most probable IDs, [n].
        points: Its centres, user's world, [n, 3].
        remembered: Which of its Gaussians belong to remembered selections.
        record: What was done.
    """

    rest: Scene
    values: dict[str, Tensor]
    ids: NDArray[np.int64]
    points: NDArray[np.float64]
    remembered: dict[StoredSelection, NDArray[np.bool_]]
    record: Record


def _selected(
    scene: Scene, what: Any, cut: bool, *, whole: bool = True
) -> tuple[Scene, NDArray[np.bool_], Record]:
    """Return the scene with straddlers cut, and what is meant in it.

    Args:
        scene: The scene.
        what: What is meant.
        cut: Whether straddlers are cut.
        whole: All of it; else the things themselves, as what moves.
    """
    mask = chosen_thing(scene, what)
    if not whole:
        mask = _bodies(scene, mask)
    record: Record = {"selected": int(mask.sum()), "cut": 0}
    if cut and not mask.all():
        values, rows = cut_across(scene.values, mask)
        record["cut"] = len(rows)
        scene = scene.changed(values, np.arange(len(scene)))
    return scene, mask, record


def _bodies(scene: Scene, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the part of a selection that is the things themselves: what moves with them.

    Gaussians of a thing's class that lie elsewhere are mistakes of the classifier, and stay there.
    """
    result = np.zeros_like(mask)
    for _, own in things(scene.ids, mask):
        rows = np.flatnonzero(own)
        index = torch.from_numpy(rows).to(scene.trained.opacities.device)
        opacities = scene.trained.opacities[index].sigmoid().cpu().numpy()
        points = scene.points[rows]
        core = points[body(points, opacities)]
        reach = _AROUND * float(np.linalg.norm(np.ptp(core, axis=0)))
        low, high = core.min(axis=0) - reach, core.max(axis=0) + reach
        result[rows] = ((points >= low) & (points <= high)).all(axis=1)
    return result


def _take_out(
    scene: Scene,
    what: Any,
    *,
    cut: bool,
    halo: bool,
    filled: bool | Fill,
    shadow: bool,
    whole: bool = True,
    covered: NDArray[np.float64] | None = None,
) -> _Taken:
    """Take something out of a scene.

    Args:
        scene: The scene.
        what: What is meant.
        cut: Whether straddlers are cut.
        halo: Whether its halo and inside go with it.
        filled: Whether and how its hole is closed.
        shadow: Whether its shadow goes.
        whole: All of what is meant; else the things themselves, as what moves.
        covered: [n, 3] centres of what comes to stand there, training frame.
    """
    scene, mask, record = _selected(scene, what, cut, whole=whole)
    values, ids, points = _of(scene, mask), scene.ids[mask], scene.points[mask]
    views, background = [], is_background(scene, what, mask)
    if (halo or filled) and not background:
        crop = WITH_SHADOW if filled and shadow else ALONE
        views = sights(scene, mask, training_cameras(scene), crop)
    remembered, gone = scene.remembered_of(mask), mask
    if halo:
        around, inside = halo_and_inside(scene, mask, views)
        record |= {"halo": int(around.sum()), "inside": int(inside.sum())}
        gone = mask | around | inside
    if gone.all():
        raise InputError(f"{shown(what)} is the whole scene; nothing would be left")
    opacities = values["opacities"].sigmoid().cpu().numpy()
    removed = values["means"].cpu().numpy().astype(np.float64)[body(points, opacities)]
    rest = scene.kept(~gone)
    record["removed"] = int(gone.sum())
    if filled and background:
        record["filled"] = {"new": 0, "why": "there is nothing around the background"}
    elif filled:
        how: dict[str, Any] = {"shadow": shadow, "covered": covered}
        hole, why = find_hole(rest, removed, views, painter(filled), **how)
        if hole is None:
            record["filled"] = {"new": 0, "why": why}
            logger.info("%s: nothing is filled: %s", shown(what), why)
        else:
            rest, record["filled"] = fill(rest, hole, views)
        support = None if hole is None else hole.patch.ground
        wall = hole_behind(rest, removed, views, painter(filled), support)
        if wall is not None:
            rest, record["filled_behind"] = fill(rest, wall, views)
    return _Taken(rest, values, ids, points, remembered, record)


def _of(scene: Scene, mask: NDArray[np.bool_]) -> dict[str, Tensor]:
    rows = torch.from_numpy(np.flatnonzero(mask)).to(scene.trained.means.device)
    return {name: scene.values[name][rows] for name in PARAMETERS}


def _remove(scene: Scene, step: config.Remove) -> tuple[Scene, Record]:
    taken = _take_out(
        scene, step.remove, cut=step.cut, halo=step.halo, filled=step.fill, shadow=step.shadow
    )
    return taken.rest, taken.record


def _keep(scene: Scene, step: config.Keep) -> tuple[Scene, Record]:
    scene, mask, record = _selected(scene, step.keep, step.cut)
    return scene.kept(mask), record | {"removed": int((~mask).sum())}


def _mapped(
    scene: Scene,
    mask: NDArray[np.bool_],
    affine: Callable[
        [NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
    ],
) -> Scene:
    own = _of(scene, mask)
    matrix, offset = affine(colours.base_colours(own["sh0"]), surface(own))
    own = colours.mapped(own, matrix, offset)
    values = dict(scene.values)
    rows = torch.from_numpy(np.flatnonzero(mask)).to(scene.trained.means.device)
    for name in ("sh0", "shN"):
        values[name] = values[name].index_copy(0, rows, own[name])
    return scene.changed(values, np.arange(len(scene)))


def _recolour(scene: Scene, step: config.Recolour) -> tuple[Scene, Record]:
    mask = chosen(scene, step.recolour)
    target = np.array(config.rgb(step.colour))
    edited = _mapped(scene, mask, lambda own, w: colours.recolouring(own, w, target))
    return edited, {"selected": int(mask.sum()), "recoloured": int(mask.sum())}


def _style(scene: Scene, step: config.Style) -> tuple[Scene, Record]:
    from gradiseg_core.files.images import read_image

    mask = chosen(scene, step.style)
    picture = read_image(step.like).reshape(-1, 3) / 255.0
    picture = picture[:: max(1, len(picture) // _SAMPLE)]
    edited = _mapped(scene, mask, lambda own, w: colours.transport(own, w, picture, step.strength))
    return edited, {"selected": int(mask.sum()), "recoloured": int(mask.sum())}


def _ground(scene: Scene, points: NDArray[np.float64]) -> Ground:
    """Return what things stand on; without cameras, a plane below them that faces z."""
    if scene.ground is not None:
        return scene.ground
    return Ground(np.array([0.0, 0.0, 1.0]), float(points[:, 2].min()), "assumed")


def _foot(
    points: NDArray[np.float64], values: dict[str, Tensor], ground: Ground
) -> NDArray[np.float64]:
    """Return the middle of what a thing stands on, [3], by its body."""
    opacities = values["opacities"].sigmoid().cpu().numpy()
    return foot(points[body(points, opacities)], ground)


def _placed(
    scene: Scene, values: dict[str, Tensor], points: NDArray[np.float64], step: Any
) -> dict[str, Tensor]:
    """Return parameters moved, turned and scaled around the foot of what they are."""
    turn, shift = rotation(step.rotate_deg), np.array(step.by_m)
    ground = _ground(scene, points)
    if step.axes == "support":
        turn = ground.axes.T @ turn @ ground.axes
        shift = shift @ ground.axes
    return transformed(
        values,
        rotation=turn if np.any(np.array(step.rotate_deg)) else None,
        scale=step.factor,
        pivot=scene.to_training(_foot(points, values, ground)),
        shift=scene.frame.scale * shift,
    )


def _move(scene: Scene, step: config.Move) -> tuple[Scene, Record]:
    how: dict[str, Any] = {"cut": step.cut, "halo": True, "filled": step.fill}
    taken = _take_out(scene, step.move, **how, shadow=step.shadow, whole=False)
    placed = _placed(scene, taken.values, taken.points, step)
    rest = taken.rest.joined(placed, remembered=taken.remembered)
    return rest, taken.record | {"moved": len(taken.points)}


def _in_place(scene: Scene, what: Any, step: Any) -> tuple[Scene, Record]:
    """Turn or scale something where it stands."""
    scene, mask, record = _selected(scene, what, step.cut, whole=False)
    placed = _placed(scene, _of(scene, mask), scene.points[mask], step)
    rest = scene.kept(~mask).joined(placed, remembered=scene.remembered_of(mask))
    return rest, record | {"moved": int(mask.sum())}


def _rotate(scene: Scene, step: config.Rotate) -> tuple[Scene, Record]:
    return _in_place(scene, step.rotate, step)


def _scale(scene: Scene, step: config.Scale) -> tuple[Scene, Record]:
    return _in_place(scene, step.scale, step)


def _way(
    points: list[NDArray[np.float64]], values: list[dict[str, Tensor]], ground: Ground
) -> NDArray[np.float64]:
    """Return the way from the foot of one of two things to that of the other, [3]."""
    feet = [_foot(own, of, ground) for own, of in zip(points, values, strict=True)]
    way = feet[1] - feet[0]
    rise = float(way @ ground.normal)
    heights = [float(np.ptp(np.quantile(ground.height(own), [0.03, 0.97]))) for own in points]
    return way - rise * ground.normal if abs(rise) < _LEVEL * min(heights) else way


def _swap(scene: Scene, step: config.Swap) -> tuple[Scene, Record]:
    first, second = step.swap
    check_swapped(scene, first, second)
    ground = _ground(scene, scene.points)
    how: dict[str, Any] = {"cut": step.cut, "halo": True, "filled": step.fill, "whole": False}
    how["shadow"] = step.shadow
    masks = [_bodies(scene, chosen(scene, what)) for what in step.swap]
    points = [scene.points[mask] for mask in masks]
    way = _way(points, [_of(scene, mask) for mask in masks], ground)
    coming = [scene.to_training(points[1] - way), scene.to_training(points[0] + way)]
    one = _take_out(scene, first, **how, covered=coming[0])
    # The second is taken out of what the first left, so that its hole is filled there.
    two = _take_out(one.rest, second, **how, covered=coming[1])
    way = _way([one.points, two.points], [one.values, two.values], ground)
    rest, shift = two.rest, scene.frame.scale * way
    for taken, by in ((one, shift), (two, -shift)):
        rest = rest.joined(transformed(taken.values, shift=by), remembered=taken.remembered)
    record = {"selected": one.record["selected"] + two.record["selected"]}
    record |= {"moved": len(one.points) + len(two.points), "way": way.tolist()}
    return rest, record | {"first": one.record, "second": two.record}


def _duplicate(scene: Scene, step: config.Duplicate) -> tuple[Scene, Record]:
    cut, mask, record = _selected(scene, step.duplicate, step.cut, whole=False)
    values = _placed(cut, _of(cut, mask), cut.points[mask], step)
    # The original stays as it was; only the copy is cut.
    added, new = as_new(scene, values, *_sources(cut, mask, "copy of"), step.called)
    return added, record | new | {"added": int(mask.sum())}


def _sources(
    scene: Scene, mask: NDArray[np.bool_], unnamed: str
) -> tuple[list[tuple[int, NDArray[np.bool_]]], dict[int, str]]:
    """Return the things that are copied, IDs and Gaussians [n] of the selection, and names."""
    parts = [(index, own[mask]) for index, own in things(scene.ids, mask)]
    names = {index: scene.names_of_ids.get(index, f"{unnamed} ID {index}") for index, _ in parts}
    return parts, names


def _insert(scene: Scene, step: config.Insert) -> tuple[Scene, Record]:
    other = scene.another(step.scene)
    other, mask, record = _selected(other, step.insert, True, whole=False)
    points = other.points[mask]
    here, there = _ground(scene, scene.points), _ground(other, other.points)
    turn = rotation(step.rotate_deg) @ turn_to(there.normal, here.normal)
    device = scene.trained.means.device
    values = {name: value.to(device) for name, value in _of(other, mask).items()}
    if values["shN"].shape[1] != scene.values["shN"].shape[1]:
        raise InputError(f"{step.scene} has harmonics of another degree than this scene")
    ratio = scene.frame.scale / other.frame.scale
    size = step.factor * _width(points, values, there)
    target = _free_place(scene, here, size) if step.at_m is None else np.array(step.at_m)
    pivot = other.to_training(_foot(points, values, there))
    values = transformed(
        values,
        rotation=turn,
        scale=step.factor * ratio,
        pivot=pivot,
        shift=scene.to_training(target) - pivot,
    )
    added, new = as_new(scene, values, *_sources(other, mask, "inserted"), step.called)
    degree = max(int(other.trained.metadata["sh_degree"]), int(scene.trained.metadata["sh_degree"]))
    return added.noted(sh_degree=degree), record | new | {"added": int(mask.sum())}


def _width(points: NDArray[np.float64], values: dict[str, Tensor], ground: Ground) -> float:
    """Return half of the larger side of a thing's footprint, by its body, user's units."""
    own = points[body(points, values["opacities"].sigmoid().cpu().numpy())]
    return float(0.5 * np.ptp(own @ ground.axes.T, axis=0)[:2].max())


def _free_place(scene: Scene, ground: Ground, radius: float) -> NDArray[np.float64]:
    """Return a place for a thing among the scene's objects where it stands in none of them."""
    opaque = scene.trained.opacities.sigmoid().cpu().numpy() > 0.5
    solid, things = scene.points[opaque], (scene.ids > 0)[opaque]
    centres = [row.centre for row in scene.objects if row.id > 0]
    middle = np.mean(centres, axis=0) if centres else np.median(scene.points, axis=0)
    place = free_place(middle, radius, solid[things], solid[~things], ground)
    if place is None:
        logger.warning("there is no free place for what is inserted; give `at_m` to say where")
        return middle - ground.height(middle) * ground.normal
    return place


_DO: dict[str, Callable[[Scene, Any], tuple[Scene, Record]]] = {
    "remove": _remove,
    "keep": _keep,
    "recolour": _recolour,
    "move": _move,
    "rotate": _rotate,
    "scale": _scale,
    "duplicate": _duplicate,
    "swap": _swap,
    "insert": _insert,
    "style": _style,
}
