"""A sparse grid of voxels: blocks of 8 x 8 x 8, found through a table of all blocks.

Memory grows with the surface: the table takes 4 bytes for every 512 voxels of the volume. Voxel
(i, j, k) has its centre at ``origin + voxel * (i, j, k)``; values lie in arrays [B * 512, ...] at
the *slot* of a voxel, 512 times its block's number plus its place in the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute.cpu_runtime import kernel

SIDE = 8
PER_BLOCK = SIDE**3


@dataclass(frozen=True)
class BlockGrid:
    """Which blocks there are.

    Attributes:
        origin: Centre of voxel (0, 0, 0), world, [3] float64.
        voxel: Side of a voxel, world units.
        table: [X, Y, Z] int32, number of each block; -1 where there is none.
        blocks: [B, 3] int32, place of each block in the table, ascending.
    """

    origin: NDArray[np.float64]
    voxel: float
    table: NDArray[np.int32]
    blocks: NDArray[np.int32]

    @property
    def num_slots(self) -> int:
        """Voxels of all blocks."""
        return len(self.blocks) * PER_BLOCK

    def indices(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the voxel indices (i, j, k) of slots, [n, 3]."""
        inside = np.stack(np.unravel_index(slots % PER_BLOCK, (SIDE,) * 3), axis=1)
        return self.blocks[slots // PER_BLOCK].astype(np.int64) * SIDE + inside

    def points(self, indices: NDArray) -> NDArray[np.float64]:
        """Return world positions of voxel indices, [n, 3]; fractions are allowed."""
        return self.origin + self.voxel * np.asarray(indices, np.float64)


def with_blocks(marked: NDArray[np.bool_], origin: NDArray[np.float64], voxel: float) -> BlockGrid:
    """Return the grid of the marked blocks, [X, Y, Z]."""
    table = np.full(marked.shape, -1, np.int32)
    blocks = np.argwhere(marked).astype(np.int32)
    table[marked] = np.arange(len(blocks), dtype=np.int32)
    return BlockGrid(origin, voxel, table, blocks)


@kernel()
def slot_of(table, i, j, k):  # type: ignore[no-untyped-def]
    """Return the slot of voxel (i, j, k); -1 where there is no block."""
    if i < 0 or j < 0 or k < 0:
        return -1
    x, y, z = i >> 3, j >> 3, k >> 3
    if x >= table.shape[0] or y >= table.shape[1] or z >= table.shape[2]:
        return -1
    block = table[x, y, z]
    if block < 0:
        return -1
    return np.int64(block) * 512 + (i & 7) * 64 + (j & 7) * 8 + (k & 7)
