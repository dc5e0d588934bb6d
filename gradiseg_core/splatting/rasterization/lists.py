"""Lists of the Gaussians that touch each 8 x 8 block of pixels, nearest first (numba).

Visible Gaussians are sorted by depth, packed into one record each in that order, and then sorted
into blocks by counting, so that every list is in order of depth. A Gaussian enters a block's list
if the ellipse ``alpha >= 1/255`` meets the block's pixel centres. The test is exact: the ellipse is
intersected with every row of blocks.

A record holds, as float32: 0-1 centre (px), 2-4 ``p, q, r``, 5 ``log2(opacity)``, 13-15 colour,
from 16 on the identity, zeros elsewhere, so that identities are whole vectors of 16. ``p, q, r`` is
the Cholesky factor of the conic in units that make
``log2(alpha) = log2(opacity) - (p dx + q dy)^2 - (r dy)^2`` for offsets ``dx, dy`` from the centre.
It has no cancelling terms, unlike the conic's own quadratic form.
"""

from __future__ import annotations

import math

import numpy as np

from gradiseg_core.compute.cpu_runtime import kernel, scratch, take
from gradiseg_core.compute.simd import (
    LANES,
    LOG2_E,
    ceil,
    floor,
    load,
    maximum,
    minimum,
    splat,
    sqrt,
    store,
    store_where,
    to_int,
    where,
)

BLOCK = 8  # px
COLORS = 13  # where a record's colour begins
IDENTITIES = 16  # where a record's identity begins
CHUNKS = 8  # pieces of the depth order that threads take; no effect on the result
LOG2_MIN_ALPHA = math.log2(1.0 / 255.0)

_PER_BLOCK = np.float32(1.0 / BLOCK)
_RADIX_BITS = 11


