"""Whether the observations of a given COLMAP model fit its poses, cameras and points."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

_MOST_BEHIND = 0.2  # allowed share of points behind a camera that observes them
_MOST_ERROR_PX = 10.0
_MOST_ERROR = 0.01  # likewise, of the longer side, for large photographs and approximate models
_BEHIND_PX = 1e100  # COLMAP's error of a point behind a camera is the largest number that there is


def misfit(model: Any) -> str | None:
    """Recompute the reprojection errors; say why the model does not fit its images.

    The errors in the file are not used, because a program that changes the poses may leave them. A
    point behind a camera that observes it keeps its error from the file.

    Args:
        model: `pycolmap.Reconstruction`; the errors (px) of its points are replaced.

    Returns:
        What is wrong and the likely cause; None if the model fits or has no observations.
    """
    points = [point for point in model.points3D.values() if point.track.length() > 0]
    if not points:
        return None
    stored = [point.error for point in points]
    model.update_point_3d_errors()
    errors = np.array([point.error for point in points])
    behind = ~(errors < _BEHIND_PX)
    for index in np.flatnonzero(behind):
        points[index].error = stored[index]
    longest = max(max(camera.width, camera.height) for camera in model.cameras.values())
    allowed = max(_MOST_ERROR_PX, _MOST_ERROR * longest)
    median = float(np.median(errors[~behind])) if not behind.all() else np.inf
    if behind.mean() > _MOST_BEHIND:
        found = f"{behind.mean():.0%} of its points lie behind cameras that observe them"
    elif median > allowed:
        found = f"its points lie {median:.0f} px from their observations (median)"
    else:
        if behind.any():
            logger.warning(
                "%d of the model's %d points lie behind a camera that observes them",
                behind.sum(),
                len(points),
            )
        return None
    return (
        f"{found}, so its poses are not those of its images. COLMAP's poses map the world "
        "to the camera, with x to the right, y down and z forward: are these camera-to-world, or "
        "in OpenGL's axes (y up, z backward)? Were images renamed, or made in another size?"
    )
