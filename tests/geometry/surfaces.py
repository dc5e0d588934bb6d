"""Surfaces made by hand."""

from __future__ import annotations

import numpy as np

from gradiseg_core.files.geometry import Surface


def strip(length: int = 60, width: int = 10) -> Surface:
    """A flat strip of voxels along x, all of one colour."""
    index = np.array([(i, j, 0) for i in range(length) for j in range(width)], np.int64)
    node = {tuple(place): n for n, place in enumerate(index.tolist())}
    edges = [
        (n, node[i + di, j + dj, 0])
        for (i, j, _), n in node.items()
        for di, dj in ((0, 1), (1, -1), (1, 0), (1, 1))
        if (i + di, j + dj, 0) in node
    ]
    count = len(index)
    return Surface(
        points=index.astype(np.float64) * 0.01,
        normals=np.tile(np.array([0.0, 0.0, 1.0], np.float32), (count, 1)),
        lab=np.tile(np.array([50.0, 0.0, 0.0], np.float32), (count, 1)),
        concavity=np.zeros(count, np.float32),
        index=index,
        edges=np.array(sorted(edges), np.int64),
        voxel=0.01,
    )
