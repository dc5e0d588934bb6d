"""Which Gaussians touch which 8 x 8 block of pixels, nearest first (numba).

Visible Gaussians are sorted by depth once, packed into one record each in that order, and then
counting-sorted into blocks, so that every block's list arrives depth-sorted. A Gaussian enters a
block's list when the ellipse ``alpha >= 1/255`` meets the block's pixel centres: exactly for every
row of blocks, by intersecting the ellipse with the row.

A record holds, as float32: 0-1 centre (px), 2-4 ``p, q, r``, 5 ``log2(opacity)``, 13-15 colour,
from 16 on the identity, zeros elsewhere, so that identities are whole vectors of 16. ``p, q, r`` is
the Cholesky factor of the conic in units that make
``log2(alpha) = log2(opacity) - (p dx + q dy)^2 - (r dy)^2`` for offsets ``dx, dy`` from the centre.
It has no cancelling terms, unlike the conic's own quadratic form.
"""

from __future__ import annotations

import math

import numpy as np

from gradiseg_core.cpu_runtime import kernel

BLOCK = 8  # px
COLORS = 13  # where a record's colour begins
IDENTITIES = 16  # where a record's identity begins
CHUNKS = 8  # pieces of the depth order that threads take; no effect on the result
LOG2_E = math.log2(math.e)
LOG2_MIN_ALPHA = math.log2(1.0 / 255.0)

_RADIX_BITS = 11


