"""PLY files of Gaussians that other trainers wrote: 3DGS, gsplat, nerfstudio, Gaussian Grouping.

They agree on names (``x y z``, ``f_dc_<i>``, ``f_rest_<i>`` channel by channel, ``opacity`` as a
logit, ``scale_<i>`` as logarithms, ``rot_<i>`` wxyz) and differ in order, in degrees of harmonics,
and in what else they hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradiseg_core.errors import InputError

_TYPES = {
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("int", "int32"), "i4"),
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_COEFFICIENTS = {0: 0, 9: 1, 24: 2, 45: 3}  # f_rest: degree
_NEEDED = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2")
_MOST_HEADER = 1 << 20


@dataclass(frozen=True)
class Splats:
    """Gaussians of a file.

    Attributes:
        values: ``means`` [N, 3], ``quats`` [N, 4] wxyz of length 1, ``scales`` [N, 3] log,
            ``opacities`` [N] logit, ``sh0`` [N, 1, 3], ``shN`` [N, 15, 3]; float32, the file's
            axes and units.
        degree: Of its spherical harmonics; above it ``shN`` is zero.
        rows: [N] structured, all that the file holds.
        comments: Lines of its header.
    """

    values: dict[str, Tensor]
    degree: int
    rows: NDArray
    comments: tuple[str, ...]

    def numbered(self, prefix: str) -> Tensor | None:
        """Return the properties ``<prefix>0``, ``<prefix>1``, ... as [N, D]; None without any."""
        names = _numbered(self.rows, prefix)
        return torch.from_numpy(_columns(self.rows, names)) if names else None


def read_splats(path: Path) -> Splats:
    """Read a binary PLY of Gaussians.

    Raises:
        InputError: If the file is missing, cut short, not a PLY of Gaussians, or holds an
            incomplete degree of harmonics, values that are not finite, or no Gaussian.
    """
    rows, comments = _rows(path)
    names = rows.dtype.names or ()
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise InputError(
            f"{path} is not a PLY of Gaussians: it has no {', '.join(missing[:4])}"
            f"{', ...' if len(missing) > 4 else ''}{_what_it_is(names)}"
        )
    rotations, rest = _numbered(rows, "rot_"), _numbered(rows, "f_rest_")
    if len(rotations) != 4 or len(_numbered(rows, "scale_")) != 3:
        raise InputError(
            f"{path} has {len(_numbered(rows, 'scale_'))} scales and {len(rotations)} numbers of a "
            "rotation for each Gaussian; 3 and 4 are expected (2D Gaussians are not read)"
        )
    if len(rest) not in _COEFFICIENTS:
        raise InputError(
            f"{path} has {len(rest)} coefficients f_rest_<i>; degrees 0 to 3 have "
            f"{', '.join(map(str, _COEFFICIENTS))}"
        )
    if len(rows) == 0:
        raise InputError(f"{path} holds no Gaussian")
    shN = np.zeros((len(rows), 15, 3), np.float32)
    each = len(rest) // 3
    shN[:, :each] = _columns(rows, rest).reshape(len(rows), 3, each).transpose(0, 2, 1)
    values = {
        "means": _columns(rows, ["x", "y", "z"]),
        "quats": _columns(rows, rotations),
        "scales": _columns(rows, [f"scale_{i}" for i in range(3)]),
        "opacities": _columns(rows, ["opacity"])[:, 0],
        "sh0": _columns(rows, [f"f_dc_{i}" for i in range(3)])[:, None],
        "shN": shN,
    }
    for name, value in values.items():
        finite = np.isfinite(value).reshape(len(rows), -1).all(axis=1)
        # A logit or a logarithm of exactly 0 or 1 is infinite: no damage, but it cannot be used.
        if not finite.all():
            raise InputError(
                f"{path}: {name} of {int((~finite).sum())} of {len(rows)} Gaussians are not "
                f"finite, the first that of Gaussian {int(np.argmin(finite))}; export it again "
                "without them (splat-transform --filter-nan)"
            )
    tensors = {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in values.items()}
    tensors["quats"] = torch.nn.functional.normalize(tensors["quats"], dim=1)
    return Splats(tensors, _COEFFICIENTS[len(rest)], rows, comments)


@dataclass(frozen=True)
class NerfstudioTransform:
    """Where nerfstudio moved a scene: x_nerfstudio = scale * (rotation x_colmap + translation).

    Attributes:
        scale: Nerfstudio's units per unit of the COLMAP model.
        rotation: [3, 3] float64.
        translation: [3] float64, before scaling.
    """

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]


def read_nerfstudio_transform(path: Path) -> NerfstudioTransform:
    """Read ``dataparser_transforms.json``, which nerfstudio writes beside a run's ``config.yml``.

    Raises:
        InputError: If it is missing or is not that file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        matrix = np.array(content["transform"], np.float64)
        scale = float(content["scale"])
        rotation = matrix[:3, :3]
        if matrix.shape not in ((3, 4), (4, 4)) or not scale > 0:
            raise ValueError("`transform` is not 3 x 4, or `scale` is not positive")
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
            raise ValueError("`transform` is not a rotation")
        if np.linalg.det(rotation) < 0:
            raise ValueError("`transform` mirrors the scene")
    except FileNotFoundError as error:
        raise InputError(
            f"{path} not found: nerfstudio writes dataparser_transforms.json beside the run's "
            "config.yml"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a dataparser_transforms.json: {error}") from error
    return NerfstudioTransform(scale, rotation, matrix[:3, 3])


def _rows(path: Path) -> tuple[NDArray, tuple[str, ...]]:
    """Return the element ``vertex``, [N] structured, still on disk, and the comments."""
    try:
        with path.open("rb") as file:
            head = file.read(_MOST_HEADER)
        size = path.stat().st_size
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path} is not a file; give a PLY of Gaussians") from error
    found = re.match(rb"ply\r?\n(.*?)end_header\r?\n", head, flags=re.DOTALL)
    if found is None:
        raise InputError(
            f"{path} is not a PLY file (.spz, .splat and .sog are not read: convert them with "
            "splat-transform)"
        )
    lines = [line.split() for line in found.group(1).decode("ascii", "replace").splitlines()]
    order = next((line[1] for line in lines if line[:1] == ["format"] and len(line) > 1), "")
    if order not in _ORDERS:
        raise InputError(
            f"{path} is a PLY of format {order or 'unknown'}; binary ones are read: convert "
            "it with splat-transform"
        )
    elements = [line[1] for line in lines if line[:1] == ["element"] and len(line) == 3]
    if elements[:1] == ["chunk"]:
        raise InputError(
            f"{path} is a compressed PLY, whose values are rounded; give the PLY that it was made "
            "from, or decompress it with splat-transform"
        )
    if elements[:1] != ["vertex"]:
        raise InputError(f"{path}: its first element is not `vertex`; it is not a PLY of Gaussians")
    row = _row_type(path, lines, _ORDERS[order])
    count = int(next(line[2] for line in lines if line[:2] == ["element", "vertex"]))
    needed = found.end() + count * row.itemsize
    if size < needed:
        raise InputError(
            f"{path} is cut short: {count} Gaussians take {needed} bytes, it has {size}"
        )
    comments = tuple(" ".join(line[1:]) for line in lines if line[:1] == ["comment"])
    if count == 0:
        return np.empty(0, row), comments
    return np.memmap(path, row, mode="r", offset=found.end(), shape=(count,)), comments


