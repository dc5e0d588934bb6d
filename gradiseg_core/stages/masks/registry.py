"""The mask backends by the name that the configuration uses."""

from __future__ import annotations

from collections.abc import Callable

from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.stages.masks.backends import graph, precomputed, sam
from gradiseg_core.stages.masks.interface import Segmentation, Segmenter

BACKENDS: dict[str, Callable[[Segmentation], Segmenter]] = {
    "graph": graph.GraphSegmenter,
    "precomputed": precomputed.make,
    "sam": sam.make,
}


def resolve(name: str) -> Callable[[Segmentation], Segmenter]:
    """Return the factory of a backend.

    Raises:
        BackendUnavailableError: If there is no backend of this name.
    """
    try:
        return BACKENDS[name]
    except KeyError:
        raise BackendUnavailableError(
            f"masks.backend: no backend `{name}`; this version has {', '.join(BACKENDS)}. Segments "
            "of any other program can be used through `precomputed`, as one ID image for each view"
        ) from None
