"""Named colours as soft regions of CIELAB.

Notation: L lightness 0..100, C chroma, h hue angle in degrees, of CIELAB (D65, 2 degrees). A
pixel's membership of a colour is a product of soft steps in L and C and a bell in h. Shading
moves a surface's L much, its C less and its h least, so chromatic names are bound by hue and leave
lightness wide; white, grey and black are bound by lightness and small chroma.

The regions follow the eleven basic colour terms (Berlin and Kay 1969) placed at the hues that sRGB
colours of those names have; the words beside them are common synonyms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SOFT_L = 6.0
"""Half width of a step in lightness (from 0 to 1 over twice this)."""
SOFT_C = 5.0
"""Half width of a step in chroma."""


@dataclass(frozen=True)
class NamedColour:
    """A soft region of CIELAB.

    Attributes:
        hue: Centre, degrees; None for achromatic names.
        spread: Half width of the flat top around ``hue``, degrees; beyond it membership falls as a
            bell with a deviation of 9 degrees.
        lightness: Smallest and largest L that belong.
        chroma: Smallest and largest C that belong.
    """

    hue: float | None
    spread: float = 0.0
    lightness: tuple[float, float] = (-50.0, 150.0)
    chroma: tuple[float, float] = (14.0, 999.0)

    def membership(self, lab: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much each colour of lab [..., 3] belongs, [...] in 0..1."""
        lightness, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
        member = _between(lightness, *self.lightness, SOFT_L)
        member = member * _between(chroma, *self.chroma, SOFT_C)
        if self.hue is not None:
            angle = np.degrees(np.arctan2(lab[..., 2], lab[..., 1]))
            distance = np.abs((angle - self.hue + 180.0) % 360.0 - 180.0)
            member = member * np.exp(-0.5 * (np.maximum(distance - self.spread, 0.0) / 9.0) ** 2)
        return member


COLOURS: dict[str, NamedColour] = {
    "red": NamedColour(24.0, 18.0, lightness=(10.0, 60.0), chroma=(28.0, 999.0)),
    "orange": NamedColour(62.0, 10.0, lightness=(45.0, 95.0), chroma=(38.0, 999.0)),
    "yellow": NamedColour(92.0, 11.0, lightness=(45.0, 150.0), chroma=(32.0, 999.0)),
    "green": NamedColour(142.0, 34.0, lightness=(10.0, 150.0)),
    "cyan": NamedColour(200.0, 18.0, lightness=(25.0, 150.0)),
    "blue": NamedColour(272.0, 28.0, lightness=(5.0, 90.0)),
    "purple": NamedColour(323.0, 20.0, lightness=(8.0, 75.0)),
    "pink": NamedColour(356.0, 22.0, lightness=(50.0, 150.0)),
    "brown": NamedColour(62.0, 18.0, lightness=(12.0, 52.0), chroma=(12.0, 55.0)),
    "beige": NamedColour(78.0, 16.0, lightness=(60.0, 95.0), chroma=(10.0, 36.0)),
    "white": NamedColour(None, lightness=(70.0, 150.0), chroma=(-50.0, 16.0)),
    "grey": NamedColour(None, lightness=(28.0, 74.0), chroma=(-50.0, 11.0)),
    "black": NamedColour(None, lightness=(-50.0, 27.0), chroma=(-50.0, 15.0)),
}

SYNONYMS: dict[str, str] = {
    "gray": "grey",
    "silver": "grey",
    "scarlet": "red",
    "crimson": "red",
    "maroon": "red",
    "golden": "yellow",
    "gold": "yellow",
    "olive": "green",
    "lime": "green",
    "turquoise": "cyan",
    "teal": "cyan",
    "navy": "blue",
    "violet": "purple",
    "magenta": "pink",
    "tan": "beige",
    "cream": "beige",
    "ivory": "white",
}

MODIFIERS: dict[str, tuple[float, float]] = {
    "dark": (-50.0, 48.0),
    "deep": (-50.0, 48.0),
    "light": (58.0, 150.0),
    "pale": (62.0, 150.0),
}
"""A word directly before a colour that narrows its lightness."""


def colour_words(prompt: str) -> list[tuple[str, NamedColour]]:
    """Return the colours that a prompt names, each once, in order.

    A word that is also a thing (an orange, a rose) counts as the colour: telling them apart takes a
    language model.
    """
    words = re.findall(r"[a-z]+", prompt.lower())
    found: dict[str, NamedColour] = {}
    for index, word in enumerate(words):
        colour = COLOURS.get(SYNONYMS.get(word, word))
        if colour is None:
            continue
        name = SYNONYMS.get(word, word)
        before = words[index - 1] if index else ""
        if before in MODIFIERS:
            low, high = MODIFIERS[before]
            lightness = (max(low, colour.lightness[0]), min(high, colour.lightness[1]))
            colour, name = replace(colour, lightness=lightness), f"{before} {name}"
        found.setdefault(name, colour)
    return list(found.items())


def rgb_to_lab(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return CIELAB (D65, 2 degrees) of sRGB [..., 3] uint8."""
    from skimage.color import rgb2lab

    return rgb2lab(image)


def _between(
    value: NDArray[np.float64], low: float, high: float, soft: float
) -> NDArray[np.float64]:
    rise = np.clip((value - low + soft) / (2.0 * soft), 0.0, 1.0)
    fall = np.clip((high - value + soft) / (2.0 * soft), 0.0, 1.0)
    return rise * fall
