"""Backend `geometry`: objects are cut from the scene's surface, without masks and without weights.

Gaussians are trained from colour alone, their depth is fused to a surface, and the surface is cut
at concave creases (:mod:`gradiseg_core.geometry.find`). IDs are consistent over the views because
they come from 3D. What lies flat on its support has no crease and is not found.
"""

from __future__ import annotations

from typing import Literal

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import ITERATIONS, option
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tracking.interface import Request, Tracked

REQUIRES = Requires("geometry", mem_mb=6000, runtime_min=120)


class Options(BackendOptions):
    """Objects cut from the surface of a colour-only training."""

    granularity: Literal["parts", "objects", "groups"] = option(
        "objects",
        "How far pieces of the surface are merged: `parts` of objects, `objects`, or `groups` of "
        "objects that touch.",
    )
    iterations: int = option(
        1000,
        "Length of the training from colour alone that gives the surface.",
        unit=ITERATIONS,
        source="measured on two scenes (docs/association.md)",
        ge=1,
    )
    longest_side: int = option(
        320, "Longest side of its images.", unit="px", source="as above", ge=32
    )


def run(request: Request) -> Tracked:
    """Train from colour alone, fuse the surface, and label all views with its objects.

    Raises:
        InputError: If the views give no surface that objects can be cut from, or a view is missing.
    """
    from gradiseg_core.compute.cpu_runtime import set_threads
    from gradiseg_core.files.images import read_image
    from gradiseg_core.geometry.find import NoSurfaceError, find_objects
    from gradiseg_core.geometry.options import GeometryOptions
    from gradiseg_core.geometry.prepare import prepare

    given: Options = request.options
    options = GeometryOptions.model_validate(
        {
            "prepare": {"iterations": given.iterations, "longest_side": given.longest_side},
            "segmentation": {"granularity": given.granularity},
        }
    )
    set_threads(request.threads)
    names = [view.name for view in request.views]
    renderings = prepare(request.colmap_dir, names, options.prepare, request.seed)
    photographs = [read_image(request.colmap_dir / "images" / name) for name in names]
    try:
        found = find_objects(
            renderings.depths,
            renderings.alphas,
            renderings.colours,
            renderings.cameras,
            photographs,
            options,
        )
    except NoSurfaceError as error:
        raise InputError(
            f"tracking.backend: geometry found no objects: {error}. Take `tracking.backend: sfm`, "
            "which joins the segments of `masks`"
        ) from error
    maps = {view.stem: ids for view, ids in zip(request.views, found.ids, strict=True)}
    objects = [
        {"id": entry.id, "surface_voxels": entry.size, "height": entry.height}
        for entry in found.objects
    ]
    return Tracked(maps, False, {**found.diagnostics, "found": objects})
