"""Joins models of one set of photographs that see the same things.

Each model has a world of its own. Two of them overlap where verified matches connect features that
both have triangulated, in the same photograph or in two: each such match is a pair of points that
are one. A similarity between the worlds is estimated from them (LO-RANSAC), and believed if the
points of one model fall onto the features of the other. The points of the union are triangulated
anew and all is adjusted together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.stages.sfm.known_poses import Matched, triangulate
from gradiseg_core.stages.sfm.pairs import verified
from gradiseg_core.stages.sfm.registered import by_name, registered

logger = logging.getLogger(__name__)

_FEWEST = 12  # pairs of points
_SAME_SHARE = 0.02  # of a point's distance from its camera: so far apart two estimates may lie
_LARGEST_ERROR_PX = 8.0  # COLMAP's own, of `align_reconstructions_via_reprojections`
_FITTING = 0.5  # share of the pairs that must fit


@dataclass(frozen=True)
class Shared:
    """Points that two models have in common.

    Attributes:
        source: [n, 3] in the one world.
        target: [n, 3] in the other.
        seen: [n] ID of an image of the target that sees the point.
        xy: [n, 2] where, px.
    """

    source: NDArray[np.float64]
    target: NDArray[np.float64]
    seen: NDArray[np.int64]
    xy: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        target: Any,
        source: Any,
        seen: Mapping[tuple[int, int], tuple[int, NDArray[np.float64]]],
    ) -> Shared:
        """Return the points of two models by their IDs.

        Args:
            target: `pycolmap.Reconstruction`.
            source: Likewise.
            seen: By the target's and the source's ID of each point: image of the target, and where.
        """
        keys = sorted(seen)
        return cls(
            np.array([source.points3D[b].xyz for _, b in keys]).reshape(-1, 3),
            np.array([target.points3D[a].xyz for a, _ in keys]).reshape(-1, 3),
            np.array([seen[key][0] for key in keys], dtype=np.int64),
            np.array([seen[key][1] for key in keys]).reshape(-1, 2),
        )


def join(models: Sequence[Any], matched: Matched) -> list[Any]:
    """Return the models, the largest joined with those that overlap it.

    Args:
        models: `pycolmap.Reconstruction`, the largest first; not changed.
        matched: Their photographs and matches.
    """
    models = list(models)
    matches = verified(matched.database) if len(models) > 1 else {}
    while True:
        for index, other in enumerate(models[1:], 1):
            if by_name(other).keys() <= by_name(models[0]).keys():  # it adds nothing
                models = [*models[:index], *models[index + 1 :]]
                break
            shared = shared_points(models[0], other, matches)
            similarity = similarity_of(models[0], shared, matched.seed)
            if similarity is None:
                continue
            joined = _joined(models[0], other, similarity, matched)
            if joined.num_points3D() < models[0].num_points3D():
                continue
            logger.info(
                "joined: a model of %d images with one of %d, %d images together",
                other.num_reg_images(),
                models[0].num_reg_images(),
                joined.num_reg_images(),
            )
            models = [joined, *models[1:index], *models[index + 1 :]]
            break
        else:
            return models


def _joined(target: Any, source: Any, similarity: Any, matched: Matched) -> Any:
    cameras, poses = {}, {}
    for image in registered(source):
        cameras[image.name] = image.camera
        poses[image.name] = similarity.transform_camera_world(image.cam_from_world())
    for image in registered(target):  # where both have an image, the larger model's pose
        cameras[image.name], poses[image.name] = image.camera, image.cam_from_world()
    # The images of one camera share the first one's parameters: those of the target come first.
    shared = {image.camera_id: image.camera for image in registered(target)}
    ids = {image.name: image.camera_id for m in (source, target) for image in registered(m)}
    cameras = {name: shared.get(ids[name], camera) for name, camera in cameras.items()}
    return adjusted(matched, cameras, poses)


def adjusted(matched: Matched, cameras: Mapping[str, Any], poses: Mapping[str, Any]) -> Any:
    """Triangulate matches from cameras, and adjust all together.

    Args:
        matched: Photographs and their matches.
        cameras: `pycolmap.Camera` of each image, by name.
        poses: `pycolmap.Rigid3d` cam_from_world of each image, by name.

    Returns:
        A `pycolmap.Reconstruction`.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    model = triangulate(matched, cameras, poses)
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.solver_options.num_threads = matched.threads
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in sorted(model.reg_image_ids()):
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    # Not `pycolmap.bundle_adjustment`, which turns logging to stderr on (4.2).
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    model.update_point_3d_errors()
    return _without_bad_points(model)


