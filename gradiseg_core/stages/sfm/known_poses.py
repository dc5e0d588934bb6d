"""Points from poses that are known: triangulated from the matches of a database."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def triangulate(
    database: Path,
    image_dir: Path,
    folder: Path,
    cameras: Mapping[str, Any],
    poses: Mapping[str, Any],
    *,
    seed: int,
    threads: int,
) -> Any:
    """Return a model with the given cameras and poses, and points from verified matches.

    Args:
        database: COLMAP's database; not changed.
        image_dir: Folder of the photographs (for the points' colours).
        folder: Work folder; emptied first.
        cameras: `pycolmap.Camera` of each image, by name. The images of one camera of the database
            share the camera of the first.
        poses: `pycolmap.Rigid3d` cam_from_world of each image, by name. Images of the database
            that are not named stay without.
        seed: Seed of the triangulation.
        threads: CPU threads.

    Returns:
        A `pycolmap.Reconstruction`.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
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
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = options.mapper.num_threads = threads
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    pycolmap.set_random_seed(seed)
    return pycolmap.triangulate_points(model, database, image_dir, folder, options=options)