def record_width(dims: int) -> int:
    """Return the floats of one record with ``dims`` identity channels, a multiple of 16."""
    return IDENTITIES + -(-dims // 16) * 16


@kernel()
def sort_by_depth(depths, radii, order):  # type: ignore[no-untyped-def]
    """Write the indices of visible Gaussians into ``order``, nearest first; return their number.

    A stable radix sort of the bits of the depths: positive floats and their bits have one order.
    """
    n = depths.shape[0]
    keys = np.empty(n, np.uint32)
    bits = depths.view(np.uint32)
    count = 0
    for i in range(n):
        if radii[i, 0] > 0 or radii[i, 1] > 0:
            order[count] = i
            keys[count] = bits[i]
            count += 1
    other_keys = np.empty(count, np.uint32)
    other_order = np.empty(count, np.int32)
    buckets = np.empty(1 << _RADIX_BITS, np.int64)
    mask = np.uint32((1 << _RADIX_BITS) - 1)
    a_keys, b_keys = keys, other_keys
    a_order, b_order = order, other_order
    for digit in range(3):  # 3 x 11 bits cover 32
        shift = np.uint32(digit * _RADIX_BITS)
        buckets[:] = 0
        for i in range(count):
            buckets[(a_keys[i] >> shift) & mask] += 1
        total = 0
        for j in range(buckets.shape[0]):
            here = buckets[j]
            buckets[j] = total
            total += here
        for i in range(count):
            slot = (a_keys[i] >> shift) & mask
            position = buckets[slot]
            buckets[slot] = position + 1
            b_keys[position] = a_keys[i]
            b_order[position] = a_order[i]
        a_keys, b_keys = b_keys, a_keys
        a_order, b_order = b_order, a_order
    for i in range(count):  # an odd number of passes ends in the other buffer
        order[i] = a_order[i]
    return count


@kernel(fastmath={"contract"})
def pack_records(
    queue, order, means2d, conics, opacities, colors, identities, blocks_y, records, spans
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Write the records in order of depth, and one more that shows nothing.

    ``spans`` [M + 1, 2] int32, output: the first row of blocks that a record's ellipse touches, and
    the number of rows; input of :func:`offsets_of_spans`.
    """
    m = order.shape[0]
    width = records.shape[1]
    n_identities = identities.shape[1]
    chunk = take(queue)
    while chunk < CHUNKS:
        if chunk == 0:
            records[m, :] = 0.0
            records[m, 5] = -1000.0
        for k in range(m * chunk // CHUNKS, m * (chunk + 1) // CHUNKS):
            i = order[k]
            # float64: the determinant of a thin ellipse is small beside its terms
            a, b, c = np.float64(conics[i, 0]), np.float64(conics[i, 1]), np.float64(conics[i, 2])
            a, b, c = 0.5 * LOG2_E * a, 0.5 * LOG2_E * b, 0.5 * LOG2_E * c
            p = math.sqrt(a)
            q = b / p
            store(records, k * width, splat(0))
            records[k, 0] = means2d[i, 0]
            records[k, 1] = means2d[i, 1]
            records[k, 2] = p
            records[k, 3] = q
            records[k, 4] = math.sqrt(max(c - q * q, 1e-14))
            records[k, 5] = math.log2(opacities[i])
            for j in range(3):
                records[k, COLORS + j] = colors[i, j]
            if n_identities == width - IDENTITIES:
                for j in range(0, n_identities, LANES):
                    identity = load(identities, i * n_identities + j)
                    store(records, k * width + IDENTITIES + j, identity)
            else:
                for j in range(n_identities):
                    records[k, IDENTITIES + j] = identities[i, j]
                records[k, IDENTITIES + n_identities :] = 0.0
            first, end = _rows(records[k, 1], records[k, 4], records[k, 5], blocks_y)
            spans[k, 0] = first
            spans[k, 1] = max(end - first, 0)
        chunk = take(queue)


@kernel(fastmath={"contract"}, inline="always")
def _level(top):  # type: ignore[no-untyped-def]
    """Return by how much log2(alpha) may fall below its value at the centre, with a margin."""
    return max(top - np.float32(LOG2_MIN_ALPHA) + np.float32(1e-4), np.float32(0.0))


@kernel(fastmath={"contract"})
def _rows(y, r, top, blocks_y):  # type: ignore[no-untyped-def]
    """Return the first row of blocks that an ellipse touches, and one past the last."""
    reach = math.sqrt(_level(top)) / r
    low = max(np.ceil((y - reach - np.float32(7.5)) * _PER_BLOCK), np.float32(0.0))
    high = np.floor((y + reach - np.float32(0.5)) * _PER_BLOCK)
    high = min(high, np.float32(blocks_y - 1))
    return np.int64(low), np.int64(high) + 1


@kernel()
def offsets_of_spans(spans):  # type: ignore[no-untyped-def]
    """Replace each Gaussian's number of rows by the start of its columns; return the total."""
    total = 0
    for k in range(spans.shape[0]):
        here = spans[k, 1] if k < spans.shape[0] - 1 else 0
        spans[k, 1] = total
        total += here
    return total


@kernel(fastmath={"contract"})
def count_blocks(queue, records, spans, blocks_x, columns, counts):  # type: ignore[no-untyped-def]
    """Find the blocks that every ellipse touches in every row, and count each block's Gaussians.

    The part of an ellipse within a row of blocks is convex, so all blocks between its leftmost and
    its rightmost point are touched. Sixteen rows are computed at once.

    Args:
        queue: Queue of ``CHUNKS`` pieces of the depth order.
        records: [M + 1, width].
        spans: [M + 1, 2] int32: a Gaussian's first row, and the start of its ``columns``.
        blocks_x: Blocks in a row of the image.
        columns: [2, S] int32, output: for every row, the first block and one past the last.
        counts: [CHUNKS, blocks] int32, output.
    """
    m, n_spans = records.shape[0] - 1, columns.shape[1]
    lanes = scratch(LANES)
    for lane in range(LANES):
        lanes[lane] = lane
    lane_numbers = load(lanes, 0)
    chunk = take(queue)
    while chunk < CHUNKS:
        counts[chunk, :] = 0
        for k in range(m * chunk // CHUNKS, m * (chunk + 1) // CHUNKS):
            x, y, p, q, r = (
                records[k, 0], records[k, 1], records[k, 2], records[k, 3], records[k, 4],
            )  # fmt: skip
            level = _level(records[k, 5])
            # Offset in y of the ellipse's rightmost point; minus that of its leftmost.
            tip = -q / r * math.sqrt(level / (q * q + r * r))
            per_p = np.float32(1.0) / p
            begin, end = np.int64(spans[k, 1]), np.int64(spans[k + 1, 1])
            for s in range(begin, end, LANES):
                row = lane_numbers + np.float32(spans[k, 0] + s - begin)
                top = row * np.float32(BLOCK) + (np.float32(0.5) - y)
                bottom = top + np.float32(BLOCK - 1)
                dy = minimum(maximum(top, tip), bottom)
                inside = level - dy * dy * (r * r)
                touched = inside >= np.float32(0.0)
                right = (sqrt(maximum(inside, np.float32(0.0))) - dy * q) * per_p
                dy = minimum(maximum(top, -tip), bottom)
                inside = maximum(level - dy * dy * (r * r), np.float32(0.0))
                left = (sqrt(inside) + dy * q) * -per_p
                low = maximum(ceil((left + (x - np.float32(7.5))) * _PER_BLOCK), np.float32(0.0))
                high = floor((right + (x - np.float32(0.5))) * _PER_BLOCK) + np.float32(1.0)
                # Numbers far outside may not fit integers: such lanes become empty ranges.
                low = minimum(low, np.float32(blocks_x))
                high = maximum(minimum(high, np.float32(blocks_x)), np.float32(0.0))
                corner = row * np.float32(blocks_x)  # exact below 2^24 blocks
                low = where(touched, low + corner, splat(0))
                high = where(touched, high + corner, splat(0))
                inside_span = np.float32(end - s) > lane_numbers
                store_where(inside_span, columns, s, to_int(low))
                store_where(inside_span, columns, n_spans + s, to_int(high))
            for s in range(begin, end):
                for block in range(columns[0, s], columns[1, s]):
                    counts[chunk, block] += 1
        chunk = take(queue)


@kernel()
def offsets_of_blocks(counts, starts):  # type: ignore[no-untyped-def]
    """Turn counts per chunk and block into positions; return the length of all lists.

    Args:
        counts: [CHUNKS, blocks], counts; replaced by the positions at which each chunk writes.
        starts: [blocks + 1], output: the start of each block's list.
    """
    total = 0
    for block in range(counts.shape[1]):
        starts[block] = total
        for chunk in range(counts.shape[0]):
            here = counts[chunk, block]
            counts[chunk, block] = total
            total += here
    starts[counts.shape[1]] = total
    return total


@kernel()
def split_bands(starts, bands, band_of_block):  # type: ignore[no-untyped-def]
    """Cut the blocks into contiguous bands of about equal work.

    Args:
        starts: [blocks + 1], the start of each block's list.
        bands: [bands + 1], output: the first block of each band, and the number of blocks.
        band_of_block: [blocks] int32, output.
    """
    blocks = starts.shape[0] - 1
    n_bands = bands.shape[0] - 1
    per_block = 8  # time of an empty block, in entries
    total = starts[blocks] + per_block * blocks
    bands[0] = 0
    block = 0
    for band in range(1, n_bands):
        goal = total * band // n_bands
        while block < blocks and starts[block] + per_block * block < goal:
            block += 1
        bands[band] = block
    bands[n_bands] = blocks
    for band in range(n_bands):
        band_of_block[bands[band] : bands[band + 1]] = band


@kernel()
def fill_blocks(queue, spans, columns, counts, band_of_block, entries, touched):  # type: ignore[no-untyped-def]
    """Write the Gaussians (positions in the depth order) into the blocks' lists.

    Args:
        queue: Queue of ``CHUNKS`` pieces of the depth order.
        spans: [M + 1, 2], see :func:`count_blocks`.
        columns: [2, S], see :func:`count_blocks`.
        counts: [CHUNKS, blocks], see :func:`offsets_of_blocks`; used up.
        band_of_block: [blocks], see :func:`split_bands`.
        entries: Output, the lists.
        touched: [M, 2] int32, output: the first band that a Gaussian may touch, and the number.
    """
    m = spans.shape[0] - 1
    chunk = take(queue)
    while chunk < CHUNKS:
        for k in range(m * chunk // CHUNKS, m * (chunk + 1) // CHUNKS):
            first, last = np.int64(-1), np.int64(-1)
            for s in range(spans[k, 1], spans[k + 1, 1]):
                low, high = np.int64(columns[0, s]), np.int64(columns[1, s])
                if low >= high:
                    continue
                first = low if first < 0 else first
                last = high - 1
                for block in range(low, high):
                    position = counts[chunk, block]
                    entries[position] = k
                    counts[chunk, block] = position + 1
            touched[k, 0] = 0
            touched[k, 1] = 0
            if first >= 0:
                touched[k, 0] = band_of_block[first]
                touched[k, 1] = band_of_block[last] - band_of_block[first] + 1
        chunk = take(queue)


@kernel()
def gradient_rows(touched, rows):  # type: ignore[no-untyped-def]
    """Give every Gaussian one gradient row for each band that it may touch.

    Args:
        touched: [M, 2], see :func:`fill_blocks`.
        rows: [M + 1], output: the row for a Gaussian's first band; later bands follow.

    Returns:
        The number of rows.
    """
    total = 0
    for k in range(touched.shape[0]):
        rows[k] = total
        total += touched[k, 1]
    rows[touched.shape[0]] = total
    return total
