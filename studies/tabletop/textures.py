"""Procedural bitmap textures: [H, W, 3] float arrays, sRGB in 0..1.

All noise is periodic, so that textures wrap around surfaces of revolution without a seam.
``strength`` scales every pattern's contrast: 0 leaves the plain colour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Color = tuple[float, float, float]


def noise(
    rng: np.random.Generator, size: int, scale: tuple[float, float], octaves: int = 4
) -> Array:
    """Return [size, size] periodic noise with zero mean and unit deviation.

    Args:
        rng: Source of randomness.
        size: Side of the texture, texels.
        scale: (vertical, horizontal) size of the largest blotch as a share of the texture.
        octaves: Number of layers; each has half the size and 0.6 of the amplitude of the one above.
    """
    frequency_v = np.fft.fftfreq(size)[:, None] * size
    frequency_u = np.fft.rfftfreq(size)[None, :] * size
    total = np.zeros((size, size))
    for octave in range(octaves):
        reach_v, reach_u = (2**octave / max(s, 1e-3) for s in scale)
        response = np.exp(-0.5 * ((frequency_v / reach_v) ** 2 + (frequency_u / reach_u) ** 2))
        layer = np.fft.irfft2(
            np.fft.rfft2(rng.standard_normal((size, size))) * response, (size,) * 2
        )
        layer -= layer.mean()
        total += 0.6**octave * layer / max(layer.std(), 1e-12)
    return total / total.std()


def plain(color: Color) -> Array:
    """Return a tiny texture of one colour: what ``strength`` 0 leaves of every pattern."""
    return np.full((4, 4, 3), color, dtype=np.float64)


def tint(color: Color, shade: Array) -> Array:
    """Return ``color`` times (1 + shade), clipped: [H, W, 3] from [H, W]."""
    return np.clip(np.asarray(color) * (1.0 + shade[..., None]), 0.0, 1.0)


def mix(first: Array | Color, second: Array | Color, weight: Array) -> Array:
    """Return first * (1 - weight) + second * weight with weight [H, W] in 0..1."""
    weight = np.clip(weight, 0.0, 1.0)[..., None]
    return np.asarray(first) * (1.0 - weight) + np.asarray(second) * weight


def mottled(
    rng: np.random.Generator, color: Color, strength: float, *, size: int = 512,
    scale: tuple[float, float] = (0.1, 0.1), contrast: float = 0.12,
) -> Array:  # fmt: skip
    """A colour with uneven brightness."""
    if strength == 0.0:
        return plain(color)
    return tint(color, contrast * strength * noise(rng, size, scale))


def speckled(
    rng: np.random.Generator, base: Array, dot: Color, strength: float, *,
    count: int = 300, radius: tuple[float, float] = (2.0, 5.0),
) -> Array:  # fmt: skip
    """Scatter soft round dots (radius in texels) over a texture; dots wrap at the borders."""
    if strength == 0.0:
        return base
    size = base.shape[0]
    weight = np.zeros((size, size))
    reach = int(np.ceil(radius[1])) + 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    for row, column, r in zip(
        rng.integers(size, size=count), rng.integers(size, size=count),
        rng.uniform(*radius, size=count), strict=True,
    ):  # fmt: skip
        disc = np.clip(r - np.hypot(dx, dy) + 0.5, 0.0, 1.0)
        rows, columns = (row + dy) % size, (column + dx) % size
        weight[rows, columns] = np.maximum(weight[rows, columns], disc)
    return mix(base, dot, min(strength, 1.0) * weight)


def streaked(rng: np.random.Generator, color: Color, other: Color, strength: float) -> Array:
    """Streaks along v (an apple's skin): ``other`` shows through ``color``."""
    if strength == 0.0:
        return plain(color)
    size = 512
    weight = 0.22 + 0.25 * noise(rng, size, (0.5, 0.03)) + 0.08 * noise(rng, size, (0.02, 0.02))
    return mix(
        tint(color, 0.08 * strength * noise(rng, size, (0.2, 0.2))), other, strength * weight
    )


def bands(
    rng: np.random.Generator, color: Color, other: Color, strength: float, *,
    repeats: int, along_u: bool, share: float = 0.5, slant: int = 0,
) -> Array:  # fmt: skip
    """Stripes of two colours, slightly mottled; ``slant`` is their turns along the other axis."""
    if strength == 0.0:
        return plain(color)
    size = 512
    v, u = np.mgrid[0:size, 0:size] / size
    phase = (repeats * u + slant * v) if along_u else (repeats * v + slant * u)
    distance = np.abs((phase % 1.0) - 0.5) * 2.0  # 0 in a stripe's middle, 1 between stripes
    edge = 2.0 * repeats / size
    weight = np.clip((share - distance) / edge + 0.5, 0.0, 1.0)
    texture = mix(color, other, min(strength, 1.0) * weight)
    return np.clip(
        texture * (1.0 + 0.06 * strength * noise(rng, size, (0.05, 0.05))[..., None]), 0, 1
    )


def planks(
    rng: np.random.Generator, color: Color, strength: float, *, size: int = 1024, count: int = 8
) -> Array:
    """Wooden boards along u, each with its own shade and grain."""
    if strength == 0.0:
        return plain(color)
    grain = noise(rng, size, (0.012, 0.5)) + 0.5 * noise(rng, size, (0.05, 0.3))
    shade = 0.10 * grain
    v, u = np.mgrid[0:size, 0:size]
    board = v * count // size
    start = rng.uniform(0, size, count)[board]
    piece = ((u + start) % size > size / 2).astype(int)
    shade += rng.normal(0, 0.13, (count, 2))[board, piece]
    joint = (v * count % size < 1.2 * count) | (np.abs((u + start) % (size / 2)) < 1.5)
    return tint(color, np.where(joint, -0.5, shade) * strength)


def tiles(
    rng: np.random.Generator, color: Color, joint: Color, strength: float, *,
    size: int = 1024, rows: int = 8, columns: int = 4, offset: float = 0.5,
) -> Array:  # fmt: skip
    """Bricks or tiles with joints; every one has its own shade and fine noise."""
    if strength == 0.0:
        return plain(color)
    v, u = np.mgrid[0:size, 0:size] / size
    row = np.floor(v * rows).astype(int)
    shifted = (u * columns + offset * (row % 2)) % columns
    column = np.floor(shifted).astype(int)
    shade = rng.normal(0, 0.16, (rows, columns))[row, column] + 0.08 * noise(
        rng, size, (0.03, 0.03)
    )
    border_v, border_u = np.abs((v * rows) % 1 - 0.5), np.abs(shifted % 1 - 0.5)
    is_joint = (border_v > 0.5 - 0.045) | (border_u > 0.5 - 0.045 * columns / rows)
    return mix(tint(color, strength * shade), joint, strength * 0.8 * is_joint)


def cloth(rng: np.random.Generator, color: Color, motif: list[Color], strength: float) -> Array:
    """Linen with a fine weave and scattered sprigs in muted colours; never repeats."""
    if strength == 0.0:
        return plain(color)
    size = 2048
    v, u = np.mgrid[0:size, 0:size]
    weave = 0.5 * (np.sin(2 * np.pi * u * 400 / size) + np.sin(2 * np.pi * v * 400 / size))
    shade = 0.02 * weave + 0.03 * noise(rng, size, (0.15, 0.15)) + 0.03 * noise(
        rng, size, (0.012, 0.012), 2
    )  # fmt: skip
    texture = tint(color, strength * shade)
    for ink in motif:
        texture = _sprigs(rng, texture, ink, 0.85 * strength, 420)
    return np.clip(texture, 0.0, 1.0)


def _sprigs(
    rng: np.random.Generator, base: Array, ink: Color, strength: float, count: int
) -> Array:
    """Draw small leaf shapes (ellipses in random directions, single or in threes)."""
    size = base.shape[0]
    weight = np.zeros((size, size))
    reach = 40
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    for _ in range(count):
        row, column = rng.integers(size, size=2)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(9.0, 24.0)
        for turn in ((0.0,), (-0.7, 0.0, 0.7))[int(rng.integers(2))]:
            c, s = np.cos(angle + turn), np.sin(angle + turn)
            along, across = c * dx + s * dy - 0.6 * length, -s * dx + c * dy
            inside = 1.0 - np.hypot(along / (0.6 * length), across / (0.22 * length))
            stamp = np.clip(inside * length * 0.3 + 0.5, 0.0, 1.0)
            rows = (row + dy.astype(int)) % size
            columns = (column + dx.astype(int)) % size
            weight[rows, columns] = np.maximum(weight[rows, columns], stamp)
    return mix(base, ink, min(strength, 1.0) * weight)


def book_cover(rng: np.random.Generator, color: Color, accent: Color, strength: float) -> Array:
    """A cloth-bound cover with a frame, a title plate and lines of "lettering"."""
    if strength == 0.0:
        return plain(color)
    size = 512
    texture = tint(color, 0.07 * strength * noise(rng, size, (0.02, 0.02), 3))
    v, u = np.mgrid[0:size, 0:size] / size
    edge = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
    ink = ((edge > 0.05) & (edge < 0.066)).astype(float)
    for line, top in enumerate((0.22, 0.34, 0.72)):
        cursor = 0.2 + 0.06 * line
        while cursor < 0.75:
            width = rng.uniform(0.02, 0.09)
            inside = (u > cursor) & (u < cursor + width) & (v > top) & (v < top + 0.06)
            ink = np.maximum(ink, inside)
            cursor += width + 0.025
    ring = np.abs(np.hypot((u - 0.5) * 1.4, v - 0.55) - 0.08)
    ink = np.maximum(ink, ring < 0.012)
    return mix(texture, accent, 0.85 * min(strength, 1.0) * ink)


def pages(rng: np.random.Generator, strength: float) -> Array:
    """The edges of paper sheets: thin lines across v."""
    color = (0.88, 0.84, 0.72)
    if strength == 0.0:
        return plain(color)
    lines = rng.normal(0, 0.07, (256, 1)) + rng.normal(0, 0.02, (256, 256))
    return tint(color, strength * lines)


def pictures(rng: np.random.Generator, wall: Array, strength: float, count: int) -> Array:
    """Hang framed abstract pictures on a wall texture, side by side."""
    if strength == 0.0:
        return wall
    size = wall.shape[0]
    result = wall.copy()
    for index in range(count):
        width, height = (int(size * rng.uniform(0.13, 0.2)) for _ in range(2))
        left = int(size * (index + 0.5) / count - width / 2 + rng.uniform(-0.03, 0.03) * size)
        top = int(size * rng.uniform(0.36, 0.48))
        canvas = mix(
            tuple(rng.uniform(0.3, 0.85, 3)), tuple(rng.uniform(0.15, 0.8, 3)),
            0.5 + 0.5 * noise(rng, 256, (0.3, 0.3)),
        )  # fmt: skip
        canvas = speckled(
            rng, canvas, tuple(rng.uniform(0.1, 0.9, 3)), 1.0, count=25, radius=(5, 18)
        )
        canvas = canvas[np.arange(height)[:, None] * 256 // height, np.arange(width) * 256 // width]
        frame = max(3, size // 100)
        framed = np.empty((height + 2 * frame, width + 2 * frame, 3))
        framed[:] = rng.uniform(0.15, 0.35) * np.array([1.0, 0.85, 0.7])
        framed[frame:-frame, frame:-frame] = canvas
        left = int(np.clip(left, 0, size - framed.shape[1]))
        region = result[top : top + framed.shape[0], left : left + framed.shape[1]]
        region[:] = mix(region, framed, np.full(region.shape[:2], min(strength, 1.0)))
    return result
