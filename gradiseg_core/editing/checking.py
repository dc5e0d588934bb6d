"""What an edit names, looked up before its first operation runs: a late mistake costs no time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradiseg_core.config import edits as config
from gradiseg_core.config.picks import EVERYTHING, Pick, entries
from gradiseg_core.editing.objects import check_all, check_free, free_name, ids_of
from gradiseg_core.editing.painting import painter
from gradiseg_core.errors import InputError

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene


def check_names(scene: Scene, edit: Sequence[config.Operation]) -> None:
    """Check that every object, view, scene and file that operations name is there when they run.

    Args:
        scene: That the first operation is done to.
        edit: Operations. What they take away and add counts for those after them.

    Raises:
        InputError: Of the first operation that names something that is not there.
    """
    known = _Known(scene)
    for number, step in enumerate(edit, 1):
        try:
            _check(scene, step, known)
        except InputError as error:
            raise InputError(f"operation {number} ({step.name}): {error}") from error
        known.after(step)


class _Known:
    """Which objects there are; operations are followed as far as names and IDs tell.

    Attributes:
        sure: Whether no operation has added what only its run can tell.
        all_there: Whether none has taken away what only its run can tell.
    """

    def __init__(self, scene: Scene) -> None:
        self.present = [int(i) for i in np.unique(scene.ids)]
        self.prompts = {name: list(ids) for name, ids in scene.prompts.items()}
        self.names = dict(scene.names_of_ids)
        self.next = scene.trained.classifier.num_classes
        self.sure = self.all_there = True

    def ids_of(self, what: int | str) -> list[int]:
        try:
            return ids_of(what, self.present, self.prompts)
        except InputError:
            if self.sure:
                raise
            return []

    def check(self, names: Iterable[int | str]) -> None:
        """Check that all names are there, as far as that can be known."""
        if self.sure:
            check_all(names, self.present, self.prompts)

    def after(self, step: config.Operation) -> None:
        """Follow an operation."""
        if isinstance(step, config.Remove | config.Keep):
            what = getattr(step, step.name)
            if _is_plain(what) and EVERYTHING not in _names(what):
                own = {index for name in _names(what) for index in self.ids_of(name)}
                kept = isinstance(step, config.Keep)
                self.present = [index for index in self.present if (index in own) == kept]
            else:
                self.all_there = False
        elif isinstance(step, config.Duplicate):
            what = step.duplicate
            one = isinstance(what, int | str) and what != EVERYTHING
            ids = self.ids_of(what) if one else []
            self._add(
                self.names.get(ids[0], f"copy of ID {ids[0]}") if len(ids) == 1 else None, step
            )
        elif isinstance(step, config.Insert):
            self._add(None, step)

    def _add(self, name: str | None, step: config.Duplicate | config.Insert) -> None:
        """Note one more object; None: what it is called without `called` is not known."""
        self.sure &= name is not None
        wanted = step.called
        if wanted is None and name is not None:
            wanted = free_name(name, {*self.prompts, *config.RESERVED})
        if wanted is not None:
            self.prompts[wanted] = [self.next]
            self.names[self.next] = wanted
        self.present.append(self.next)
        self.next += 1


def _check(scene: Scene, step: config.Operation, known: _Known) -> None:
    called = getattr(step, "called", None)
    if called is not None and known.all_there:
        check_free(called, known.present, known.prompts)
    if isinstance(step, config.Insert):
        scene, known = (other := scene.another(step.scene)), _Known(other)
    painter(getattr(step, "fill", True))
    if isinstance(step, config.Style) and not step.like.is_file():
        raise InputError(f"{step.like}: there is no such picture")
    for selection in step.stored:
        scene.stored(selection)
    known.check(name for what in step.whats for name in _names(what) if name != EVERYTHING)
    for what in step.whats:
        for view in _views(what):
            scene.camera(view)


def _names(what: Any) -> Iterator[int | str]:
    """Yield every ID and name in what is meant."""
    for entry in entries(what):
        if not isinstance(entry, Pick):
            yield entry


def _views(what: Any) -> Iterator[str]:
    """Yield every view in what is meant."""
    for entry in entries(what):
        if isinstance(entry, Pick):
            yield from (place.view for place in (entry.click, entry.in_view) if place is not None)


def _is_plain(what: Any) -> bool:
    return not any(isinstance(entry, Pick) for entry in entries(what))
