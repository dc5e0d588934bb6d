"""PLY files: 3DGS's, Gaussian Grouping's, and coloured points.

Rows are written block by block, so that no second copy of the scene is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.exporting.cloud import Cloud

_BLOCK = 1 << 16  # Gaussians written at once
_TYPES = {"f4": "float", "f8": "double", "u1": "uchar", "i4": "int"}

Columns = Callable[[slice], Iterable[NDArray]]


def write_gaussians(
    path: Path,
    cloud: Cloud,
    *,
    object_id: bool = False,
    encodings: bool = False,
    comments: Sequence[str] = (),
) -> None:
    """Write a binary little-endian PLY with 3DGS's properties in 3DGS's order.

    Args:
        path: File to write.
        cloud: The Gaussians.
        object_id: Add ``object_id``, an int: the most probable ID of each.
        encodings: Add ``obj_dc_0`` to ``obj_dc_{D-1}``, as Gaussian Grouping calls the encodings.
        comments: Lines of the header.
    """
    floats = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3))]
    floats += [*(f"f_rest_{i}" for i in range(45)), "opacity"]
    floats += [*(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    if encodings:
        floats += [f"obj_dc_{i}" for i in range(cloud.identities.shape[1])]
    kinds = [(name, "f4") for name in floats] + ([("object_id", "i4")] if object_id else [])
    quats = cloud.unit_quats()

    def columns(part: slice) -> Iterable[NDArray]:
        count = len(cloud.means[part])
        yield cloud.means[part]
        yield np.zeros((count, 3), np.float32)
        yield cloud.sh0[part]
        # 3DGS: all of red, then all of green, then all of blue.
        yield cloud.shN[part].transpose(0, 2, 1).reshape(count, 45)
        yield cloud.opacities[part, None]
        yield cloud.scales[part]
        yield quats[part]
        if encodings:
            yield cloud.identities[part]
        if object_id:
            yield cloud.ids[part, None]

    write_ply(path, len(cloud), kinds, columns, comments)


def write_points(
    path: Path,
    points: NDArray[np.float64],
    colours: NDArray[np.uint8],
    *,
    ids: NDArray[np.int32] | None = None,
    confidence: NDArray[np.float32] | None = None,
    opacity: NDArray[np.float32] | None = None,
    comments: Sequence[str] = (),
) -> None:
    """Write coloured points: ``x y z`` (double), ``red green blue`` (uchar), and what is given.

    Args:
        path: File to write.
        points: [P, 3], any units; doubles, so that map coordinates keep their digits.
        colours: [P, 3].
        ids: [P], written as ``object_id`` (int).
        confidence: [P], written as ``confidence`` (float).
        opacity: [P], written as ``opacity`` (float).
        comments: Lines of the header.
    """
    kinds = [(name, "f8") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    further: list[NDArray] = []
    for name, kind, values in (
        ("object_id", "i4", ids),
        ("confidence", "f4", confidence),
        ("opacity", "f4", opacity),
    ):
        if values is not None:
            kinds.append((name, kind))
            further.append(values[:, None])

    def columns(part: slice) -> Iterable[NDArray]:
        yield points[part]
        yield colours[part]
        for values in further:
            yield values[part]

    write_ply(path, len(points), kinds, columns, comments)


def write_ply(
    path: Path,
    count: int,
    kinds: Sequence[tuple[str, str]],
    columns: Columns,
    comments: Sequence[str] = (),
) -> None:
    """Write one element ``vertex``.

    Args:
        path: File to write.
        count: Rows.
        kinds: Name and NumPy type of every property, in order.
        columns: Returns, for a slice of rows, arrays [n, c] that together are the properties.
        comments: Lines of the header, ASCII.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_header(count, kinds, comments))
        row = np.dtype([(name, "<" + kind if kind != "u1" else kind) for name, kind in kinds])
        for start in range(0, count, _BLOCK):
            part = slice(start, min(start + _BLOCK, count))
            _write_rows(file, row, columns(part), part.stop - start)


def _write_rows(file: BinaryIO, row: np.dtype, columns: Iterable[NDArray], count: int) -> None:
    table = np.empty(count, row)
    assert row.names is not None
    names = iter(row.names)
    for values in columns:
        for column in values.T:
            table[next(names)] = column
    file.write(table.tobytes())


def _header(count: int, kinds: Sequence[tuple[str, str]], comments: Sequence[str]) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0"]
    for comment in comments:
        text = comment.encode("ascii", "backslashreplace").decode()
        # Readers that look for the end of the header look into comments as well.
        lines.append("comment " + " ".join(text.split()).replace("end_header", "end-header"))
    lines.append(f"element vertex {count}")
    lines += [f"property {_TYPES[kind]} {name}" for name, kind in kinds]
    return ("\n".join([*lines, "end_header"]) + "\n").encode("ascii")
