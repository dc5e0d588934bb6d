"""Gaussians with no two values alike, and files of other programs as arrays."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData

from gradiseg_core.exporting.cloud import Cloud


def make(count: int = 700, degree: int = 3, seed: int = 0, offset: tuple = (0, 0, 0)) -> Cloud:
    """Random Gaussians of a size that renders well from (0, 0, -4)."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * generator.normal(size=shape)).astype(np.float32)

    shN = normal(count, 15, 3, scale=0.2)
    shN[:, {0: 0, 1: 3, 2: 8, 3: 15}[degree] :] = 0.0
    return Cloud(
        means=normal(count, 3, scale=0.8),
        quats=normal(count, 4),
        scales=normal(count, 3, scale=0.4) - 2.5,
        opacities=normal(count, scale=1.5),
        sh0=normal(count, 3, scale=0.7),
        shN=shN,
        degree=degree,
        ids=generator.integers(0, 5, count).astype(np.int32),
        certainty=generator.uniform(0.2, 1.0, count).astype(np.float32),
        identities=normal(count, 16),
        offset=np.array(offset, np.float64),
    )


def properties(path: Path) -> dict[str, np.ndarray]:
    """The vertices of a PLY as plyfile reads them, by name, in the file's order."""
    vertex = PlyData.read(str(path))["vertex"]
    return {p.name: np.asarray(vertex[p.name]) for p in vertex.properties}


def as_properties(cloud: Cloud) -> dict[str, np.ndarray]:
    """What 3DGS's properties are for a cloud: red, green and blue one after the other."""
    found = {name: cloud.means[:, axis] for axis, name in enumerate("xyz")}
    found |= {f"n{name}": np.zeros(len(cloud), np.float32) for name in "xyz"}
    found |= {f"f_dc_{i}": cloud.sh0[:, i] for i in range(3)}
    for channel in range(3):
        found |= {f"f_rest_{15 * channel + k}": cloud.shN[:, k, channel] for k in range(15)}
    found["opacity"] = cloud.opacities
    found |= {f"scale_{i}": cloud.scales[:, i] for i in range(3)}
    quats = cloud.quats / np.linalg.norm(cloud.quats, axis=1, keepdims=True)
    return found | {f"rot_{i}": quats[:, i] for i in range(4)}


def assert_same_rotations(found: np.ndarray, expected: np.ndarray, degrees: float) -> None:
    """Compare rotations, of which q and -q are the same."""
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    cosine = np.abs((found.astype(float) * expected).sum(axis=1)).clip(0, 1)
    assert np.degrees(2 * np.arccos(cosine)).max() <= degrees


def glb(path: Path) -> tuple[Any, dict[str, np.ndarray], dict[str, Any]]:
    """A GLB as pygltflib reads it: its document, the attributes of its primitive, its node."""
    import pygltflib

    document = pygltflib.GLTF2().load(str(path))
    blob = document.binary_blob()
    widths = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
    arrays = {}
    for name, index in vars(document.meshes[0].primitives[0].attributes).items():
        if index is None:
            continue
        accessor = document.accessors[index]
        assert accessor.componentType == pygltflib.FLOAT
        view = document.bufferViews[accessor.bufferView]
        width = widths[accessor.type]
        assert view.byteLength == 4 * width * accessor.count
        values = np.frombuffer(blob, "<f4", accessor.count * width, view.byteOffset)
        arrays[name] = values.reshape(accessor.count, width)
    return document, arrays, raw_json(path)["nodes"][0]


def raw_json(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + length])
