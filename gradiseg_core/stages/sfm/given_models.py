"""Several COLMAP models that come with a scene: joined where they have photographs in common.

COLMAP writes `sparse/0`, `sparse/1`, ... where photographs fall into groups, each in a world of its
own, and often lets the groups share photographs. A photograph that two models have ties their
worlds: a feature of it that both have triangulated is one point in two worlds. Without features
(known poses) the poses of two shared photographs or more tie them. Nothing is adjusted: the poses
of the largest model stay as they are, and the others' are brought into its world.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from gradiseg_core.alignment import rotation_angle_deg
from gradiseg_core.errors import InputError
from gradiseg_core.stages.sfm.existing import load_validated, readable_models
from gradiseg_core.stages.sfm.joining import Shared, similarity_of
from gradiseg_core.stages.sfm.registered import by_name

logger = logging.getLogger(__name__)

_SAME_PX = 0.1  # so far apart two models may store one feature
_SAME_ROTATION_DEG = 2.0  # between the rotations that shared photographs give
_SAME_POSITION = 0.02  # of their largest distance from one another


def load_given(
    folders: list[Path],
    sizes: dict[str, tuple[int, int]],
    originals: Mapping[str, str],
    *,
    downsampled: int = 1,
) -> tuple[list[Any], Path]:
    """Read the models that come with a scene, and join those that share photographs.

    Args:
        folders: Of the models, at least one.
        sizes: Width and height (px) of the scene's images by name.
        originals: The user's own names of images that have another name in the scene.
        downsampled: How many times smaller the scene's images are than those of the models.

    Returns:
        `pycolmap.Reconstruction` objects in the scene's pixels: the one to use first, and those
        that could not be joined with it and have other images; and the folder of the first.

    Raises:
        InputError: If the largest cannot be used.
    """
    if len(folders) == 1:
        return [load_validated(folders[0], sizes, originals, downsampled=downsampled)], folders[0]
    counts = readable_models(folders, sizes, originals)
    if not counts:  # says what is wrong with it
        return [load_validated(folders[0], sizes, originals, downsampled=downsampled)], folders[0]
    order = sorted(counts, key=lambda folder: counts[folder], reverse=True)
    best = order[0]
    listed = ", ".join(f"{folder.name} with {counts[folder][0]}" for folder in counts)
    logger.warning(
        "%d COLMAP models in %s (%s of the scene's images): %s is used, and what others can be "
        "joined with it",
        len(counts), folders[0].parent, listed, best,
    )  # fmt: skip
    model = load_validated(best, sizes, originals, downsampled=downsampled)
    others = {}
    for folder in order[1:]:
        if counts[folder][0] == 0:
            continue
        try:
            others[folder] = load_validated(folder, sizes, originals, downsampled=downsampled)
        except InputError as error:
            logger.warning("passed over: %s", error)
    model, apart = _all_joined(model, others)
    for folder, other in apart.items():
        lacking = sorted(set(by_name(other)) - set(by_name(model)))
        logger.warning(
            "%s is not joined with the others: it is a world of its own, and images that only it "
            "has get no camera (%d: %s%s). Merge the models in COLMAP, or set `colmap.existing: "
            "ignore` to find all cameras anew",
            folder, len(lacking), ", ".join(lacking[:5]), ", ..." if len(lacking) > 5 else "",
        )  # fmt: skip
    return [model, *apart.values()], best


def _all_joined(model: Any, others: Mapping[Path, Any]) -> tuple[Any, dict[Path, Any]]:
    """Return the model with all that can be joined with it, and the others that add images."""
    left = dict(others)
    joined = True
    while joined:  # what is joined may share images with what could not be
        joined = False
        for folder, other in list(left.items()):
            new = set(by_name(other)) - set(by_name(model))
            if not new:
                del left[folder]
                continue
            similarity = similarity_between(model, other)
            if similarity is None:
                continue
            before = model.num_reg_images()
            model = joined_with(model, other, similarity)
            logger.warning(
                "%s is joined with the %d images of the others by the photographs that they "
                "share: %d images together",
                folder, before, model.num_reg_images(),
            )  # fmt: skip
            del left[folder]
            joined = True
    return model, left


def similarity_between(target: Any, source: Any) -> Any | None:
    """Return the `pycolmap.Sim3d` target_from_source of two models; None if nothing ties them.

    Args:
        target: `pycolmap.Reconstruction`.
        source: Another one. An image of the same name is the same photograph.
    """
    ours, theirs = by_name(target), by_name(source)
    both = sorted(set(ours) & set(theirs))
    if not both:
        return None
    shared = _shared_points(target, source, both)
    similarity = similarity_of(target, shared, seed=0)
    if similarity is not None or len(shared.source):
        return similarity
    return _from_poses([(ours[name], theirs[name]) for name in both])


def joined_with(target: Any, source: Any, similarity: Any) -> Any:
    """Return a model with the images and points of both, in the world of the first.

    Args:
        target: `pycolmap.Reconstruction`; not changed.
        source: Likewise.
        similarity: `pycolmap.Sim3d` target_from_source.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    model = pycolmap.Reconstruction(target)
    ours, theirs = by_name(target), by_name(source)
    new = sorted(set(theirs) - set(ours))
    free = 1 + max([0, *model.cameras, *model.rigs])
    cameras: dict[int, int] = {}
    number = 1 + max([0, *model.images, *model.frames])
    ids: dict[int, int] = {}  # of images: source -> joined
    for name in new:
        image = theirs[name]
        if image.camera_id not in cameras:
            camera = pycolmap.Camera(image.camera.todict())
            camera.camera_id = cameras[image.camera_id] = free
            model.add_camera_with_trivial_rig(camera)
            free += 1
        added = pycolmap.Image(
            name=name,
            camera_id=cameras[image.camera_id],
            image_id=number,
            keypoints=np.array([point.xy for point in image.points2D]).reshape(-1, 2),
        )
        pose = similarity.transform_camera_world(image.cam_from_world())
        model.add_image_with_trivial_frame(added, pose)
        ids[image.image_id] = number
        number += 1
    same = _same_points(target, source, sorted(set(ours) & set(theirs)))
    rotation = similarity.scale * similarity.rotation.matrix()
    for key, point in source.points3D.items():
        seen = [e for e in point.track.elements if e.image_id in ids]
        known = same.get(key)
        if known is not None:
            for element in seen:
                seen_in = pycolmap.TrackElement(ids[element.image_id], element.point2D_idx)
                model.add_observation(known, seen_in)
        elif len(seen) > 1 or point.track.length() == 0:
            track = pycolmap.Track()
            for element in seen:
                track.add_element(ids[element.image_id], element.point2D_idx)
            xyz = rotation @ point.xyz + similarity.translation
            model.add_point3D(xyz, track, point.color)
    model.update_point_3d_errors()
    return model


