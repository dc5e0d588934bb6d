"""Write ``view.html``: the trained scene in one file that any browser opens, without a server.

The file holds the Gaussians in a compact form (:mod:`.splats`), the photographs and objects, small,
and the viewer (``web/``). It is in the training frame; ``unit`` says how long that is for the user.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.compute.cpu_runtime import set_threads
from gradiseg_core.config.view import ViewConfig
from gradiseg_core.editing.colours import base_colours, recolouring
from gradiseg_core.editing.scene import Scene, load
from gradiseg_core.errors import InputError
from gradiseg_core.files.images import read_image
from gradiseg_core.files.palette import id_colors
from gradiseg_core.files.pictures import Moments, shown_photograph
from gradiseg_core.splatting.rasterization.reference import NEAR_PLANE
from gradiseg_core.stages.view.budget import kept
from gradiseg_core.stages.view.orientation import held_up, middle, radius_of
from gradiseg_core.stages.view.page import write_page
from gradiseg_core.stages.view.photos import Sightings, as_url, longest_side, thumbnail
from gradiseg_core.stages.view.splats import LEAN_ABOVE, LEAN_DEGREE, Splats, encode

logger = logging.getLogger(__name__)

FORMAT = 1
#: Bytes of all photographs in a page, in a scene of few Gaussians and of many.
PHOTO_BYTES, LEAN_PHOTO_BYTES = 3_000_000, 700_000
#: Most photographs in a page, evenly spread.
MOST_PHOTOS = 200
#: Pictures for a browser that cannot draw the scene.
FALLBACKS = 4
#: Opacity from which a Gaussian counts for where the scene is.
_OPAQUE = 0.5


def write_view(
    run_dir: Path, tracking_dir: Path, out: Path, config: ViewConfig, *, threads: int
) -> dict[str, Any]:
    """Write the page of a run.

    Args:
        run_dir: ``<results>/<scene>/<variant>/seed<n>``, trained; names of objects come from its
            ``grounding/``, pictures for old browsers from its ``render/``, where they are.
        tracking_dir: ID maps of the training views and pictures of the objects, where they are.
        out: The file.
        config: What to keep.
        threads: CPU threads of torch.

    Returns:
        Numbers of Gaussians, objects and photographs, and the file's size, bytes.

    Raises:
        InputError: If the run is not trained, or has no cameras.
    """
    set_threads(threads)
    made = parts_of(load(run_dir, device="cpu"), tracking_dir, config)
    write_page(out, *made.page)
    facts = {
        "gaussians": made.scene["splats"]["count"],
        "objects": len(made.scene["objects"]),
        "photographs": len(made.scene["cameras"]),
        "bytes": out.stat().st_size,
    }
    logger.info("%s: %s", out, json.dumps(facts))
    return facts


@dataclass(frozen=True)
class Parts:
    """What a page is made of.

    Attributes:
        scene: What the page knows of the scene, JSON types.
        splats: The compressed Gaussians.
        fallback: Data URLs of pictures for a browser that cannot draw.
    """

    scene: dict[str, Any]
    splats: bytes
    fallback: list[str]

    @property
    def page(self) -> tuple[str, dict[str, Any], bytes, list[str]]:
        """The arguments of :func:`.page.page`."""
        return self.scene["title"], self.scene, self.splats, self.fallback


def parts_of(scene: Scene, tracking_dir: Path, config: ViewConfig) -> Parts:
    """Return what the page of a scene is made of.

    Args:
        scene: Trained, or edited.
        tracking_dir: ID maps of the training views and pictures of the objects, where they are.
        config: What to keep.

    Raises:
        InputError: If it has no cameras, or nothing can be seen.
    """
    run_dir = scene.run.run
    if not scene.cameras or scene.run.colmap is None:
        raise InputError(f"{run_dir} has no cameras beside it; run the colmap stage again")
    cameras = list(scene.cameras.values())
    index = kept(scene.trained, cameras, config.max_gaussians)
    if len(index) == 0:
        raise InputError(f"{run_dir}: no Gaussian is visible; train the scene again")
    splats = splats_of(scene, index)
    packed, header = encode(splats)
    contents = contents_of(scene, splats, tracking_dir, lean=len(splats) > LEAN_ABOVE)
    contents |= {"splats": header, "notes": _notes(scene, splats, config)}
    return Parts(contents, packed, _fallback(run_dir / "render" / "side_by_side"))


def splats_of(scene: Scene, index: NDArray[np.int64]) -> Splats:
    """Return what the page shows of some Gaussians of a scene."""
    trained, rows = scene.trained, torch.from_numpy(index)
    degree = int(trained.metadata["sh_degree"])
    if len(index) > LEAN_ABOVE:
        degree = min(degree, LEAN_DEGREE)
    place = np.zeros(max((row.id for row in scene.objects), default=0) + 1, np.int32)
    for number, row in enumerate(_listed(scene), start=1):
        place[row.id] = number
    encodings = trained.identities[rows].cpu().numpy()
    opacities = trained.opacities[rows].sigmoid().cpu().numpy()
    moments = Moments(encodings.shape[1])
    opaque = encodings[opacities > _OPAQUE]
    moments.add((opaque if len(opaque) else encodings)[None])
    bases = (degree + 1) ** 2 - 1
    return Splats(
        means=trained.means[rows].cpu().numpy(),
        quats=trained.quats[rows].cpu().numpy(),
        scales=trained.scales[rows].cpu().numpy(),
        opacities=opacities,
        sh0=trained.sh0[rows, 0].nan_to_num(0.0).cpu().numpy(),
        shN=trained.shN[rows, :bases].nan_to_num(0.0).cpu().numpy(),
        objects=place[scene.ids[index]],
        confidences=np.nan_to_num(scene.certainty[index]),
        identities=moments.pca().colors(np.nan_to_num(encodings)[None])[0],
    )


def contents_of(
    scene: Scene, splats: Splats, tracking_dir: Path, *, lean: bool = False
) -> dict[str, Any]:
    """Return what the page knows beside the Gaussians, JSON types.

    Args:
        scene: The run.
        splats: What the page shows of it.
        tracking_dir: ID maps of the training views.
        lean: Whether photographs must be small.
    """
    assert scene.run.colmap is not None
    images = scene.run.colmap / "images"
    cameras = list(scene.cameras.values())
    solid = splats.means[splats.opacities > _OPAQUE].astype(np.float64)
    if len(solid) < 10:
        solid = splats.means.astype(np.float64)
    named = solid
    on_objects = splats.means[(splats.opacities > _OPAQUE) & (splats.objects > 0)]
    if len(on_objects) >= 10:
        named = on_objects.astype(np.float64)
    ground = scene.ground
    up = held_up(cameras) if ground is None else ground.normal
    pivot = middle(named, cameras)
    sightings = Sightings.of(tracking_dir, [camera.name for camera in cameras])
    metadata = scene.trained.metadata
    run = scene.run.run
    title = f"{run.parents[1].name}: {run.parent.name}, {run.name.replace('seed', 'seed ')}"
    shown = _spread(cameras)
    return {
        "format": FORMAT,
        "title": title,
        "scene": run.parents[1].name,
        "variant": run.parent.name,
        "seed": metadata.get("seed"),
        "iterations": metadata.get("iterations"),
        "run": f"results/{run.parents[1].name}/{run.parent.name}/{run.name}",
        "unit": 1.0 / scene.frame.scale,
        "near": NEAR_PLANE,
        "background": metadata.get("background", "black"),
        "up": _numbers(up, 9),
        "axes": None if ground is None else [_numbers(axis, 9) for axis in ground.axes],
        "pivot": _numbers(pivot),
        "radius": radius_of(named),
        "home": _home(shown, pivot),
        "objects": _objects(scene, splats, sightings, tracking_dir),
        "cameras": _photographs(scene, shown, images, lean),
    }


def _listed(scene: Scene) -> list[Any]:
    return [row for row in scene.objects if row.id > 0]


def _objects(
    scene: Scene, splats: Splats, sightings: Sightings, tracking_dir: Path
) -> list[dict[str, Any]]:
    """Return the table of objects, in the order in which the Gaussians count them from 1."""
    palette = id_colors(max((row.id for row in scene.objects), default=0) + 1)
    rows = []
    for number, row in enumerate(_listed(scene), start=1):
        own = splats.objects == number
        views = sightings.views.get(row.id, {})
        rows.append(
            {
                "id": row.id,
                "name": row.name,
                "count": row.count,
                "shown": int(own.sum()),
                "size": _numbers(row.box.size),
                "centre": _numbers(splats.means[own].mean(axis=0) if own.any() else np.zeros(3)),
                "confidence": round(row.probability, 4),
                "colour": "#" + "".join(f"{int(value):02x}" for value in palette[row.id]),
                "shade": _numbers(_shade(scene, row.id)),
                "views": {name: round(share, 5) for name, share in views.items()},
                "picture": thumbnail(row.id, tracking_dir),
            }
        )
    return rows


def _shade(scene: Scene, index: int) -> NDArray[np.float64]:
    """Return (gain, offset): recoloured, an object is colour * (gain * brightness + offset)."""
    own = torch.from_numpy(np.flatnonzero(scene.ids == index))
    sizes = scene.trained.scales[own].exp().sort(dim=1).values
    weights = scene.trained.opacities[own].sigmoid() * sizes[:, 1] * sizes[:, 2]
    matrix, offset = recolouring(
        base_colours(scene.trained.sh0[own].nan_to_num(0.0)),
        weights.nan_to_num(0.0).numpy().astype(np.float64) + 1e-12,
        np.ones(3),
    )
    return np.array([matrix[0].sum(), offset[0]])  # LUMINANCE adds up to 1


def _photographs(
    scene: Scene, cameras: list[Camera], images: Path, lean: bool
) -> list[dict[str, Any]]:
    sizes = [(camera.width, camera.height) for camera in cameras]
    side = longest_side(sizes, LEAN_PHOTO_BYTES if lean else PHOTO_BYTES)
    return [
        {
            "name": camera.name,
            "split": scene.splits.get(camera.name),
            "width": camera.width,
            "height": camera.height,
            "fx": float(camera.K[0, 0]),
            "fy": float(camera.K[1, 1]),
            "cx": float(camera.K[0, 2]),
            "cy": float(camera.K[1, 2]),
            "rotation": [_numbers(row, 9) for row in camera.cam_from_world[:3, :3]],
            "center": _numbers(camera.center_in_world, 9),
            "picture": as_url(shown_photograph(images.parent, camera.name), side, quality=75),
        }
        for camera in cameras
    ]


def _spread(cameras: list[Camera]) -> list[Camera]:
    if len(cameras) <= MOST_PHOTOS:
        return cameras
    places = np.linspace(0, len(cameras) - 1, MOST_PHOTOS).round().astype(int)
    return [cameras[place] for place in places]


def _home(cameras: list[Camera], pivot: NDArray[np.float64]) -> int:
    """Return the camera that looks straightest at the pivot."""
    offs = []
    for camera in cameras:
        x, y, z = camera.cam_from_world[:3, :3] @ pivot + camera.cam_from_world[:3, 3]
        offs.append(np.hypot(x, y) / z if z > 0 else np.inf)
    return int(np.argmin(offs))


def _notes(scene: Scene, splats: Splats, config: ViewConfig) -> list[str]:
    notes = []
    total = len(scene)
    if len(splats) == config.max_gaussians < total:
        notes.append(
            f"{len(splats):,} of {total:,} Gaussians are shown, those that contribute most to the "
            "photographs' views (view.max_gaussians)."
        )
    if len(scene.cameras) > MOST_PHOTOS:
        notes.append(f"{MOST_PHOTOS} of {len(scene.cameras)} photographs are shown.")
    if len(splats) > LEAN_ABOVE:
        notes.append("Colours and positions are rounded to keep the file small.")
    return notes


def _fallback(folder: Path) -> list[str]:
    pictures = sorted(folder.glob("*.png"))[:FALLBACKS]
    return [as_url(read_image(path), 1400, quality=80) for path in pictures]


def _numbers(values: NDArray[Any], digits: int = 6) -> list[float]:
    return [float(f"{value:.{digits}g}") for value in np.asarray(values, np.float64)]
