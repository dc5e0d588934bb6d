"""Points from poses that are known: triangulated from the matches of a database."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import in_order
from gradiseg_core.stages.sfm.pairs import verified, verify_again
from gradiseg_core.stages.sfm.registered import by_name

logger = logging.getLogger(__name__)

_FEWEST_POINTS = 50
_NEAR = 20  # partners of each view where not all pairs are matched
_FACING = 0.3  # cosine between the directions of two views that may see the same


@dataclass(frozen=True)
class Matched:
    """Photographs whose matches are verified, and how points are made of them.

    Attributes:
        database: COLMAP's database; not changed.
        image_dir: Folder of the photographs (for the points' colours).
        folder: Work folder; emptied first.
        seed: Seed of all random choices.
        threads: CPU threads.
    """

    database: Path
    image_dir: Path
    folder: Path
    seed: int
    threads: int


def add_points(
    model: Any,
    image_dir: Path,
    work: Path,
    build: Callable[[list[str], list[list[str]]], Path],
    *,
    all_pairs: bool,
    seed: int,
    threads: int,
) -> Any:
    """Return a model with the cameras of one that has no points, and with points.

    Args:
        model: `pycolmap.Reconstruction` with poses, in the frame of the photographs.
        image_dir: Folder of the photographs.
        work: Work folder.
        build: `build(names, cameras)` extracts and matches features and returns the database.
        all_pairs: Whether it matches all pairs; otherwise views that stand close are added.
        seed: Seed of all random choices.
        threads: CPU threads.

    Raises:
        InputError: If the matches of the photographs do not fit the poses.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    images = by_name(model)
    groups: dict[int, list[str]] = {}
    for name in in_order(images):
        groups.setdefault(images[name].camera_id, []).append(name)
    logger.info("the model has no points: they are triangulated from its %d poses", len(images))
    database = build(in_order(images), list(groups.values()))
    cameras = {name: image.camera for name, image in images.items()}
    poses = {name: image.cam_from_world() for name, image in images.items()}
    db = pycolmap.Database.open(database)
    for image in db.read_all_images():
        camera = pycolmap.Camera(cameras[image.name].todict())
        camera.camera_id, camera.has_prior_focal_length = image.camera_id, True
        db.update_camera(camera)
    db.close()
    if not all_pairs:
        near = _near(database, poses) - set(verified(database))
        verify_again(
            database, near, guided=False, without_still=False, fewest=None, seed=seed,
            threads=threads,
        )  # fmt: skip
    before = sum(map(len, verified(database).values()))
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed
    pycolmap.guided_geometric_verification(
        posed(database, cameras, poses),
        database,
        two_view_geometry_options=options,
        num_threads=threads,
    )
    after = sum(map(len, verified(database).values()))
    logger.info("%d matches fit the poses; %d fit some pose", after, before)
    matched = Matched(database, image_dir, work / "triangulated", seed, threads)
    found = triangulate(matched, cameras, poses)
    if found.num_points3D() < _FEWEST_POINTS:
        raise InputError(
            f"the given poses do not fit the photographs: of {before} matches between them {after} "
            f"fit, which makes {found.num_points3D()} points. A COLMAP model maps the world to the "
            "camera, with x to the right, y down and z forward; a transforms.json maps the camera "
            "to the world, with OpenGL's axes (y up, z backward). Set `colmap.existing: ignore` to "
            "find the cameras from the photographs"
        )
    return found


def _near(database: Path, poses: Mapping[str, Any]) -> set[tuple[int, int]]:
    """Return the pairs of IDs of views that stand close and look in similar directions."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    ids = {image.name: image.image_id for image in db.read_all_images() if image.name in poses}
    db.close()
    names = in_order(ids)
    matrices = [poses[name].matrix() for name in names]
    centers = np.array([-pose[:, :3].T @ pose[:, 3] for pose in matrices])
    ahead = np.array([pose[2, :3] for pose in matrices])
    distance = np.linalg.norm(centers[:, None] - centers[None], axis=2)
    distance[ahead @ ahead.T < _FACING] = np.inf
    np.fill_diagonal(distance, np.inf)
    pairs = set()
    for row, name in enumerate(names):
        for other in np.argsort(distance[row], kind="stable")[:_NEAR]:
            if np.isfinite(distance[row, other]):
                first, second = sorted((ids[name], ids[names[other]]))
                pairs.add((first, second))
    return pairs


def triangulate(matched: Matched, cameras: Mapping[str, Any], poses: Mapping[str, Any]) -> Any:
    """Return a model with the given cameras and poses, and points from verified matches.

    Args:
        matched: Photographs and their matches.
        cameras: `pycolmap.Camera` of each image, by name. The images of one camera of the database
            share the camera of the first.
        poses: `pycolmap.Rigid3d` cam_from_world of each image, by name. Images of the database
            that are not named stay without.

    Returns:
        A `pycolmap.Reconstruction`.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    shutil.rmtree(matched.folder, ignore_errors=True)
    matched.folder.mkdir(parents=True)
    model = posed(matched.database, cameras, poses)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = options.mapper.num_threads = matched.threads
    seed = options.random_seed = options.mapper.random_seed = matched.seed
    options.triangulation.random_seed = seed
    pycolmap.set_random_seed(seed)
    return pycolmap.triangulate_points(
        model, matched.database, matched.image_dir, matched.folder, options=options
    )


def posed(database: Path, cameras: Mapping[str, Any], poses: Mapping[str, Any]) -> Any:
    """Return a model of the database's images with given cameras and poses, without points."""
    from gradiseg_core.files._pycolmap import pycolmap

    model = pycolmap.Reconstruction()
    db = pycolmap.Database.open(database)
    images = sorted(db.read_all_images(), key=lambda image: image.image_id)
    db.close()
    for image in images:
        if image.name not in poses:
            continue
        if not model.exists_camera(image.camera_id):
            camera = pycolmap.Camera(cameras[image.name].todict())
            camera.camera_id = image.camera_id
            model.add_camera_with_trivial_rig(camera)
        added = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=image.image_id)
        model.add_image_with_trivial_frame(added, poses[image.name])
    return model
