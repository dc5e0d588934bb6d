"""The output folder of stage `geometry`, for the stages that read it.

=====================  ==========================================================================
``geometry.json``      the verdict (``found`` or ``failed``) and its reason, support plane, unit of
                       depth, what was measured
``surface.ply``        the fused surface: position, normal, colour, and the numbers ``object``,
                       ``part`` and ``group`` of every point (0: background)
``surface.npz``        the same for programs: graph of neighbours, concavity, heights over the
                       support, the order of merging, and the objects of every cut
``depth/<stem>.png``   16 bit, ``depth_unit`` of ``geometry.json`` a step; 0: nothing there
``normals/<stem>.png`` 255 (n + 1) / 2 as RGB, n in the axes of the scene; black: nothing there
``previews/``          photograph, depth, normals and objects of every view, side by side
``gaussians/``         the training from colour alone, as any trained scene (:mod:`.trained`)
=====================  ==========================================================================

Files are in the units and axes of the user's model, less the offset of ``frame.json`` where
training works in a frame of its own, as ``train/point_cloud.ply`` is (:class:`.Frame`).
What is read here is in the training frame, as cameras and trained scenes are.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import FRAME_FILE, Frame
from gradiseg_core.errors import InputError

FILE_NAME = "geometry.json"
SURFACE_FILE = "surface.npz"
#: The cuts of the hierarchy, from fine to coarse, and what a point's number is called in the PLY.
CUTS = {"parts": "part", "objects": "object", "groups": "group"}
_STEPS = 65535


@dataclass(frozen=True)
class SupportPlane:
    """What objects stand on: all x with normal @ x = offset.

    Attributes:
        normal: [3], unit length, into free space.
        offset: World units.
    """

    normal: NDArray[np.float64]
    offset: float

    def height(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far points [..., 3] lie over the plane, world units."""
        return points @ self.normal - self.offset


@dataclass(frozen=True)
class Surface:
    """N nodes and E edges between neighbours.

    Attributes:
        points: [N, 3] float64, world.
        normals: [N, 3] float32, unit length, into free space.
        lab: [N, 3] float32, CIELAB.
        concavity: [N] float32, 0 (flat or convex) to 1 (a crease).
        index: [N, 3] int64, voxels.
        edges: [E, 2] int64, pairs of nodes that touch (26-neighbourhood), ascending.
        voxel: Side of a voxel, world units.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float32]
    lab: NDArray[np.float32]
    concavity: NDArray[np.float32]
    index: NDArray[np.int64]
    edges: NDArray[np.int64]
    voxel: float

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class SavedSurface(Surface):
    """A surface with its support and the objects that it was cut into.

    Attributes:
        height: [N] float32, over the support and its bumps, voxels.
        in_support: [N] bool.
        supervoxels: [N] int64, 0, 1, ...; -1 in the support.
        merges: [M, 2] int64, supervoxels that merge, in their order.
        costs: [M] float64, of each merge.
        cuts: By name (:data:`CUTS`): the object of every point, [N] int32; 0: background.
    """

    height: NDArray[np.float32]
    in_support: NDArray[np.bool_]
    supervoxels: NDArray[np.int64]
    merges: NDArray[np.int64]
    costs: NDArray[np.float64]
    cuts: Mapping[str, NDArray[np.int32]]


_ARRAYS = tuple(f.name for f in fields(SavedSurface) if f.name not in ("voxel", "cuts"))


@dataclass(frozen=True)
class SavedGeometry:
    """A folder of stage `geometry`.

    Attributes:
        folder: Where it lies.
        facts: Content of ``geometry.json``.
        frame: The training frame.
    """

    folder: Path
    facts: dict[str, Any]
    frame: Frame

    @property
    def found(self) -> bool:
        """Whether the surface holds objects; else there is no ``surface.npz``."""
        return self.facts["verdict"] == "found"

    @property
    def reason(self) -> str | None:
        """Why nothing was found; None where something was."""
        return self.facts["reason"]

    @property
    def stems(self) -> list[str]:
        """Views that have depth and normals."""
        return list(self.facts["views"])

    @property
    def support(self) -> SupportPlane | None:
        """The support; None where there is none."""
        given = self.facts["support"]
        if given is None:
            return None
        normal = np.array(given["normal"], np.float64)
        return SupportPlane(normal, float(given["offset"]) * self.frame.scale)

    @cached_property
    def surface(self) -> SavedSurface:
        """The surface.

        Raises:
            InputError: If there is none.
        """
        path = self.folder / SURFACE_FILE
        if not path.is_file():
            raise InputError(f"{path} is missing: {self.reason or 'run stage `geometry` again'}")
        with np.load(path) as saved:
            arrays = {name: saved[name] for name in _ARRAYS}
            cuts = {name: saved[f"cut_{name}"] for name in CUTS}
            voxel = float(saved["voxel"]) * self.frame.scale
        arrays["points"] = arrays["points"] * self.frame.scale
        return SavedSurface(**arrays, cuts=cuts, voxel=voxel)

    def depth(self, stem: str) -> NDArray[np.float32]:
        """Return a view's depth along the optical axis, [h, w], world units; 0: nothing there."""
        steps = _read_png(self.folder / "depth" / f"{stem}.png")
        return (steps * (self.facts["depth_unit"] * self.frame.scale)).astype(np.float32)

    def normals(self, stem: str) -> NDArray[np.float32]:
        """Return a view's normals in the axes of the scene, [h, w, 3]; zeros: nothing there."""
        given = _read_png(self.folder / "normals" / f"{stem}.png")
        normals = given.astype(np.float32) / 127.5 - 1.0
        length = np.linalg.norm(normals, axis=-1, keepdims=True)
        there = given.any(axis=-1, keepdims=True)
        return np.where(there, normals / np.maximum(length, 1e-6), 0.0).astype(np.float32)


