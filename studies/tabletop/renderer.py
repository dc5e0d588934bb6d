"""Rendering of tabletops by Mitsuba 3, in its ``scalar_rgb`` variant.

The LLVM variants need a matching LLVM library and fail on some machines; the scalar one runs
wherever the wheel installs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.srgb import encoded
from studies.tabletop.meshes import Mesh
from studies.tabletop.objects import Part, Thing
from studies.tabletop.room import Light

VARIANT = "scalar_rgb"

Point = NDArray[np.float64]
_MAX_WITNESSES = 64  # points a shape, over all views
_MITSUBA_FROM_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])  # its cameras: x left, y up, z forward


def import_mitsuba(threads: int) -> ModuleType:
    """Import Mitsuba, select the scalar variant and the number of threads.

    Raises:
        BackendUnavailableError: If Mitsuba is missing or lacks the variant.
    """
    try:
        import drjit
        import mitsuba
    except ImportError as error:
        raise BackendUnavailableError(
            f"tabletops are rendered by Mitsuba 3, which cannot be imported ({error}); install it "
            "with `pip install -e '.[studies]'`, or add --sdm conda"
        ) from error
    if VARIANT not in mitsuba.variants():
        raise BackendUnavailableError(
            f"this Mitsuba {mitsuba.__version__} lacks its variant {VARIANT}; install the "
            "published wheel with `pip install --force-reinstall mitsuba`"
        )
    mitsuba.set_variant(VARIANT)
    drjit.set_thread_count(max(1, threads))
    return mitsuba


@dataclass(frozen=True)
class Geometry:
    """What is seen at the centre of every pixel.

    Attributes:
        shape_index: [H, W] int64, Mitsuba's number of the shape; ``Renderer.object_ids`` tells
            whose it is.
        points_in_world: [H, W, 3] float32, m; zero where nothing was hit.
        normals: [H, W, 3] float32 unit shading normals.
    """

    shape_index: NDArray[np.int64]
    points_in_world: NDArray[np.float32]
    normals: NDArray[np.float32]


class Renderer:
    """A loaded scene that renders colours and exact IDs of one view after the other."""

    def __init__(
        self,
        things: Sequence[Thing],
        room: Sequence[Part],
        lights: Sequence[Light],
        *,
        threads: int,
    ) -> None:
        """Load all shapes. Thing i gets ID i + 1."""
        self._mi = import_mitsuba(threads)
        scene: dict[str, Any] = {"type": "scene"}
        id_of_shape: dict[str, int] = {}
        with tempfile.TemporaryDirectory(prefix="gradiseg_tabletop_") as folder:
            groups = [(0, list(room))] + [(i + 1, list(t.parts)) for i, t in enumerate(things)]
            for object_id, parts in groups:
                for index, part in enumerate(parts):
                    key = f"id{object_id:03d}_part{index:02d}"
                    path = Path(folder) / f"{key}.ply"
                    part.mesh.write_ply(path)
                    scene[key] = {
                        "type": "ply",
                        "filename": str(path),
                        "face_normals": not part.mesh.smooth,
                        "bsdf": self._bsdf(part),
                    }
                    id_of_shape[key] = object_id
            for index, light in enumerate(lights):
                path = Path(folder) / f"light{index}.ply"
                _rectangle_mesh(light).write_ply(path)
                scene[f"light{index}"] = {
                    "type": "ply",
                    "filename": str(path),
                    "face_normals": True,
                    "emitter": {
                        "type": "area",
                        "radiance": {"type": "rgb", "value": list(light.radiance)},
                    },
                }
            self._scene = self._mi.load_dict(scene)
        self._id_of_shape = id_of_shape
        self._known: dict[int, int] = {}
        self._witnesses: dict[int, list[tuple[Point, Point]]] = {}

    def _bsdf(self, part: Part) -> dict[str, Any]:
        # Mitsuba flips v when it reads bitmaps: row 0 is the top (v = 1). Ours is v = 0.
        texels = np.ascontiguousarray((part.texture[::-1] * 255 + 0.5).astype(np.uint8))
        reflectance = {"type": "bitmap", "bitmap": self._mi.Bitmap(texels), "raw": False}
        if part.gloss:
            surface: dict[str, Any] = {
                "type": "roughplastic",
                "diffuse_reflectance": reflectance,
                "alpha": part.gloss,
                "int_ior": 1.4,
                "nonlinear": False,
            }
        else:
            surface = {"type": "diffuse", "reflectance": reflectance}
        return {"type": "twosided", "bsdf": surface}

    def _sensor(self, camera: Camera, samples: int, sampler: dict[str, Any], rfilter: str) -> Any:
        pose = np.linalg.inv(camera.cam_from_world) @ _MITSUBA_FROM_OPENCV
        fov = float(np.degrees(2 * np.arctan(0.5 * camera.width / camera.K[0, 0])))
        return self._mi.load_dict(
            {
                "type": "perspective",
                "fov": fov,
                "fov_axis": "x",
                "near_clip": 0.01,
                "far_clip": 100.0,
                "to_world": self._mi.ScalarTransform4f(pose),
                "sampler": {"sample_count": samples, **sampler},
                "film": {
                    "type": "hdrfilm",
                    "width": camera.width,
                    "height": camera.height,
                    "rfilter": {"type": rfilter},
                    "pixel_format": "rgb",
                    "component_format": "float32",
                },
            }
        )

    def color(self, camera: Camera, *, samples: int, depth: int, seed: int) -> NDArray[np.float32]:
        """Return linear radiance, [H, W, 3]."""
        sensor = self._sensor(camera, samples, {"type": "independent"}, "box")
        integrator = self._mi.load_dict(
            {"type": "path", "max_depth": depth, "rr_depth": depth + 1, "hide_emitters": False}
        )
        image = self._mi.render(self._scene, sensor=sensor, integrator=integrator, seed=seed)
        return np.array(image, dtype=np.float32)

    def albedo(self, camera: Camera) -> NDArray[np.float32]:
        """Return the surfaces' linear diffuse colour over 2 x 2 points a pixel, [H, W, 3]."""
        sensor = self._sensor(camera, 4, {"type": "stratified", "jitter": False}, "box")
        integrator = self._mi.load_dict({"type": "aov", "aovs": "a:albedo"})
        image = np.array(self._mi.render(self._scene, sensor=sensor, integrator=integrator))
        return image[:, :, -3:].astype(np.float32)

    def geometry(self, camera: Camera) -> Geometry:
        """Return the exact surface at every pixel's centre."""
        centered = {"type": "stratified", "jitter": False}
        sensor = self._sensor(camera, 1, centered, "box")
        aovs = "n:sh_normal,p:position,s:shape_index"
        integrator = self._mi.load_dict({"type": "aov", "aovs": aovs})
        values = np.array(self._mi.render(self._scene, sensor=sensor, integrator=integrator))
        normals, points = values[:, :, -7:-4], values[:, :, -4:-1]
        index = np.round(values[:, :, -1]).astype(np.int64)
        for value in np.unique(index):
            seen = points[index == value].astype(np.float64)
            witnesses = self._witnesses.setdefault(int(value), [])
            if len(witnesses) < _MAX_WITNESSES:
                origin = camera.center_in_world
                witnesses.extend((origin, p) for p in seen[:: max(1, len(seen) // 8)] if p.any())
        return Geometry(index, points.astype(np.float32), normals.astype(np.float32))

    def object_ids(self, geometry: Geometry) -> NDArray[np.int32]:
        """Return the object IDs at the pixel centres, [H, W]; 0 is table and room.

        Call it after all rendering: a shape that Python has looked at makes Mitsuba's reference
        counting take Python's lock, and every later rendering three times slower (measured).
        """
        ids = np.zeros(geometry.shape_index.shape, dtype=np.int32)
        for value in np.unique(geometry.shape_index):
            ids[geometry.shape_index == value] = self._object_of(int(value))
        return ids

    def _object_of(self, shape_index: int) -> int:
        """Return the ID of the object that a shape belongs to.

        What Mitsuba's shape index counts, and in which order, depends on its version and variant:
        so a ray to points that were seen on the shape tells. Rays that end elsewhere (at outlines,
        by rounding) do not count.
        """
        if shape_index not in self._known:
            for origin, point in self._witnesses[shape_index]:
                ray = self._mi.Ray3f(origin.tolist(), (point - origin).tolist())
                hit = self._scene.ray_intersect(ray)
                if hit.is_valid() and abs(float(hit.t) - 1.0) < 1e-4:
                    self._known[shape_index] = self._id_of_shape.get(hit.shape.id(), 0)
                    break
            else:
                self._known[shape_index] = 0  # nothing hit: a crack between two walls
        return self._known[shape_index]


def develop(radiance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return sRGB [H, W, 3] uint8 of linear radiance, with soft highlights.

    Values up to 0.7 stay linear; above, a shoulder approaches 1, as in a camera's tone curve.
    """
    x = np.maximum(radiance.astype(np.float64), 0.0)
    knee = 0.7
    shoulder = knee + (1 - knee) * (1 - np.exp(-np.maximum(x - knee, 0.0) / (1 - knee)))
    x = np.where(x <= knee, x, shoulder)
    return (np.clip(encoded(x), 0, 1) * 255 + 0.5).astype(np.uint8)


def _rectangle_mesh(light: Light) -> Mesh:
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    return Mesh(light.corners, faces, np.zeros((4, 2)), smooth=False)
