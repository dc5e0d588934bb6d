"""The things on the table. Each builder returns an object that stands on z = 0 around the origin.

``OBJECTS`` lists them in the order in which they are taken when fewer are wanted; neighbours in it
differ in shape, and every prompt's colour word is the object's main colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from studies.tabletop import textures as tx
from studies.tabletop.meshes import (
    Mesh,
    box,
    lathe,
    merged,
    ribbon,
    rotation,
    rounded,
    sphere,
    tube,
)  # fmt: skip

Array = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Part:
    """A mesh with its surface.

    Attributes:
        mesh: Shape, m.
        texture: [H, W, 3] sRGB in 0..1; its first row is v = 0.
        gloss: 0 is matte; otherwise the roughness of a plastic coat (0.05 shiny, 0.5 dull).
    """

    mesh: Mesh
    texture: Array
    gloss: float = 0.0


@dataclass(frozen=True)
class Thing:
    """An object with its prompt.

    Attributes:
        prompt: The phrase that names it.
        parts: All that belongs to it.
        well: (height of the hollow's bottom, radius of the hollow) where another fits in, m.
        shelf: (height, half length, half width) where another can lie on top, m.
        goes: "table", "well" or "shelf": where the thing goes when a host for it exists.
    """

    prompt: str
    parts: tuple[Part, ...]
    well: tuple[float, float] | None = None
    shelf: tuple[float, float, float] | None = None
    goes: str = "table"

    @property
    def vertices(self) -> Array:
        """All vertices, [V, 3], m."""
        return np.concatenate([part.mesh.vertices for part in self.parts])

    def moved(self, matrix: Array | None = None, offset: Array | None = None) -> Thing:
        """Return the thing under x -> matrix @ x + offset."""
        parts = tuple(replace(part, mesh=part.mesh.moved(matrix, offset)) for part in self.parts)
        return replace(self, parts=parts)

    def scaled(self, factor: float) -> Thing:
        """Return the thing enlarged about the origin."""
        return replace(
            self.moved(np.eye(3) * factor),
            well=tuple(v * factor for v in self.well) if self.well else None,  # type: ignore[arg-type]
            shelf=tuple(v * factor for v in self.shelf) if self.shelf else None,  # type: ignore[arg-type]
        )


def _standing(thing: Thing) -> Thing:
    """Lower or raise a thing so that its lowest point is at z = 0."""
    return thing.moved(offset=np.array([0.0, 0.0, -thing.vertices[:, 2].min()]))


def white_teapot(rng: Rng, strength: float) -> Thing:
    """A round pot with spout, handle and lid; the white glaze has small blue flowers."""
    body = rounded(
        [[0, 0], [0.042, 0], [0.044, 0.004], [0.07, 0.035], [0.072, 0.07], [0.045, 0.105],
         [0.036, 0.108], [0.034, 0.114], [0.014, 0.124], [0.007, 0.128], [0.012, 0.137],
         [0.006, 0.146], [0, 0.147]], 0.016,
    )  # fmt: skip
    t = np.linspace(0, 1, 24)
    spout = np.stack([0.06 + 0.062 * t, 0 * t, 0.042 + 0.03 * t + 0.045 * t**2.5], -1)
    a = np.linspace(-0.42 * np.pi, 0.42 * np.pi, 28)
    handle = np.stack([-0.052 - 0.05 * np.cos(a), 0 * a, 0.066 + 0.036 * np.sin(a)], -1)
    handle[0, 0] = handle[-1, 0] = -0.05
    glaze = tx.mottled(rng, (0.9, 0.9, 0.87), strength, contrast=0.025)
    flowers = tx.speckled(rng, glaze, (0.3, 0.42, 0.68), strength, count=70, radius=(5, 9))
    flowers = tx.speckled(rng, flowers, (0.62, 0.66, 0.74), strength, count=260, radius=(2, 3.5))
    plain = tx.speckled(rng, glaze, (0.62, 0.66, 0.74), strength, count=300, radius=(4, 8))
    limbs = merged(tube(spout, 0.0155 - 0.0085 * t), tube(handle, 0.0065))
    return Thing("white teapot", (Part(lathe(body, 72), flowers, 0.15), Part(limbs, plain, 0.15)))


def orange_book(rng: Rng, strength: float) -> Thing:
    """A thick book, lying; another can lie on it."""
    return _book(
        rng, strength, "orange book", (0.86, 0.42, 0.08), (0.98, 0.9, 0.7), (0.2, 0.145, 0.034)
    )


def purple_book(rng: Rng, strength: float) -> Thing:
    """A smaller book."""
    book = _book(
        rng, strength, "purple book", (0.42, 0.2, 0.55), (0.9, 0.82, 0.6), (0.165, 0.115, 0.026)
    )
    return replace(book, goes="shelf")


def _book(
    rng: Rng, strength: float, prompt: str, color: tx.Color, accent: tx.Color,
    size: tuple[float, float, float],
) -> Thing:  # fmt: skip
    length, width, height = size
    x, y, board = length / 2, width / 2, 0.0035
    cover = merged(
        box(np.array([-x, -y, 0]), np.array([x, y, board])),
        box(np.array([-x, -y, height - board]), np.array([x, y, height])),
    )
    spine = box(np.array([-x, -y, board]), np.array([x, -y + board, height - board]))
    block = box(
        np.array([-x + 0.004, -y + board, board]), np.array([x - 0.004, y - 0.004, height - board])
    )
    spine_texture = tx.bands(
        rng, color, accent, strength, repeats=4, along_u=True, share=0.16
    )  # fmt: skip
    return Thing(
        prompt,
        (
            Part(cover, tx.book_cover(rng, color, accent, strength)),
            Part(spine, spine_texture),
            Part(block, tx.pages(rng, strength)),
        ),
        shelf=(height, x, y),
    )


def red_apple(rng: Rng, strength: float) -> Thing:
    """An apple with a stem."""
    angle = np.linspace(0, np.pi, 49)
    radius = (
        1 - 0.30 * np.exp(-((angle / 0.42) ** 2)) - 0.14 * np.exp(-(((np.pi - angle) / 0.4) ** 2))
    )
    profile = 0.041 * radius[:, None] * np.stack([np.sin(angle), 0.95 * np.cos(angle)], -1)
    profile[[0, -1], 0] = 0.0
    top = profile[0, 1]
    t = np.linspace(0, 1, 8)
    stem = np.stack([0.006 * t**2, 0 * t, top - 0.002 + 0.02 * t], -1)
    skin = tx.streaked(rng, (0.74, 0.06, 0.07), (0.9, 0.62, 0.25), 0.75 * strength)
    skin = tx.speckled(rng, skin, (0.93, 0.75, 0.5), 0.7 * strength, count=160, radius=(1.2, 2.2))
    bark = tx.mottled(rng, (0.3, 0.2, 0.1), strength, size=64)
    return _standing(
        Thing(
            "red apple", (Part(lathe(profile[::-1]), skin, 0.2), Part(tube(stem, 0.0017, 8), bark))
        )
    )


def blue_mug(rng: Rng, strength: float) -> Thing:
    """A hollow mug with a handle and light bands."""
    r, h, wall = 0.041, 0.092, 0.004
    profile = rounded(
        [[0, 0], [r - 0.003, 0], [r, 0.005], [r, h], [r - wall, h], [r - wall, wall + 0.002],
         [0, wall]], 0.004,
    )  # fmt: skip
    a = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 32)
    handle = np.stack([r - 0.002 + 0.03 * np.cos(a), 0 * a, 0.047 + 0.026 * np.sin(a)], -1)
    glaze = tx.bands(
        rng, (0.1, 0.27, 0.66), (0.72, 0.8, 0.9), strength, repeats=11, along_u=False, share=0.22
    )
    glaze = tx.speckled(rng, glaze, (0.06, 0.13, 0.36), strength, count=420, radius=(1.5, 4.5))
    plain = tx.speckled(
        rng, tx.mottled(rng, (0.1, 0.27, 0.66), strength), (0.06, 0.13, 0.36), strength, count=250
    )
    return Thing(
        "blue mug", (Part(lathe(profile), glaze, 0.15), Part(tube(handle, 0.0055), plain, 0.15))
    )


def green_plant(rng: Rng, strength: float) -> Thing:
    """Narrow leaves in a green pot: thin parts that hide what is behind them."""
    pot = rounded(
        [[0, 0], [0.034, 0], [0.045, 0.062], [0.049, 0.063], [0.05, 0.076], [0.045, 0.076],
         [0.043, 0.066], [0, 0.066]], 0.003,
    )  # fmt: skip
    leaves = []  # drawn before the textures: shapes do not depend on their strength
    t = np.linspace(0, 1, 18)
    for index in range(17):
        angle = 2.399963 * index + rng.uniform(-0.2, 0.2)  # the golden angle, as plants grow
        outward = np.array([np.cos(angle), np.sin(angle), 0.0])
        lean = 0.02 + 0.058 * (index / 16) ** 0.8
        height = rng.uniform(0.10, 0.13) * (1.15 - 0.5 * index / 16)
        curve = outward * (0.008 + lean * t**1.6)[:, None]
        curve[:, 2] = 0.064 + height * (t - 0.3 * t**3)
        width = 0.018 * (np.sin(np.pi * (0.12 + 0.88 * t)) ** 0.8) * (1 - 0.2 * t)
        leaves.append(ribbon(curve, width, np.array([-outward[1], outward[0], 0.0])))
    glaze = tx.speckled(
        rng, tx.mottled(rng, (0.24, 0.46, 0.26), strength), (0.5, 0.68, 0.4), strength, count=260
    )
    leaf = tx.bands(
        rng, (0.22, 0.52, 0.14), (0.5, 0.72, 0.26), strength, repeats=1, along_u=True, share=0.25
    )
    soil = tx.mottled(rng, (0.2, 0.13, 0.08), strength, contrast=0.4, scale=(0.05, 0.05))
    disc = lathe(np.array([[0.0, 0.0675], [0.0425, 0.0675]]), 48)
    return Thing(
        "green plant", (Part(lathe(pot), glaze, 0.3), Part(disc, soil), Part(merged(*leaves), leaf))
    )


def pink_ball(rng: Rng, strength: float) -> Thing:
    """A ball with slanted white stripes."""
    skin = tx.bands(
        rng, (0.93, 0.36, 0.55), (0.97, 0.93, 0.92), strength,
        repeats=6, along_u=True, share=0.3, slant=2,
    )  # fmt: skip
    tilted = sphere((0.045, 0.045, 0.045)).moved(rotation(0, 35.0) @ rotation(1, 20.0))
    return _standing(Thing("pink striped ball", (Part(tilted, skin, 0.25),)))


def black_bowl(rng: Rng, strength: float) -> Thing:
    """An open bowl, dark with light flecks; a round fruit fits in."""
    a = np.linspace(0.32, 1.35, 22)
    radius = 0.082
    outer = np.stack([radius * np.sin(a), radius * (1 - np.cos(a)) + 0.002], -1)
    inner = np.stack(
        [(radius - 0.005) * np.sin(a), radius - (radius - 0.005) * np.cos(a) + 0.002], -1
    )[::-1]
    bottom = inner[-1, 1]
    profile = np.concatenate([[[0, 0], [outer[0, 0], 0]], outer, inner, [[0, bottom - 0.001]]])
    glaze = tx.mottled(rng, (0.09, 0.085, 0.09), strength, contrast=0.25)
    glaze = tx.speckled(rng, glaze, (0.42, 0.4, 0.38), strength, count=420, radius=(1.5, 4))
    return Thing(
        "black bowl", (Part(lathe(profile, 72), glaze, 0.25),), well=(float(bottom), radius - 0.005)
    )


def yellow_lemon(rng: Rng, strength: float) -> Thing:
    """A lemon, lying; goes into a bowl where there is one."""
    t = np.linspace(0, 1, 48)
    z = 0.041 * (2 * t - 1)
    profile = np.stack([0.028 * np.sqrt(np.maximum(1 - (2 * t - 1) ** 2, 0)), z], -1)
    nub = np.exp(-(((1 - np.abs(2 * t - 1)) / 0.05) ** 2))
    profile[:, 1] += 0.005 * nub * np.sign(z)
    profile[[0, -1], 0] = 0.0
    skin = tx.mottled(rng, (0.93, 0.78, 0.1), strength, contrast=0.06)
    skin = tx.speckled(rng, skin, (0.74, 0.56, 0.05), strength, count=520, radius=(1.2, 2.6))
    lying = lathe(profile).moved(rotation(1, 90.0))
    return replace(_standing(Thing("yellow lemon", (Part(lying, skin, 0.35),))), goes="well")


def gray_whisk(rng: Rng, strength: float) -> Thing:
    """A wire whisk, lying: the thinnest parts of the scene."""
    t = np.linspace(0, 1, 30)
    handle = np.stack([-0.125 + 0.115 * t, 0 * t, 0 * t], -1)
    grip = 0.0085 + 0.0018 * np.sin(np.pi * t) - 0.001 * np.cos(6 * np.pi * t)
    loops = []
    s = np.linspace(0, 1, 44)
    for index in range(4):
        along = -0.012 + 0.125 * np.sin(np.pi * s)
        across = 0.031 * np.sin(2 * np.pi * s) * (0.55 + 0.45 * np.sin(np.pi * s))
        turn = rotation(0, 45.0 * index)
        loops.append(tube(np.stack([along, across, 0 * s], -1) @ turn.T, 0.0019, 8))
    steel = tx.mottled(rng, (0.5, 0.5, 0.51), strength, contrast=0.08, scale=(0.3, 0.02))
    grip_texture = tx.bands(
        rng, (0.42, 0.42, 0.43), (0.6, 0.6, 0.6), strength, repeats=9, along_u=False, share=0.3
    )
    parts = (Part(tube(handle, grip, 20), grip_texture, 0.3), Part(merged(*loops), steel, 0.2))
    # Tilted until handle end and wires both touch the table.
    return _standing(Thing("gray whisk", parts).moved(rotation(1, 6.5)))


Builder = Callable[[Rng, float], Thing]

OBJECTS: tuple[Builder, ...] = (
    white_teapot, orange_book, red_apple, blue_mug, black_bowl, gray_whisk,
    green_plant, purple_book, yellow_lemon, pink_ball,
)  # fmt: skip