def load_geometry(folder: Path) -> SavedGeometry:
    """Read the output folder of stage `geometry`.

    Raises:
        InputError: If it is not one.
    """
    path = Path(folder) / FILE_NAME
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run stage `geometry` first") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); run stage `geometry` again") from error
    return SavedGeometry(Path(folder), facts, Frame.load(Path(folder)))


def failure_of(folder: Path) -> str | None:
    """Return why a finished stage `geometry` found nothing; None where it found objects.

    None as well where its folder holds no ``geometry.json``, as after ``snakemake --touch``.
    """
    folder = Path(folder)
    return load_geometry(folder).reason if (folder / FILE_NAME).is_file() else None


def save_surface(folder: Path, surface: SavedSurface, frame: Frame) -> None:
    """Write ``surface.npz`` and ``surface.ply``.

    Args:
        folder: Output folder of the stage.
        surface: In the training frame.
        frame: The training frame.
    """
    points = surface.points / frame.scale
    arrays = {name: getattr(surface, name) for name in _ARRAYS} | {"points": points}
    arrays |= {f"cut_{name}": surface.cuts[name] for name in CUTS}
    arrays["voxel"] = np.float64(surface.voxel / frame.scale)
    np.savez_compressed(folder / SURFACE_FILE, allow_pickle=False, **arrays)
    numbers = {prop: surface.cuts[name] for name, prop in CUTS.items()}
    write_surface_ply(folder / "surface.ply", points, surface.normals, surface.lab, numbers)


def write_surface_ply(
    path: Path,
    points: NDArray[np.float64],
    normals: NDArray[np.float32],
    lab: NDArray[np.float32],
    numbers: Mapping[str, NDArray[np.int32]],
) -> None:
    """Write a binary little-endian PLY of points that every viewer reads.

    Args:
        path: File to write.
        points: [N, 3], in the units to write.
        normals: [N, 3].
        lab: [N, 3] CIELAB.
        numbers: By the name of the property, [N].
    """
    from skimage.color import lab2rgb

    fields = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    fields += [(name, "u1") for name in ("red", "green", "blue")]
    fields += [(name, "<i4") for name in numbers]
    rows = np.zeros(len(points), fields)
    for axis, name in enumerate("xyz"):
        rows[name], rows[f"n{name}"] = points[:, axis], normals[:, axis]
    if len(rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a mean may lie outside sRGB
            rgb = (lab2rgb(lab[None])[0] * 255.0).round().astype(np.uint8)
        for channel, name in enumerate(("red", "green", "blue")):
            rows[name] = rgb[:, channel]
    for name, values in numbers.items():
        rows[name] = values
    types = {"<f4": "float", "u1": "uchar", "<i4": "int"}
    properties = "".join(f"property {types[kind]} {name}\n" for name, kind in fields)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n"
    header += f"{properties}end_header\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode("ascii") + rows.tobytes())


def depth_unit(farthest: float) -> float:
    """Return the unit in which depths up to ``farthest`` fit 16 bits."""
    return farthest / _STEPS if farthest > 0 else 1.0


def save_depth(folder: Path, stem: str, depth: NDArray[np.float32], unit: float) -> None:
    """Write a view's depth.

    Args:
        folder: Output folder of the stage.
        stem: The view.
        depth: [h, w], 0: nothing there; what is nearer than half a step stays a step away.
        unit: World units a step.
    """
    steps = np.where(depth > 0, np.maximum(np.round(depth / unit), 1), 0)
    _write_png(folder / "depth" / f"{stem}.png", steps.clip(0, _STEPS).astype(np.uint16))


def save_normals(folder: Path, stem: str, normals: NDArray[np.float32]) -> None:
    """Write a view's normals [h, w, 3]; zeros: nothing there."""
    there = normals.any(axis=-1, keepdims=True)
    rgb = np.where(there, np.round((normals + 1.0) * 127.5), 0.0)
    _write_png(folder / "normals" / f"{stem}.png", rgb.clip(0, 255).astype(np.uint8))


def save_facts(folder: Path, facts: Mapping[str, Any], frame: Frame) -> None:
    """Write ``geometry.json``, and ``frame.json`` where training works in a frame of its own."""
    (folder / FRAME_FILE).unlink(missing_ok=True)
    if not frame.is_identity:
        frame.save(folder)
    text = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def _write_png(path: Path, values: NDArray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def _read_png(path: Path) -> NDArray:
    from PIL import Image

    try:
        with Image.open(path) as file:
            return np.asarray(file)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; run stage `geometry` again") from error
