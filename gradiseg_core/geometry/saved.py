"""Between the surface as it is computed and as its file holds it (:mod:`..files.geometry`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradiseg_core.files.geometry import SavedSurface
from gradiseg_core.geometry.surface import Surface

if TYPE_CHECKING:
    from gradiseg_core.geometry.find import Segmented


def to_save(segmented: Segmented) -> SavedSurface:
    """Return what the file holds."""
    surface, support, hierarchy = segmented.surface, segmented.support, segmented.hierarchy
    return SavedSurface(
        points=surface.points,
        normals=surface.normals,
        lab=surface.lab,
        concavity=surface.concavity,
        index=surface.index,
        edges=surface.edges,
        height=support.height,
        in_support=support.inside,
        supervoxels=hierarchy.supervoxels,
        merges=hierarchy.merges,
        costs=hierarchy.costs,
        cuts=segmented.cuts,
        voxel=surface.voxel,
    )


def surface_of(saved: SavedSurface) -> Surface:
    """Return the surface of a file."""
    return Surface(
        points=saved.points,
        normals=saved.normals,
        lab=saved.lab,
        concavity=saved.concavity,
        index=saved.index,
        edges=saved.edges,
        voxel=saved.voxel,
    )
