"""Backend `sfm`: association of per-view masks by the SfM points that they share.

The steps (studies/association.md): `evidence` says which point is seen in which mask, `linkage`
joins masks whose points share masks, `joining` joins parts that are always side by side, `refine`
lets points and masks vote, divides masks that cover several objects and fills pixels without a
mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map
from gradiseg_core.files.manifest import by_name, in_order
from gradiseg_core.stages.tracking import evidence, joining, linkage, refine

if TYPE_CHECKING:
    from gradiseg_core.stages.tracking.backends.sfm import Options as SfmOptions

# Measured (studies/association.md).
#: Distance from a mask's boundary, as a share of the image diagonal, from which on a point counts
#: fully; nearer points count less, in proportion.
BOUNDARY_SHARE = 0.005
#: A point is also taken as seen in views that did not detect it, where their viewing direction lies
#: within this angle of one that did, degrees.
REPROJECT_ANGLE_DEG = 60.0
#: Clusters are joined while, over the views that see both, at least this share of the shorter one's
#: border is their common border.
JOIN_THRESHOLD = 0.3
#: Evidence against joining that every pair of masks starts with (see `linkage.link`).
LINK_PRIOR = 1.0
#: Weight of a reprojected observation relative to a detection.
REPROJECTED_WEIGHT = 0.5
#: Border against joining that every pair of clusters starts with, as a share of the image diagonal.
JOIN_PRIOR = 0.05


@dataclass(frozen=True)
class Association:
    """The result for all views.

    Attributes:
        maps: By stem, [H, W] int32 object IDs, arbitrary but consistent over views; 0 = none.
        details: Counts for objects.json.
    """

    maps: dict[str, NDArray[np.int32]]
    details: dict


def load_views(
    colmap_dir: Path, masks_dir: Path, stems: list[str]
) -> tuple[list[evidence.SegmentedView], NDArray[np.float64]]:
    """Read cameras, tracks and masks of the views.

    Returns:
        The views sorted by name, and the points [P, 3].

    Raises:
        InputError: If a mask map is missing or does not have its view's size.
    """
    return views_with(
        colmap_dir, {stem: read_id_map(masks_dir / f"{stem}.png") for stem in stems}, masks_dir
    )


def views_with(
    colmap_dir: Path, segments: Mapping[str, NDArray], masks_dir: Path | None = None
) -> tuple[list[evidence.SegmentedView], NDArray[np.float64]]:
    """Read cameras and tracks of the views that have segments.

    Args:
        colmap_dir: Output folder of stage `colmap`.
        segments: By stem, [H, W] segments or IDs in the undistorted view; 0 = none.
        masks_dir: Where they were read from, for messages.

    Returns:
        The views sorted by name, and the points [P, 3].

    Raises:
        InputError: If a map does not have its view's size, or the model has no tracks.
    """
    from gradiseg_core.files.colmap import load_cameras, load_observations, load_points

    cameras = {camera.stem: camera for camera in load_cameras(colmap_dir).values()}
    xyz, _ = load_points(colmap_dir)
    observed = load_observations(colmap_dir).views
    if not any(len(points) for _, points in observed.values()):
        raise InputError(
            f"the model in {colmap_dir} does not say which view saw which point, and no tracks "
            "could be made from its points (the log of stage `colmap` says why), so `sfm` cannot "
            "associate masks: give a model with tracks, set `colmap.existing: ignore`, or take "
            "another `tracking.backend`"
        )
    views = []
    for stem in in_order(segments):
        camera, ids = cameras[stem], segments[stem]
        if ids.shape != (camera.height, camera.width):
            what, stage = (f"{masks_dir / stem}.png", "masks") if masks_dir else (stem, "tracking")
            raise InputError(
                f"{what} is {ids.shape[1]} x {ids.shape[0]} px, its undistorted view is "
                f"{camera.width} x {camera.height} px; rerun stage `{stage}`"
            )
        xy, points = observed[camera.name]
        views.append(evidence.SegmentedView(camera, ids, xy, points))
    return views, xyz


def solve(
    views: list[evidence.SegmentedView],
    xyz: NDArray[np.float64],
    config: SfmOptions,
    link: Callable[[list[evidence.SegmentedView], evidence.Masks], evidence.Links] | None = None,
) -> Association:
    """Associate the masks of all views.

    Args:
        views: At least two views, in any order and with any per-view IDs; the result is the same.
        xyz: [P, 3] points, world units.
        config: Options. `join: auto` joins nothing here: the caller, who knows which backend
            made the masks, decides it.
        link: Gives further evidence about the masks of the sorted views: a tracker's IDs
            (see `repair`). Without it the segments' IDs mean nothing beyond their view.

    Raises:
        InputError: If no view has a mask, or no mask sees a point.
    """
    views = sorted(views, key=lambda view: by_name(view.camera.name))
    masks = evidence.number_masks(views)
    if len(masks) == 0:
        raise InputError("no view has a mask: nothing to associate; check stage `masks`")
    height, width = views[0].segments.shape
    boundary_px = max(1.0, BOUNDARY_SHARE * float(np.hypot(height, width)))
    seen = evidence.observe(
        views,
        masks,
        xyz,
        boundary_px=boundary_px,
        reproject_angle_rad=float(np.deg2rad(REPROJECT_ANGLE_DEG)),
        depth_tolerance=evidence.DEPTH_TOLERANCE,
        reprojected_weight=REPROJECTED_WEIGHT,
    )
    if not (seen.mask >= 0).any():
        raise InputError(
            "no SfM point falls into any mask: masks and cameras do not belong together, or the "
            "reconstruction is empty; check stages `colmap` and `masks`"
        )
    links = None if link is None else link(views, masks)
    shared, n_view = linkage.mask_histograms(masks, seen, len(xyz), len(views), links)
    cluster = linkage.link(shared, n_view, threshold=config.link_threshold, prior=LINK_PRIOR)
    linked = int(cluster.max()) + 1
    if config.join == "always":
        cluster, _, _ = refine.vote(masks, seen, len(xyz), cluster, links=links)
        cluster = joining.join(
            masks,
            np.unique(cluster, return_inverse=True)[1].astype(np.int64),
            threshold=JOIN_THRESHOLD,
            prior=JOIN_PRIOR * float(np.hypot(height, width)),
            min_views=max(2, config.min_views),
        )
    labels, details = refine.refine(views, masks, seen, xyz, cluster, config, boundary_px, links)
    maps = {view.camera.stem: ids for view, ids in zip(views, labels, strict=True)}
    details = {
        "masks": len(masks),
        "direct_observations": int(seen.direct.sum()),
        "reprojected_observations": int((~seen.direct).sum()),
        "clusters_linked": linked,
        "clusters_joined": int(cluster.max()) + 1,
        **details,
    }
    return Association(maps, details)
