"""Streaming searches in Triton: all Gaussians against some samples, nothing of size M x N.

Gaussians are divided among programs, each of which passes its part over a few samples in blocks and
keeps the k best of every sample. The few best of all parts are sorted at the end. One kernel serves
both searches: the distance is ``|p_j - p_i|^2``, or ``(p_j - p_i) . u`` where that is positive
(Eq. 4), from differences in float32.

A Gaussian is one integer, the bits of its distance above those of its index: positive floats are
ordered as their bits are, and among equal distances the smaller index comes first, whatever the
device does in which order. Once k are known hardly any block holds a nearer one, so that all that
most blocks cost is the distance and a comparison with the k-th smallest.

With ``TRITON_INTERPRET=1``, set before Triton is imported, the kernel runs in main memory (tests).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gradiseg_core.compute.triton_runtime import on_device, processors

_WARPS = 24  # that have room on a multiprocessor with the default tile: one wave of programs
_LEAST = 2048  # Gaussians of a program: of a shorter list most would be inserted


class Tile(NamedTuple):
    """How much one program holds.

    With one warp nothing waits at a barrier, and few samples make an insertion cheap. Chosen by
    counting the instructions that were compiled for sm_90 (studies/cuda_core.md), not by time.

    Attributes:
        samples: Samples of a program, a power of two.
        gaussians: Gaussians that it looks at together, a power of two.
        warps: Of 32 threads.
    """

    samples: int = 4
    gaussians: int = 128
    warps: int = 1


DEFAULT = Tile()

# Keys: no Gaussian in this place yet (infinite distance), and no Gaussian at all.
EMPTY = tl.constexpr(0x7F800000 << 32)
NONE = tl.constexpr(0x7FFFFFFFFFFFFFFF)


@triton.jit
def stream_kernel(
    points,  # [3, N] float32
    sample,  # [M] int64
    directions,  # [3, M] float32; not read without AHEAD
    partial,  # [M, splits, SLOTS] int64
    count,  # N, a multiple of BLOCK_N
    samples,  # M
    share,  # Gaussians of a program, a multiple of BLOCK_N
    K: tl.constexpr,
    SLOTS: tl.constexpr,  # K, rounded up to a power of two
    AHEAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Keep the k best of one part of the Gaussians for BLOCK_M samples."""
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    part = tl.program_id(1)
    i = tl.load(sample + rows, mask=rows < samples, other=-1)
    # NaN makes every comparison false: a sample that does not exist has no neighbours.
    known = (i >= 0) & (i < count)
    x = tl.load(points + i, mask=known, other=float("nan"))
    y = tl.load(points + count + i, mask=known, other=float("nan"))
    z = tl.load(points + 2 * count + i, mask=known, other=float("nan"))
    if AHEAD:
        u = tl.load(directions + rows, mask=known, other=0.0)
        v = tl.load(directions + samples + rows, mask=known, other=0.0)
        w = tl.load(directions + 2 * samples + rows, mask=known, other=0.0)
    slot = tl.arange(0, SLOTS)
    # All keys differ, so that replacing the largest replaces one. Slots beyond k never are it.
    start_keys = tl.where(slot < K, EMPTY + slot.to(tl.int64), -1 - slot.to(tl.int64))
    best = tl.zeros([BLOCK_M, SLOTS], tl.int64) + start_keys[None, :]
    worst = tl.max(best, axis=1)
    limit = tl.zeros([BLOCK_M], tl.float32) + float("inf")
    first = part * share
    last = tl.minimum(first + share, count)
    for start in range(first, last, BLOCK_N):
        j = start + tl.arange(0, BLOCK_N)
        dx = tl.load(points + j)[None, :] - x[:, None]
        dy = tl.load(points + count + j)[None, :] - y[:, None]
        dz = tl.load(points + 2 * count + j)[None, :] - z[:, None]
        if AHEAD:
            distance = dx * u[:, None] + dy * v[:, None] + dz * w[:, None]
            near = (distance > 0) & (distance < limit[:, None])
        else:
            distance = dx * dx + dy * dy + dz * dz
            near = distance < limit[:, None]
        if tl.max(tl.max(near.to(tl.int32), axis=1), axis=0) > 0:
            near = near & (j.to(tl.int64)[None, :] != i[:, None])
            bits = distance.to(tl.int32, bitcast=True).to(tl.int64)
            keys = tl.where(near, (bits << 32) | j.to(tl.int64)[None, :], NONE)
            least = tl.min(keys, axis=1)
            # At most k rounds: what is left of a block is behind the k that it gave.
            while tl.max((least < worst).to(tl.int32), axis=0) > 0:
                nearer = (least < worst)[:, None] & (best == worst[:, None])
                best = tl.where(nearer, least[:, None], best)
                worst = tl.max(best, axis=1)
                keys = tl.where(keys == least[:, None], NONE, keys)
                least = tl.min(keys, axis=1)
            limit = (worst >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    out = (rows[:, None].to(tl.int64) * tl.num_programs(1) + part) * SLOTS + slot[None, :]
    tl.store(partial + out, best, mask=(rows < samples)[:, None])


def search(
    points: Tensor,
    sample: Tensor,
    k: int,
    directions: Tensor | None = None,
    tile: Tile = DEFAULT,
) -> Tensor:
    """Return the nearest others of each sample, or the nearest ahead of it.

    The host does not wait for the device.

    Args:
        points: [3, N] float32, contiguous, N a multiple of the tile's; NaN where there is none.
        sample: [M] int64, indices of Gaussians; one that does not exist has no neighbours.
        k: At least 1; at most :data:`.cuda.MOST` is of use.
        directions: [M, 3]; Eq. 4 along them. None is the distance.
        tile: How the work is divided, which changes no result.

    Returns:
        [M, k] int64, nearest first, among equals the smaller index first; -1 where there are
        fewer. A Gaussian whose distance is not finite is nobody's neighbour.
    """
    count, samples, device = points.shape[1], len(sample), points.device
    assert count % tile.gaussians == 0, "whole blocks, so that four numbers are loaded at once"
    if samples == 0 or count == 0:
        return sample.new_full((samples, k), -1)
    along = points if directions is None else directions.T.to(torch.float32).contiguous()
    groups = triton.cdiv(samples, tile.samples)
    wanted = _WARPS * processors(device) // (tile.warps * groups)
    splits = max(1, min(wanted, count // _LEAST))
    share = triton.cdiv(triton.cdiv(count, splits), tile.gaussians) * tile.gaussians
    splits = triton.cdiv(count, share)
    slots = max(2, triton.next_power_of_2(k))
    partial = torch.empty(samples, splits, slots, dtype=torch.int64, device=device)
    with on_device(device):
        stream_kernel[(groups, splits)](
            points, sample.contiguous(), along, partial, count, samples, share,
            K=k, SLOTS=slots, AHEAD=directions is not None, BLOCK_M=tile.samples,
            BLOCK_N=tile.gaussians, num_warps=tile.warps, enable_fp_fusion=True,
        )  # fmt: skip
    keys = partial[..., :k].reshape(samples, splits * k).sort(dim=1).values[:, :k]
    return torch.where(keys < EMPTY.value, keys & 0xFFFFFFFF, -1)
