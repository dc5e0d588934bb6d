"""From what a user writes to the Gaussians that are meant."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.config.picks import (
    EVERYTHING,
    Click,
    Pick,
    SpaceBox,
    ViewBox,
    entries,
    parsed,
    plain,
)
from gradiseg_core.editing.boxes import Box, box_around
from gradiseg_core.editing.labels import probability_of
from gradiseg_core.editing.placing import rotation
from gradiseg_core.editing.rays import weights_by_id
from gradiseg_core.editing.regions import grown, in_hull, largest_part, shrunk, without_floaters
from gradiseg_core.editing.removal import holds
from gradiseg_core.editing.rendering import rasterizer_for
from gradiseg_core.editing.selection import Selection
from gradiseg_core.errors import InputError

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene

logger = logging.getLogger(__name__)

#: A pixel that the scene covers less than this shows nothing that could be clicked.
_COVERED = 0.5


def select(scene: Scene, what: Any) -> Selection:
    """Return the Gaussians that are meant.

    Args:
        scene: Where to look.
        what: A validated `What` of :mod:`gradiseg_core.config.picks`.

    Raises:
        InputError: If there is no such object or view, or no Gaussian is left.
    """
    return Selection(chosen(scene, what), plain(what), scene.fingerprint)


def chosen(scene: Scene, what: Any) -> NDArray[np.bool_]:
    """Return which Gaussians are meant, [N]; arguments and errors are those of :func:`select`.

    A selection names its scene by a hash of all of it, which an edit does not need.
    """
    mask = _mask(scene, what)
    if not mask.any():
        raise InputError(f"{shown(what)}: no Gaussian is selected; choose more of the scene")
    return mask


def chosen_thing(scene: Scene, what: Any) -> NDArray[np.bool_]:
    """Return :func:`chosen` of what is to be taken as a thing, [N].

    Raises:
        InputError: If a click has hit the background, which is most of a scene.
    """
    mask = chosen(scene, what)
    if holds(scene, mask, 0):
        for entry in entries(what):
            if isinstance(entry, Pick) and entry.click and _clicked(scene, entry.click) == 0:
                column, row = entry.click.at
                raise InputError(
                    f"at ({column:g}, {row:g}) of {entry.click.view} is the background, no object; "
                    "click on an object, or say it by name: `remove: background` or `keep: "
                    "{without: background}` leave the objects"
                )
    return mask


def is_background(scene: Scene, what: Any, mask: NDArray[np.bool_]) -> bool:
    """Return whether what is meant, [N], is the background; warn where its name does not say so."""
    if not holds(scene, mask, 0):
        return False
    named = any(
        entry.without is not None
        if isinstance(entry, Pick)
        else entry == EVERYTHING or 0 in scene.ids_of(entry)
        for entry in entries(what)
    )
    if not named:
        logger.warning(
            "%s is most of the background; write `background` where that is meant", shown(what)
        )
    return True


def check_swapped(scene: Scene, first: Any, second: Any) -> None:
    """Check that each of two is a thing, and no part of the other.

    Raises:
        InputError: If one is not.
    """
    masks = [chosen_thing(scene, what) for what in (first, second)]
    for what, mask in zip((first, second), masks, strict=True):
        if holds(scene, mask, 0):
            raise InputError(
                f"{shown(what)} is the background, which stands nowhere; swap two objects"
            )
    if shared := int((masks[0] & masks[1]).sum()):
        raise InputError(
            f"{shown(first)} and {shown(second)} share {shared} Gaussians; what is swapped must be "
            "two things"
        )


def selected(scene: Scene, what: Any) -> Selection:
    """Return :func:`select` of what a user wrote.

    Raises:
        InputError: If it is not clear, there is no such object or view, or nothing is selected.
    """
    what = parsed(what)
    scene.check_names(
        name for name in entries(what) if not isinstance(name, Pick) and name != EVERYTHING
    )
    return select(scene, what)


def shown(what: Any) -> str:
    """Return how messages name something."""
    return repr(what) if isinstance(what, str) else str(plain(what))


def described(scene: Scene, name: str, selection: Selection) -> str:
    """Return some lines about a selection: how many Gaussians, their box, and of which objects."""
    box = box_around(scene.points[selection.mask], scene.up)
    size = " x ".join(f"{edge:.4g}" for edge in box.size)
    centre = ", ".join(f"{value:.4g}" for value in box.centre)
    lines = [
        f"{name}: {len(selection):,d} of {len(scene):,d} Gaussians, {shown(selection.made)}",
        f"  box of {size} around ({centre}), units of the model",
    ]
    ids, counts = np.unique(scene.ids[selection.mask], return_counts=True)
    for row in np.argsort(-counts):
        called = scene.names_of_ids.get(int(ids[row]))
        suffix = "" if called is None else f", {called}"
        lines.append(f"  {counts[row]:9,d} of ID {ids[row]}{suffix}")
    return "\n".join(lines)


def _mask(scene: Scene, what: Any, probability: float | None = None) -> NDArray[np.bool_]:
    if isinstance(what, Pick):
        return _refined(scene, what, _picked(scene, what))
    if isinstance(what, tuple):
        return np.logical_or.reduce([_mask(scene, entry, probability) for entry in what])
    if what == EVERYTHING:
        return np.ones(len(scene), bool)
    return _of_ids(scene, scene.ids_of(what), probability)


def _of_ids(scene: Scene, ids: list[int], probability: float | None) -> NDArray[np.bool_]:
    if probability is None:
        return np.isin(scene.ids, ids)
    return (probability_of(scene.trained, ids) > probability).cpu().numpy()


def _picked(scene: Scene, pick: Pick) -> NDArray[np.bool_]:
    if pick.of is not None:
        return _mask(scene, pick.of, pick.probability)
    if pick.any is not None:
        return _mask(scene, pick.any, pick.probability)
    if pick.all is not None:
        return np.logical_and.reduce([_mask(scene, entry, pick.probability) for entry in pick.all])
    if pick.selection is not None:
        return scene.stored(pick.selection)
    if pick.click is not None:
        return _of_ids(scene, [_clicked(scene, pick.click)], pick.probability)
    if pick.in_view is not None:
        return _of_ids(scene, _framed(scene, pick.in_view), pick.probability)
    if pick.in_box is not None:
        return space_box(pick.in_box).contains(scene.points)
    return np.ones(len(scene), bool)


def _refined(scene: Scene, pick: Pick, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    points = scene.points
    if pick.without is not None:
        mask = mask & ~_mask(scene, pick.without)
    if pick.drop_floaters:
        mask = without_floaters(points, mask)
    if pick.largest_part:
        mask = largest_part(points, mask)
    if pick.shrink > 0:
        mask = shrunk(points, mask, pick.shrink)
    if pick.grow > 0:
        mask = grown(points, mask, pick.grow)
    return in_hull(points, mask) if pick.hull else mask


def space_box(box: SpaceBox) -> Box:
    """Return the box that a user describes."""
    return Box(np.array(box.centre), rotation(box.rotate_deg).T, np.array(box.size))


def _clicked(scene: Scene, click: Click) -> int:
    """Return the ID whose Gaussians make most of a pixel."""
    camera, photograph = scene.camera(click.view), scene.photograph_size(click.view)
    column, row = click.at
    if not (0 <= column < photograph[0] and 0 <= row < photograph[1]):
        raise InputError(
            f"the click at ({column:g}, {row:g}) is outside of {click.view}, which has "
            f"{photograph[0]} x {photograph[1]} px"
        )
    weights, present = _weights(scene, camera)
    at = weights[
        min(int(row * camera.height / photograph[1]), camera.height - 1),
        min(int(column * camera.width / photograph[0]), camera.width - 1),
    ]
    if at.sum() < _COVERED:
        raise InputError(
            f"there is nothing at ({column:g}, {row:g}) of {click.view}: the scene covers "
            f"{100 * at.sum():.0f} % of that pixel"
        )
    return present[int(at.argmax())]


def _framed(scene: Scene, frame: ViewBox) -> list[int]:
    """Return the IDs that a view shows more inside a rectangle than outside, background never."""
    camera, photograph = scene.camera(frame.view), scene.photograph_size(frame.view)
    weights, present = _weights(scene, camera)
    left, top, right, bottom = frame.box
    columns = (np.arange(camera.width) + 0.5) * photograph[0] / camera.width
    rows = (np.arange(camera.height) + 0.5) * photograph[1] / camera.height
    inside = ((rows >= top) & (rows <= bottom))[:, None] & ((columns >= left) & (columns <= right))
    total = weights.sum(axis=(0, 1))
    share = weights[inside].sum(axis=0) / np.maximum(total, 1e-12)
    seen = total >= 1.0  # a pixel's worth
    found = [
        index
        for index, part, here in zip(present, share, seen, strict=True)
        if index > 0 and here and part > 0.5
    ]
    if not found:
        raise InputError(
            f"the rectangle {list(frame.box)} of {frame.view} holds more than half of no object; "
            f"it has {photograph[0]} x {photograph[1]} px"
        )
    return found


def _weights(scene: Scene, camera: Camera) -> tuple[NDArray[np.float32], list[int]]:
    present = [row.id for row in scene.objects]
    rasterizer = rasterizer_for(scene.trained)
    return weights_by_id(scene.trained, scene.ids, present, camera, rasterizer), present
