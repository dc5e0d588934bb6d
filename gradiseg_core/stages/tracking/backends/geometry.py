"""Backend `geometry`: objects are cut from the scene's surface, without masks and without weights.

Stage `geometry` has cut the surface; here a cut is drawn into all views, and outlines are moved to
edges of the photographs. IDs are consistent over the views because they come from 3D. Where that
stage found no objects, the workflow takes backend `sfm` instead, and this one does not run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from gradiseg_core.config.backends import BackendOptions, Requires, load
from gradiseg_core.config.base import option, renamed
from gradiseg_core.errors import InputError
from gradiseg_core.stages.tracking.interface import Request, Tracked
from gradiseg_core.stages.tracking.overflow import IdMaps

REQUIRES = Requires("geometry", mem_mb=4000, runtime_min=60)


class Options(BackendOptions):
    """Objects cut from the surface that stage `geometry` makes; `sfm` where there is none."""

    removed: ClassVar[dict[str, str]] = {
        "iterations": renamed("geometry.iterations"),
        "longest_side": renamed("geometry.longest_side"),
    }

    granularity: Literal["parts", "objects", "groups"] = option(
        "objects",
        "How far pieces are merged; `groups`: objects that touch.",
    )

    flat: bool = option(
        False,
        "Also take flat objects, such as sheets, from joined segments, pieces of table and walls "
        "with them.",
        source="measured on five scenes without flat objects: 10 to 30 IDs more, no gain",
    )

    @property
    def needs_masks(self) -> bool:
        """Whether it reads the segments of stage `masks`: flat objects come from them."""
        return self.flat

    @property
    def needs_geometry(self) -> bool:
        """It reads the surface of stage `geometry`."""
        return True


def run(request: Request) -> Tracked:
    """Label all views with the objects of the surface.

    Raises:
        InputError: If the surface holds no objects at this granularity, or a view has no depth.
    """
    from gradiseg_core.compute.cpu_runtime import set_threads
    from gradiseg_core.files.colmap import load_cameras
    from gradiseg_core.files.geometry import load_geometry
    from gradiseg_core.files.ignore import read_ignored
    from gradiseg_core.files.images import read_image
    from gradiseg_core.geometry.labelling import describe, label_size, label_view, thin_parts
    from gradiseg_core.geometry.options import GeometryOptions

    if request.geometry_dir is None:
        raise InputError("tracking.backend: geometry needs the output folder of stage `geometry`")
    given: Options = request.options
    saved = load_geometry(request.geometry_dir)
    surface, object_of = saved.surface, saved.surface.cuts[given.granularity]
    if not object_of.any():
        raise InputError(
            f"tracking.geometry.granularity: {given.granularity} leaves no object on the surface; "
            "`objects` does"
        )
    set_threads(request.threads)
    options = GeometryOptions()
    cameras = load_cameras(request.colmap_dir)
    photographs = {
        view.stem: read_image(request.colmap_dir / "images" / view.name) for view in request.views
    }
    views = [cameras[view.name] for view in request.views]
    ignored = {
        view.stem: read_ignored(
            request.colmap_dir, view.stem, label_size(view.width, view.height, options)
        )
        for view in views
    }
    plane = saved.support
    up = None if plane is None else (plane.normal, plane.offset)
    thin = thin_parts(
        surface, object_of, up, views, list(photographs.values()), options, list(ignored.values())
    )
    maps = {
        stem: label_view(
            surface, object_of, thin, saved.depth(stem), view, photograph, options, ignored[stem]
        )
        for view, (stem, photograph) in zip(views, photographs.items(), strict=True)
    }
    if given.flat:
        maps = _with_flat(maps, request, options.labels.other_share)
    found = describe(list(maps.values()), surface.points, object_of, surface.height, surface.voxel)
    objects = [
        {"id": entry.id, "surface_voxels": entry.size, "height": entry.height} for entry in found
    ]
    facts = {key: saved.facts[key] for key in ("agreement", "support", "measured")}
    return Tracked(maps, False, {"granularity": given.granularity, "found": objects, **facts})


def _with_flat(maps: IdMaps, request: Request, share: float) -> IdMaps:
    """Return the IDs with those of joined segments that lie in the background (Options.flat)."""
    from gradiseg_core.geometry.labels import take_over

    # Found by its name: its code counts as this job's where `flat` is set (TrackingConfig.files).
    joined = load("tracking", "sfm").run(replace(request, options=request.association)).maps
    taken = take_over(list(maps.values()), [joined[stem] for stem in maps], share)
    return dict(zip(maps, taken, strict=True))
