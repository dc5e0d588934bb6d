"""Whether exposure or white balance change between photographs, by the colours of their points.

A point that several photographs see has one colour, up to what the camera did and how it shines:
log2 c = g + a for each channel of linear light, with a gain g for each photograph and an a for each
point. Gains are those of the smallest sum of absolute deviations (reweighted least squares, points
eliminated), so that highlights and wrong matches do not count.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from gradiseg_core.files.images import read_image
from gradiseg_core.srgb import linear_light
from gradiseg_core.stages.sfm.registered import registered

logger = logging.getLogger(__name__)

#: From these changes on they are said. A point of the scene has one colour in training: smaller
#: ones are made up for by spherical harmonics. Rendered captures have 0.03 stops of both, bananas
#: taken with automatic white balance 0.62 and 0.73.
EXPOSURE_STOPS, WHITE_BALANCE_STOPS = 0.7, 0.3
_SIDE = 1000  # px, longest side at which colours are read
_MOST_POINTS = 20_000
_FEWEST = 20  # points of a photograph that is judged
_UNSURE = 0.1  # stops, standard error of its gain from which on it is not
_DARK, _BRIGHT = 8, 247  # of 255: beyond, a channel may be clipped
_ROUNDS, _SHARP = 12, 0.05  # of the reweighting; stops below which deviations count as squares
_NAMED = 5


@dataclass(frozen=True)
class Light:
    """Gains of photographs against the middle one.

    Attributes:
        names: File names.
        gains: [N, 3] log2 of the gain in red, green and blue, linear light.
    """

    names: list[str]
    gains: NDArray[np.float64]

    @property
    def exposure(self) -> NDArray[np.float64]:
        """Brightness [N], stops."""
        mean: NDArray[np.float64] = self.gains.mean(axis=1)
        return mean

    @property
    def white_balance(self) -> NDArray[np.float64]:
        """Red and blue against green [N, 2], stops."""
        return self.gains[:, [0, 2]] - self.gains[:, 1:2]


def measure_light(model: Any, image_dir: Path) -> Light | None:
    """Return the gains of a model's photographs; None where too few points say something.

    Args:
        model: `pycolmap.Reconstruction` in the pixels of the photographs.
        image_dir: Folder of the photographs.
    """
    ids = sorted(key for key, point in model.points3D.items() if point.track.length() > 1)
    if not ids:
        return None
    step = -(-len(ids) // _MOST_POINTS)
    number = {key: index for index, key in enumerate(ids[::step])}
    images = registered(model)
    views, points, colors = [], [], []
    for index, image in enumerate(images):
        seen = [p for p in image.points2D if p.has_point3D() and p.point3D_id in number]
        if not seen:
            continue
        values = _colors(image_dir / image.name, image.camera, np.array([p.xy for p in seen]))
        good = ((values > _DARK) & (values < _BRIGHT)).all(axis=1)
        own = np.array([number[p.point3D_id] for p in seen])[good]
        views.append(np.full(len(own), index))
        points.append(own)
        colors.append(np.log2(linear_light(values[good] / 255.0)))
    if not views:
        return None
    return _solved(
        [image.name for image in images],
        np.concatenate(views),
        np.concatenate(points),
        np.concatenate(colors),
    )


def say_light(light: Light | None) -> dict[str, Any]:
    """Warn where exposure or white balance change; return what was measured, for `sfm.json`."""
    if light is None:
        return {}
    exposure = light.exposure
    balance = light.white_balance - np.median(light.white_balance, axis=0)
    stops = float(np.ptp(exposure))
    shift = float(np.ptp(balance, axis=0).max())
    found: dict[str, Any] = {
        "exposure_stops": round(stops, 3),
        "white_balance_stops": round(shift, 3),
        "differ": [],
    }
    said = []
    if stops > EXPOSURE_STOPS:
        odd = _farthest(light.names, np.abs(exposure - np.median(exposure)))
        found["differ"] += odd
        said.append(
            f"some are up to {2.0**stops:.1f} times as bright as others (farthest from most: "
            f"{', '.join(odd)})"
        )
    if shift > WHITE_BALANCE_STOPS:
        odd = _farthest(light.names, np.abs(balance).max(axis=1))
        found["differ"] += [name for name in odd if name not in found["differ"]]
        said.append(
            f"their white balance differs, red or blue by up to {2.0**shift:.2f} times (farthest "
            f"from most: {', '.join(odd)})"
        )
    if said:
        logger.warning(
            "photographs show the same points in different colours: %s. A point of the scene is "
            "trained as one colour, so this costs sharpness and leaves haze. Develop the "
            "photographs with the same settings (a raw developer does it for all at once), leave "
            "out those that differ, or take them again with exposure and white balance locked",
            "; ".join(said),
        )
    return found


def _farthest(names: Sequence[str], distance: NDArray[np.float64]) -> list[str]:
    order = np.argsort(-distance, kind="stable")
    return [names[k] for k in order[:_NAMED] if distance[k] >= 0.5 * distance[order[0]]]


def _colors(path: Path, camera: Any, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the colours [n, 3], 0..255, of a photograph at positions [n, 2], px."""
    scale = min(1.0, _SIDE / max(camera.width, camera.height))
    size = max(1, round(camera.width * scale)), max(1, round(camera.height * scale))
    picture = read_image(path, size)
    column = (xy[:, 0] * size[0] / camera.width).astype(np.int64).clip(0, size[0] - 1)
    row = (xy[:, 1] * size[1] / camera.height).astype(np.int64).clip(0, size[1] - 1)
    return picture[row, column].astype(np.float64)


