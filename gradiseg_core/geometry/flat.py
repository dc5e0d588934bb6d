"""Flat things on the support, which lie in the noise of its heights.

The support has few colours, each at many places; what has a colour that it hardly has anywhere, and
that no shading of the support beside it gives, is no support. So a strip of such nodes can join two
pieces of one thing, like the neck of a spoon. Prints and speckles of a table are in many places.

Numbers lie in the middle of ranges with the same scores on eight tables (studies/geometry.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.geometry import Surface
from gradiseg_core.geometry.labels import WEIGHTS
from gradiseg_core.geometry.parts import SHADOW_LAB, shadow_steps
from gradiseg_core.geometry.support import Support

#: Colours as near as this are one.
_SAME_LAB = 10.0
#: Share of the support that has a colour of its own.
_RARE = 0.01
#: Cube root of the least light of a shadow: darker things are dark themselves.
_DARKEST = 0.6
_SAMPLE = 4000  # nodes of the support that colours are counted on


def without_flat_things(support: Support, surface: Surface) -> Support:
    """Return the support without the nodes that have neither its colours nor their shadows.

    Args:
        support: As its shape says.
        surface: N nodes.
    """
    rare = support.inside & (_shares(support, surface) < _RARE)
    usual = replace(support, inside=support.inside & ~rare)
    if not rare.any() or not usual.inside.any():
        return support
    flat = rare & (shadow_steps(surface, usual, _DARKEST) > SHADOW_LAB)
    return replace(support, inside=support.inside & ~flat)


def _shares(support: Support, surface: Surface) -> NDArray[np.float64]:
    """Return the share of the support that has about the colour of each of its nodes, [N]."""
    from scipy.spatial import cKDTree

    inside = np.flatnonzero(support.inside)
    shares = np.zeros(len(surface))
    if len(inside):
        lab = surface.lab * WEIGHTS
        count = min(_SAMPLE, len(inside))
        sample = np.random.default_rng(0).choice(inside, count, replace=False)
        near = cKDTree(lab[sample]).query_ball_point(lab[inside], _SAME_LAB, return_length=True)
        shares[inside] = near / count
    return shares
