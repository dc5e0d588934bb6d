"""Whether photographs were exposed differently, by their EXIF data."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gradiseg_core.stages.scene.inspecting import Photograph
from gradiseg_core.stages.scene.listing import some

logger = logging.getLogger(__name__)

#: A point of the scene has one colour in training. Where brightness differs by less than this,
#: spherical harmonics make up for it; beyond, floaters and haze do.
EXPOSURE_STOPS = 0.7


def say_exposures(photographs: Sequence[Photograph]) -> float:
    """Warn if the exposure changes, naming the photographs that differ most.

    Args:
        photographs: All of a scene.

    Returns:
        The range of the exposures in stops, factors of two of brightness; 0 where fewer than two
        photographs have EXIF data about it.
    """
    known = {photo.path.name: photo.exposure for photo in photographs if photo.exposure is not None}
    if len(known) < 2:
        return 0.0
    middle = sorted(known.values())[len(known) // 2]
    stops = max(known.values()) - min(known.values())
    if stops > EXPOSURE_STOPS:
        odd = sorted(known, key=lambda name: -abs(known[name] - middle))
        far = [name for name in odd if abs(known[name] - middle) > EXPOSURE_STOPS / 2]
        logger.warning(
            "the camera changed its exposure between photographs: by their EXIF data some are up "
            "to %.1f times as bright as others (farthest from most: %s). A point of the scene is "
            "trained as one colour, so this costs sharpness. Lock exposure, ISO and white balance "
            "when you take photographs (on a phone: hold the finger on the scene)",
            2.0**stops, some(far[:5]),
        )  # fmt: skip
    return stops