def record_width(dims: int) -> int:
    """Return the floats of one record with ``dims`` identity channels, a multiple of 16."""
    return IDENTITIES + -(-dims // 16) * 16


@kernel()
def sort_by_depth(depths, radii, order):  # type: ignore[no-untyped-def]
    """Write the indices of visible Gaussians into ``order``, nearest first; return their number.

    A stable radix sort of the float bits, which order like the (positive) depths themselves.
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
    chunk, order, means2d, conics, opacities, colors, identities, blocks_y, records, spans
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Write the records of one chunk of the depth order; one more, the last, shows nothing.

    ``spans`` [M + 1, 2] int32, output: the first row of blocks that a record's ellipse touches, and
    how many; :func:`offsets_of_spans` goes on with it.
    """
    m = order.shape[0]
    if chunk == 0:
        records[m, :] = 0.0
        records[m, 5] = -1000.0
    n_identities = identities.shape[1]
    for k in range(m * chunk // CHUNKS, m * (chunk + 1) // CHUNKS):
        i = order[k]
        # float64: what is left of a thin ellipse's determinant is small beside its terms
        a, b, c = np.float64(conics[i, 0]), np.float64(conics[i, 1]), np.float64(conics[i, 2])
        a, b, c = 0.5 * LOG2_E * a, 0.5 * LOG2_E * b, 0.5 * LOG2_E * c
        p = math.sqrt(a)
        q = b / p
        records[k, 0] = means2d[i, 0]
        records[k, 1] = means2d[i, 1]
        records[k, 2] = p
        records[k, 3] = q
        records[k, 4] = math.sqrt(max(c - q * q, 1e-14))
        records[k, 5] = math.log2(np.float64(opacities[i]))
        records[k, 6:COLORS] = 0.0
        for j in range(3):
            records[k, COLORS + j] = colors[i, j]
        for j in range(n_identities):
            records[k, IDENTITIES + j] = identities[i, j]
        records[k, IDENTITIES + n_identities :] = 0.0
        first, end = _rows(records[k], blocks_y)
        spans[k, 0] = first
        spans[k, 1] = max(end - first, 0)


@kernel(fastmath={"contract"})
def _rows(record, blocks_y):  # type: ignore[no-untyped-def]
    """Return the first block row that a record's ellipse touches, and one past the last."""
    level = record[5] - np.float32(LOG2_MIN_ALPHA) + np.float32(1e-4)
    reach = math.sqrt(max(level, np.float32(0.0))) / record[4]
    low = max(math.ceil((record[1] - reach - np.float32(7.5)) / BLOCK), np.float32(0.0))
    high = min(math.floor((record[1] + reach - np.float32(0.5)) / BLOCK), np.float32(blocks_y - 1))
    return np.int64(low), np.int64(high) + 1


@kernel(fastmath={"contract"})
def _tip(record):  # type: ignore[no-untyped-def]
    """Return the offset in y of the ellipse's rightmost point; minus that of its leftmost."""
    q, r = record[3], record[4]
    level = record[5] - np.float32(LOG2_MIN_ALPHA) + np.float32(1e-4)
    return -q / r * math.sqrt(max(level, np.float32(0.0)) / (q * q + r * r))


@kernel(fastmath={"contract"})
def _columns(record, tip, row, blocks_x):  # type: ignore[no-untyped-def]
    """Return the first block that a record's ellipse touches in a row, and one past the last.

    The ellipse meets the row's strip of pixel centres in a convex set, so that all blocks between
    its leftmost and its rightmost point are touched.
    """
    p, q, r = record[2], record[3], record[4]
    level = record[5] - np.float32(LOG2_MIN_ALPHA) + np.float32(1e-4)
    top = np.float32(BLOCK * row + 0.5) - record[1]
    bottom = top + np.float32(BLOCK - 1)
    dy = min(max(tip, top), bottom)
    inside = level - (r * dy) * (r * dy)
    if not (inside >= np.float32(0.0)):
        return np.int64(0), np.int64(0)
    right = (math.sqrt(inside) - q * dy) / p
    dy = min(max(-tip, top), bottom)
    inside = level - (r * dy) * (r * dy)
    left = (-math.sqrt(max(inside, np.float32(0.0))) - q * dy) / p
    low = max(math.ceil((record[0] + left - np.float32(7.5)) / BLOCK), np.float32(0.0))
    high = math.floor((record[0] + right - np.float32(0.5)) / BLOCK)
    high = min(high, np.float32(blocks_x - 1))
    return np.int64(low), np.int64(high) + 1


@kernel()
def offsets_of_spans(spans):  # type: ignore[no-untyped-def]
    """Turn each Gaussian's number of rows into where its columns begin; return their number."""
    total = 0
    for k in range(spans.shape[0]):
        here = spans[k, 1] if k < spans.shape[0] - 1 else 0
        spans[k, 1] = total
        total += here
    return total


@kernel()
def count_blocks(chunk, records, spans, blocks_x, columns, counts):  # type: ignore[no-untyped-def]
    """Count one chunk's Gaussians per block.

    Args:
        chunk: Which of the ``CHUNKS`` pieces of the depth order.
        records: [M + 1, width].
        spans: [M + 1, 2] int32: a Gaussian's first row, and where its ``columns`` begin.
        blocks_x: Blocks in a row of the image.
        columns: [S, 2] int32, output: for every row, the first block and one past the last.
        counts: [CHUNKS, blocks] int32, output.
    """
    m = records.shape[0] - 1
    counts[chunk, :] = 0
    for k in range(m * chunk // CHUNKS, m * (chunk + 1) // CHUNKS):
        row = np.int64(spans[k, 0])
        tip = _tip(records[k])
        for s in range(spans[k, 1], spans[k + 1, 1]):
            left, right = _columns(records[k], tip, row, blocks_x)
            columns[s, 0] = row * blocks_x + left
            columns[s, 1] = row * blocks_x + right
            for block in range(row * blocks_x + left, row * blocks_x + right):
                counts[chunk, block] += 1
            row += 1


@kernel()
def offsets_of_blocks(counts, starts):  # type: ignore[no-untyped-def]
    """Turn counts per chunk and block into positions; return the length of all lists.

    Args:
        counts: [CHUNKS, blocks], counts; replaced by where each chunk writes its entries.
        starts: [blocks + 1], output: where each block's list begins.
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
def fill_blocks(chunk, spans, columns, counts, entries):  # type: ignore[no-untyped-def]
    """Write one chunk's Gaussians (positions in the depth order) into the blocks' lists."""
    m = spans.shape[0] - 1
    for k in range(m * chunk // CHUNKS, m * (chunk + 1) // CHUNKS):
        for s in range(spans[k, 1], spans[k + 1, 1]):
            for block in range(columns[s, 0], columns[s, 1]):
                position = counts[chunk, block]
                entries[position] = k
                counts[chunk, block] = position + 1


@kernel()
def split_bands(starts, bands):  # type: ignore[no-untyped-def]
    """Cut the blocks into contiguous bands of about equal work.

    Args:
        starts: [blocks + 1], where each block's list begins.
        bands: [bands + 1], output: the first block of each band, and the number of blocks.
    """
    blocks = starts.shape[0] - 1
    n_bands = bands.shape[0] - 1
    per_block = 8  # entries' worth of time that an empty block takes
    total = starts[blocks] + per_block * blocks
    bands[0] = 0
    block = 0
    for band in range(1, n_bands):
        goal = total * band // n_bands
        while block < blocks and starts[block] + per_block * block < goal:
            block += 1
        bands[band] = block
    bands[n_bands] = blocks


@kernel()
def gradient_rows(spans, columns, bands, first_bands, rows):  # type: ignore[no-untyped-def]
    """Give every Gaussian one gradient row for each band that it may touch.

    Args:
        spans: [M + 1, 2], see :func:`count_blocks`.
        columns: [S, 2], see :func:`count_blocks`.
        bands: First block of each band, and the number of blocks.
        first_bands: [M], output: the first band that a Gaussian touches.
        rows: [M + 1], output: the row for that band; later bands follow.

    Returns:
        The number of rows.
    """
    band_of_block = np.empty(bands[-1], np.int32)
    for band in range(bands.shape[0] - 1):
        band_of_block[bands[band] : bands[band + 1]] = band
    total = 0
    m = spans.shape[0] - 1
    for k in range(m):
        low, high = np.int64(bands[-1]), np.int64(0)
        for s in range(spans[k, 1], spans[k + 1, 1]):
            if columns[s, 1] > columns[s, 0]:
                low = min(low, np.int64(columns[s, 0]))
                high = np.int64(columns[s, 1])
        rows[k] = total
        first_bands[k] = 0
        if high > low:
            first_bands[k] = band_of_block[low]
            total += band_of_block[high - 1] - band_of_block[low] + 1
    rows[m] = total
    return total