def _row_type(path: Path, lines: Sequence[Sequence[str]], order: str) -> np.dtype:
    fields = []
    inside = False
    for line in lines:
        if line[:1] == ["element"]:
            inside = line[1:2] == ["vertex"]
        elif line[:1] == ["property"] and inside:
            if len(line) != 3 or line[1] not in _TYPES:
                raise InputError(
                    f"{path} has a property that is not read: {' '.join(line)}; it is not a PLY of "
                    "Gaussians"
                )
            fields.append((line[2], order + _TYPES[line[1]]))
    names = [name for name, _ in fields]
    if len(set(names)) != len(names):
        raise InputError(f"{path} names a property twice")
    return np.dtype(fields)


def _numbered(rows: NDArray, prefix: str) -> list[str]:
    """Return the names ``<prefix>0``, ``<prefix>1``, ... that there are, without a gap."""
    names = set(rows.dtype.names or ())
    found: list[str] = []
    while f"{prefix}{len(found)}" in names:
        found.append(f"{prefix}{len(found)}")
    return found


def _columns(rows: NDArray, names: Sequence[str]) -> NDArray[np.float32]:
    table = np.empty((len(rows), len(names)), np.float32)
    for index, name in enumerate(names):
        table[:, index] = rows[name]
    return table


def _what_it_is(names: Sequence[str]) -> str:
    """Return what a PLY of something else seems to be, for a message."""
    if {"red", "green", "blue"} <= set(names):
        return (
            "; it is a coloured point cloud, such as nerfstudio exports without spherical "
            "harmonics, or COLMAP's points"
        )
    return ""