def _without_bad_points(model: Any) -> Any:
    for key in [k for k, point in model.points3D.items() if not point.error <= _LARGEST_ERROR_PX]:
        model.delete_point3D(key)
    return model


def similarity_of(target: Any, shared: Shared, seed: int) -> Any | None:
    """Return the `pycolmap.Sim3d` target_from_source by shared points; None if they do not fit.

    Args:
        target: `pycolmap.Reconstruction`.
        shared: Points of it and of another model that are one.
        seed: Seed of RANSAC.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    if len(shared.source) < _FEWEST:
        return None
    centers = np.array([target.image(int(i)).projection_center() for i in shared.seen])
    distance = np.linalg.norm(shared.target - centers, axis=1)
    options = pycolmap.RANSACOptions()
    options.max_error = _SAME_SHARE * float(np.median(distance))
    options.random_seed = seed
    found: Any = pycolmap.estimate_sim3d_robust(shared.source, shared.target, options)
    if found is None:
        return None
    similarity = found["tgt_from_src"]
    moved = shared.source @ similarity.rotation.matrix().T * similarity.scale
    moved += similarity.translation
    fits = np.zeros(len(moved), bool)
    for image_id in np.unique(shared.seen):
        image, own = target.image(int(image_id)), shared.seen == image_id
        pose = image.cam_from_world().matrix()
        in_camera = moved[own] @ pose[:, :3].T + pose[:, 3]
        error = np.linalg.norm(image.camera.img_from_cam(in_camera) - shared.xy[own], axis=1)
        fits[own] = (in_camera[:, 2] > 0) & (error <= _LARGEST_ERROR_PX)
    if fits.sum() < _FEWEST or fits.mean() < _FITTING:
        logger.info(
            "two models are not joined: %d of %d points that they share fit", fits.sum(), len(fits)
        )
        return None
    return similarity


def shared_points(
    target: Any, source: Any, matches: dict[tuple[int, int], NDArray[np.int64]]
) -> Shared:
    """Return the points of two models that are one, each pair once."""
    ours, theirs = _points_of(target), _points_of(source)
    found: dict[tuple[int, int], tuple[int, NDArray[np.float64]]] = {}

    def add(mine: int, at: NDArray[np.int64], other: int, their: NDArray[np.int64]) -> None:
        a, b = ours[mine][at], theirs[other][their]
        points = target.image(mine).points2D
        for k in np.flatnonzero((a >= 0) & (b >= 0)):
            found.setdefault((int(a[k]), int(b[k])), (mine, points[int(at[k])].xy))

    for image_id in sorted(set(ours) & set(theirs)):
        same = np.arange(len(ours[image_id]))
        add(image_id, same, image_id, same)
    for (first, second), pairs in matches.items():
        if first in ours and second in theirs:
            add(first, pairs[:, 0], second, pairs[:, 1])
        if second in ours and first in theirs:
            add(second, pairs[:, 1], first, pairs[:, 0])
    return Shared.of(target, source, found)


def _points_of(model: Any) -> dict[int, NDArray[np.int64]]:
    """Return by image the ID of each feature's 3D point, -1 where it has none."""
    return {
        image.image_id: np.array(
            [p.point3D_id if p.has_point3D() else -1 for p in image.points2D], dtype=np.int64
        )
        for image in registered(model)
    }
