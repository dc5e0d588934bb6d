"""Cameras and points from a database of verified matches."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

logger = logging.getLogger(__name__)

#: Thresholds of the relaxed mapper; COLMAP's own are 30 inliers, a share of 0.25, and 16 degrees.
RELAXED_INLIERS = 15
_RELAXED_SHARE = 0.15
_RELAXED_ANGLE_DEG = 4.0
#: The narrow view of a single object hardly tells distortion from depth. After a lens was held, it
#: is adjusted where it moves a corner by little, or lowers the error to this share.
_LITTLE, _TELLS = 0.1, 0.8
_ROUNDS = 200  # of adjusting a lens that was held


@dataclass(frozen=True)
class Mapping:
    """How cameras are found from matches.

    Attributes:
        mapper: COLMAP's incremental or global mapper.
        one_thread: Whether the result can be repeated.
        relaxed: Whether fewer matches suffice for an image and for the initial pair.
        initial: IDs of the two images to start from; None lets COLMAP choose.
        continued: Folder of a model to which images are added; None starts anew.
        held: Whether focal lengths and distortions stay as the database has them until all images
            are placed: two images alone often do not tell them, and then no third one fits.
    """

    mapper: Literal["incremental", "global"] = "incremental"
    one_thread: bool = True
    relaxed: bool = False
    initial: tuple[int, int] | None = None
    continued: Path | None = None
    held: bool = False


def map_images(
    database: Path,
    image_dir: Path,
    output: Path,
    how: Mapping,
    *,
    num_images: int,
    seed: int,
    threads: int,
    cancel: Any = None,
) -> list[Any]:
    """Reconstruct; return all models, the one with most images (then points) first.

    Args:
        database: COLMAP database with verified matches; not changed.
        image_dir: Folder of the photographs (for the points' colours).
        output: Folder for the models as COLMAP writes them, `<n>/`; emptied first.
        how: Mapper and thresholds.
        num_images: Number of images in the database.
        seed: Seed of all of the mapper's random choices.
        threads: CPU threads; `how.one_thread` lowers them to one.
        cancel: `pycolmap.CancellationToken` that ends the incremental mapper early.

    Returns:
        `pycolmap.Reconstruction` objects; an empty list if no initial pair was found.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    threads = 1 if how.one_thread else threads
    pycolmap.set_random_seed(seed)
    if how.mapper == "incremental":
        models = _incremental(database, image_dir, output, how, num_images, seed, threads, cancel)
    else:
        models = _global(database, image_dir, output, num_images, seed, threads)
    models.sort(key=lambda m: (m.num_reg_images(), m.num_points3D()), reverse=True)
    sizes = ", ".join(f"{m.num_reg_images()} images" for m in models)
    logger.info("mapping: %d model(s): %s", len(models), sizes or "none")
    return models


def _incremental(
    database: Path,
    image_dir: Path,
    output: Path,
    how: Mapping,
    num_images: int,
    seed: int,
    threads: int,
    cancel: Any,
) -> list[Any]:
    from gradiseg_core.files._pycolmap import pycolmap

    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = options.mapper.num_threads = threads
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    options.min_model_size = min(options.min_model_size, num_images)
    if how.relaxed:
        options.min_model_size = min(3, num_images)
        options.min_num_matches = RELAXED_INLIERS
        options.mapper.init_min_tri_angle = _RELAXED_ANGLE_DEG
        options.mapper.init_min_num_inliers = 2 * RELAXED_INLIERS
        options.mapper.abs_pose_min_num_inliers = RELAXED_INLIERS
        options.mapper.abs_pose_min_inlier_ratio = _RELAXED_SHARE
    if how.initial is not None:
        options.init_image_id1, options.init_image_id2 = how.initial
        options.init_num_trials = 3  # the pair does not change between trials
        options.multiple_models = False  # each would start from this pair again
    if how.held:
        options.ba_refine_focal_length = options.ba_refine_extra_params = False
    step = max(1, num_images // 5)
    registered = 2  # the initial pair

    def on_image() -> None:
        nonlocal registered
        registered += 1
        if registered % step == 0:
            logger.info("mapping: %d image registrations so far", registered)

    extra = {} if cancel is None else {"cancellation_token": cancel}
    models = pycolmap.incremental_mapping(
        database,
        image_dir,
        output,
        options,
        input_path="" if how.continued is None else how.continued,
        next_image_callback=on_image,
        **extra,
    )
    return [_adjusted(model, threads) if how.held else model for model in models.values()]


def _adjusted(model: Any, threads: int) -> Any:
    """Adjust a model together with focal lengths, and distortions where the images tell them."""
    from gradiseg_core.files._pycolmap import pycolmap

    config = pycolmap.BundleAdjustmentConfig()
    for image_id in sorted(model.reg_image_ids()):
        config.add_image(image_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)

    def solved(start: Any, *, distortion: bool) -> Any:
        result = pycolmap.Reconstruction(start)
        options = pycolmap.BundleAdjustmentOptions()
        options.print_summary = False
        options.refine_extra_params = distortion
        options.ceres.solver_options.num_threads = threads
        options.ceres.solver_options.max_num_iterations = _ROUNDS
        # Not `pycolmap.bundle_adjustment`, which turns logging to stderr on (4.2).
        pycolmap.create_default_bundle_adjuster(options, config, result).solve()
        result.update_point_3d_errors()
        return result

    plain = solved(model, distortion=False)
    bent = solved(plain, distortion=True)
    falls_to = bent.compute_mean_reprojection_error() / max(
        plain.compute_mean_reprojection_error(), 1e-9
    )
    return bent if falls_to < _TELLS or _bending(bent) < _LITTLE else plain


def _bending(model: Any) -> float:
    """Return by how much distortion moves a corner, relative to its distance from the middle."""
    most = 0.0
    for camera in model.cameras.values():
        K = camera.calibration_matrix()
        corner = np.array([camera.width, camera.height, 1.0])
        seen = camera.img_from_cam((np.linalg.inv(K) @ corner)[None])[0]
        reach = np.linalg.norm(corner[:2] - K[:2, 2])
        most = max(most, float(np.linalg.norm(seen - corner[:2]) / reach))
    return most if np.isfinite(most) else np.inf


def _global(
    database: Path, image_dir: Path, output: Path, num_images: int, seed: int, threads: int
) -> list[Any]:
    from gradiseg_core.files._pycolmap import pycolmap

    # Calibration writes focal lengths into the database; a copy keeps ours as extracted.
    calibrated = output.parent / "calibrated.db"
    shutil.copyfile(database, calibrated)
    calibration = pycolmap.ViewGraphCalibrationOptions()
    calibration.random_seed = seed
    if not pycolmap.calibrate_view_graph(calibrated, calibration):
        logger.warning("view graph calibration failed: focal lengths start from their guesses")
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = options.mapper.num_threads = threads
    options.min_model_size = min(options.min_model_size, num_images)
    options.random_seed = seed
    mapper = options.mapper
    mapper.random_seed = mapper.rotation_averaging.random_seed = seed
    mapper.global_positioning.random_seed = mapper.retriangulation.random_seed = seed
    mapper.global_positioning.use_gpu = mapper.bundle_adjustment.ceres.use_gpu = False
    models = pycolmap.global_mapping(calibrated, image_dir, output, options)
    calibrated.unlink()
    return list(models.values())
