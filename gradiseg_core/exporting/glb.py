"""glTF 2.0, binary (GLB), with the extension KHR_gaussian_splatting.

Written after the specification that Khronos ratified (its repository glTF, folder
``extensions/2.0/Khronos/KHR_gaussian_splatting``): one primitive of points, with linear scales and
opacities, quaternions xyzw, and harmonics one attribute a coefficient, in 3DGS's order. ``COLOR_0``
lets programs without the extension show coloured points.

pygltflib, which reads these files back in the tests, keeps a whole file in memory several times;
this writes array after array.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.exporting.cloud import Cloud, activated_opacities
from gradiseg_core.splatting.gaussians import SH_C0
from gradiseg_core.srgb import linear_light

_PREFIX = "KHR_gaussian_splatting:"
_FLOAT, _ARRAY_BUFFER, _POINTS = 5126, 34962, 0
_SHAPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_MOST_BYTES = 2**32 - 1


class _Attribute(NamedTuple):
    name: str
    width: int
    values: Callable[[], NDArray[np.float32]]


def write_glb(
    path: Path,
    cloud: Cloud,
    *,
    turned: bool,
    object_id: bool = False,
    extras: Mapping[str, Any],
) -> None:
    """Write a GLB file.

    Args:
        path: File to write.
        cloud: The Gaussians.
        turned: Whether they are in glTF's axes (y up) already. Where not, the node turns them by
            half a turn about x, and the numbers stay those of the user's axes.
        object_id: Add the attribute ``_OBJECT_ID``, the most probable ID of each.
        extras: Kept with the mesh for whoever reads it, such as names of objects.

    Raises:
        InputError: If there is no Gaussian, or the file would exceed 4 GB, which GLB cannot.
    """
    if len(cloud) == 0:
        raise InputError("no Gaussian is left to write, and a GLB file cannot be empty")
    attributes = _attributes(cloud, object_id)
    count = len(cloud)
    document = _document(cloud, attributes, turned, dict(extras))
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = sum(4 * count * attribute.width for attribute in attributes)
    total = 12 + 8 + len(text) + 8 + body
    if total > _MOST_BYTES:
        raise InputError(
            f"{count} Gaussians make {total / 1e9:.1f} GB, more than a GLB file can hold (4 GB); "
            "export single objects, or PLY"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, total))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", body, b"BIN\0"))
        for attribute in attributes:
            values = attribute.values()
            file.write(np.ascontiguousarray(values, "<f4").reshape(-1).data)


def _attributes(cloud: Cloud, object_id: bool) -> list[_Attribute]:
    found = [
        _Attribute("POSITION", 3, lambda: cloud.means),
        _Attribute("COLOR_0", 4, lambda: _colours(cloud)),
        _Attribute(_PREFIX + "ROTATION", 4, lambda: np.roll(cloud.unit_quats(), -1, axis=1)),
        _Attribute(_PREFIX + "SCALE", 3, lambda: np.exp(cloud.scales)),
        _Attribute(_PREFIX + "OPACITY", 1, lambda: activated_opacities(cloud)),
        _Attribute(_PREFIX + "SH_DEGREE_0_COEF_0", 3, lambda: cloud.sh0),
    ]
    place = 0
    for degree in range(1, cloud.degree + 1):
        for order in range(2 * degree + 1):
            name = f"{_PREFIX}SH_DEGREE_{degree}_COEF_{order}"
            found.append(_Attribute(name, 3, lambda k=place: cloud.shN[:, k]))  # type: ignore[misc]
            place += 1
    if object_id:
        # glTF has no 32-bit integers in vertices; floats hold IDs exactly up to 16 million.
        found.append(_Attribute("_OBJECT_ID", 1, lambda: cloud.ids.astype(np.float32)))
    return found


def _colours(cloud: Cloud) -> NDArray[np.float32]:
    """Return COLOR_0, [N, 4]: linear light, as glTF has it, and opacity."""
    linear = linear_light(np.clip(SH_C0 * cloud.sh0 + 0.5, 0.0, 1.0))
    return np.concatenate([linear, activated_opacities(cloud)[:, None]], axis=1, dtype=np.float32)


def _document(
    cloud: Cloud, attributes: list[_Attribute], turned: bool, extras: dict[str, Any]
) -> dict[str, Any]:
    from gradiseg_core.version import __version__

    views, accessors, offset = [], [], 0
    for index, attribute in enumerate(attributes):
        length = 4 * len(cloud) * attribute.width
        views.append(
            {"buffer": 0, "byteOffset": offset, "byteLength": length, "target": _ARRAY_BUFFER}
        )
        accessor: dict[str, Any] = {
            "bufferView": index,
            "componentType": _FLOAT,
            "count": len(cloud),
            "type": _SHAPES[attribute.width],
        }
        if attribute.name == "POSITION":
            accessor["min"] = cloud.means.min(axis=0).astype(float).tolist()
            accessor["max"] = cloud.means.max(axis=0).astype(float).tolist()
        accessors.append(accessor)
        offset += length
    primitive = {
        "attributes": {attribute.name: index for index, attribute in enumerate(attributes)},
        "mode": _POINTS,
        "extensions": {
            "KHR_gaussian_splatting": {
                "kernel": "ellipse",
                "colorSpace": "srgb_rec709_display",
                "projection": "perspective",
                "sortingMethod": "cameraDistance",
            }
        },
    }
    node: dict[str, Any] = {"mesh": 0}
    # JSON's numbers are doubles, so the node holds the shift that positions could not.
    shift = cloud.offset if turned else cloud.offset * np.array([1.0, -1.0, -1.0])
    if shift.any():
        node["translation"] = shift.tolist()
    if not turned:
        node["rotation"] = [1.0, 0.0, 0.0, 0.0]
    return {
        "asset": {"version": "2.0", "generator": f"GradiSeg {__version__}"},
        "extensionsUsed": ["KHR_gaussian_splatting"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [{"primitives": [primitive], **({"extras": extras} if extras else {})}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