def _solved(
    names: list[str],
    view: NDArray[np.int64],  # [n]
    point: NDArray[np.int64],  # [n]
    color: NDArray[np.float64],  # [n, 3]
) -> Light | None:
    """Return the gains of the photographs that are tied to most others."""
    keep = np.bincount(view, minlength=len(names))[view] >= _FEWEST
    keep &= np.bincount(point[keep], minlength=point.max() + 1)[point] > 1
    view, point, color = view[keep], point[keep], color[keep]
    known = np.unique(view)
    if len(known) < 2:
        return None
    view = np.searchsorted(known, view)
    point = np.unique(point, return_inverse=True)[1]
    rows = np.arange(len(view))
    of_view = sparse.csr_array((np.ones(len(view)), (rows, view)))
    of_point = sparse.csr_array((np.ones(len(point)), (rows, point)))
    tied = of_view.T @ of_point
    group = connected_components(tied @ tied.T)[1]
    sure = group == np.bincount(group).argmax()
    gains, errors = np.zeros((len(known), 3)), np.zeros(len(known))
    for channel in range(3):
        target = color[:, channel]
        weight = np.ones(len(target))
        for _ in range(_ROUNDS):
            gains[:, channel] = _weighted(of_view, of_point, target, weight)
            rest = target - of_view @ gains[:, channel]
            total = of_point.T @ weight
            level = (of_point.T @ (weight * rest)) / total
            weight = 1.0 / np.maximum(np.abs(rest - of_point @ level), _SHARP)
        deviation = np.abs(rest - of_point @ level)
        errors = np.maximum(errors, [_error(deviation[view == k]) for k in range(len(known))])
    sure &= errors <= _UNSURE
    if sure.sum() < 2:
        return None
    gains = gains[sure] - np.median(gains[sure], axis=0)
    return Light([names[k] for k in known[sure]], gains)


def _error(deviation: NDArray[np.float64]) -> float:
    """Return the standard error of a median, by absolute deviations."""
    return float(1.25 * 1.48 * np.median(deviation) / np.sqrt(len(deviation)))


def _weighted(
    of_view: Any, of_point: Any, target: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the gains of the least weighted squares, of the smallest norm."""
    diagonal = sparse.diags_array(weight)
    tied = (of_view.T @ diagonal @ of_point).tocsr()  # [N, P]
    share = sparse.diags_array(1.0 / (of_point.T @ weight))
    normal = (of_view.T @ diagonal @ of_view - tied @ share @ tied.T).toarray()
    right = of_view.T @ (weight * target) - tied @ (share @ (of_point.T @ (weight * target)))
    solution: NDArray[np.float64] = np.linalg.lstsq(normal, right, rcond=1e-9)[0]
    return solution
