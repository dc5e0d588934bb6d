"""Depth and normals of the views as files, and pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera, Frame
from gradiseg_core.files.geometry import Surface, save_depth, save_normals
from gradiseg_core.files.images import write_image
from gradiseg_core.files.pictures import depth_picture, overlay_ids, panel_row, shown_photograph
from gradiseg_core.geometry.labels import draw, surface_labels
from gradiseg_core.geometry.normals import surface_normals, view_normals
from gradiseg_core.geometry.options import LabelOptions
from gradiseg_core.progress import Progress

#: Views in the overview, evenly spaced.
_OVERVIEW = 5
#: Percent of the nearest and of the farthest depths that saturate.
_PERCENTILE = 1.0
#: Opacity of the objects' colours over the photographs.
_OPACITY = 0.55


@dataclass(frozen=True)
class Shown:
    """What there is to show.

    Attributes:
        cameras: Per view, of the maps' size.
        depths: Per view [h, w], training frame.
        surface: None where nothing was fused.
        object_of: [N], the object of every point of the surface; None where none was found.
    """

    cameras: Sequence[Camera]
    depths: Sequence[NDArray[np.float32]]
    surface: Surface | None
    object_of: NDArray[np.int32] | None


def write_pictures(
    out_dir: Path, colmap_dir: Path, shown: Shown, options: LabelOptions, unit: float, frame: Frame
) -> None:
    """Write ``depth/``, ``normals/``, ``previews/`` and ``overview.png``.

    Args:
        out_dir: Output folder of the stage.
        colmap_dir: With the photographs.
        shown: Views and surface.
        options: How the surface is drawn.
        unit: User's units a step of depth.
        frame: The training frame.
    """
    near, far = _range(shown.depths)
    picked = np.linspace(0, len(shown.cameras) - 1, min(_OVERVIEW, len(shown.cameras))).round()
    rows = []
    with Progress("pictures of the surface", len(shown.cameras), "views") as progress:
        for place, (camera, depth) in enumerate(zip(shown.cameras, shown.depths, strict=True)):
            save_depth(out_dir, camera.stem, depth / frame.scale, unit)
            if shown.surface is None:
                normals = view_normals(depth, camera)
            else:
                normals = surface_normals(shown.surface, depth, camera, options.disc)
            save_normals(out_dir, camera.stem, normals)
            size = (camera.width, camera.height)
            photograph = shown_photograph(colmap_dir, camera.name, size)
            rgb = np.where(normals.any(axis=-1, keepdims=True), (normals + 1.0) * 127.5, 0.0)
            panels = [
                (camera.stem, photograph),
                ("depth", depth_picture(depth, depth > 0, near, far)),
                ("normals", rgb.round().astype(np.uint8)),
            ]
            if shown.surface is not None and shown.object_of is not None:
                node, _ = draw(shown.surface, camera, options.disc)
                ids = surface_labels(node, shown.object_of, shown.surface, depth, camera, options)
                panels.append(("objects", overlay_ids(photograph, ids.clip(0), _OPACITY)))
            row = panel_row(panels)
            write_image(out_dir / "previews" / f"{camera.stem}.png", row)
            if place in picked:
                rows.append(row)
            progress.advance()
    width = max(row.shape[1] for row in rows)  # views may be of different sizes
    rows = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    write_image(out_dir / "overview.png", np.concatenate(rows))


def _range(depths: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Return the nearest and the farthest depth to show, over all views."""
    limits = [
        np.percentile(depth[depth > 0], [_PERCENTILE, 100.0 - _PERCENTILE])
        for depth in depths
        if (depth > 0).any()
    ]
    if not limits:
        return 1.0, 1.0
    return float(min(low for low, _ in limits)), float(max(high for _, high in limits))