def _features(image: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return IDs [n] and positions [n, 2] of the points of an image's features that have one."""
    seen = [point for point in image.points2D if point.has_point3D()]
    ids = np.array([point.point3D_id for point in seen], dtype=np.int64)
    return ids, np.array([point.xy for point in seen]).reshape(-1, 2)


def _pairs(
    target: Any, source: Any, both: Iterable[str]
) -> Iterable[tuple[int, int, int, NDArray[np.float64]]]:
    """Yield points of both models that are one feature: the target's, the source's, image, xy."""
    ours, theirs = by_name(target), by_name(source)
    for name in both:
        a, at = _features(ours[name])
        b, to = _features(theirs[name])
        if len(a) == 0 or len(b) == 0:
            continue
        distance, nearest = KDTree(at).query(to)
        for k in np.flatnonzero(distance <= _SAME_PX):
            yield int(a[nearest[k]]), int(b[k]), ours[name].image_id, at[nearest[k]]


def _shared_points(target: Any, source: Any, both: Iterable[str]) -> Shared:
    found: dict[tuple[int, int], tuple[int, NDArray[np.float64]]] = {}
    for mine, other, image_id, xy in _pairs(target, source, both):
        found.setdefault((mine, other), (image_id, xy))
    return Shared.of(target, source, found)


def _same_points(target: Any, source: Any, both: Iterable[str]) -> dict[int, int]:
    """Return the target's point of each of the source's points; each of them once."""
    found: dict[int, int] = {}
    taken: set[int] = set()
    for mine, other, _, _ in _pairs(target, source, both):
        if other not in found and mine not in taken:
            found[other] = mine
            taken.add(mine)
    return found


def _from_poses(pairs: list[tuple[Any, Any]]) -> Any | None:
    """Return target_from_source by the poses of photographs that both have, two or more."""
    from gradiseg_core.files._pycolmap import pycolmap

    if len(pairs) < 2:
        return None
    ours = [a.cam_from_world().matrix() for a, _ in pairs]
    theirs = [b.cam_from_world().matrix() for _, b in pairs]
    turns = [a[:, :3].T @ b[:, :3] for a, b in zip(ours, theirs, strict=True)]
    U, _, Vt = np.linalg.svd(np.sum(turns, axis=0))
    rotation = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    if max(rotation_angle_deg(turn @ rotation.T) for turn in turns) > _SAME_ROTATION_DEG:
        return None
    target = np.array([-pose[:, :3].T @ pose[:, 3] for pose in ours])
    source = np.array([-pose[:, :3].T @ pose[:, 3] for pose in theirs]) @ rotation.T
    x, y = source - source.mean(axis=0), target - target.mean(axis=0)
    spread = float((x**2).sum())
    if spread <= 0.0:
        return None
    scale = float((x * y).sum()) / spread
    largest = float(np.linalg.norm(target[:, None] - target[None], axis=2).max())
    if scale <= 0 or np.linalg.norm(scale * x - y, axis=1).max() > _SAME_POSITION * largest:
        return None
    translation = target.mean(axis=0) - scale * source.mean(axis=0)
    return pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), translation)
