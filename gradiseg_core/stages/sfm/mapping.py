"""Cameras and points from a database of verified matches."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from gradiseg_core.config.colmap import ColmapConfig

logger = logging.getLogger(__name__)


def map_images(
    database: Path,
    image_dir: Path,
    work_dir: Path,
    config: ColmapConfig,
    *,
    num_images: int,
    seed: int,
    threads: int,
) -> list[Any]:
    """Reconstruct; return all models, the one with most images (then points) first.

    Args:
        database: COLMAP database with verified matches; not changed.
        image_dir: Folder of the photographs (for the points' colours).
        work_dir: Folder for the models as COLMAP writes them, `models/<n>/`.
        config: Configuration of the stage.
        num_images: Number of images in the database.
        seed: Seed of all of the mapper's random choices.
        threads: CPU threads; `config.deterministic` lowers them to one.

    Returns:
        `pycolmap.Reconstruction` objects; an empty list if no initial pair was found.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    output = work_dir / "models"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    threads = 1 if config.deterministic else threads
    pycolmap.set_random_seed(seed)
    run = _incremental if config.mapper == "incremental" else _global
    models = run(database, image_dir, output, num_images, seed, threads)
    models.sort(key=lambda m: (m.num_reg_images(), m.num_points3D()), reverse=True)
    sizes = ", ".join(f"{m.num_reg_images()} images" for m in models)
    logger.info("mapping: %d model(s): %s", len(models), sizes or "none")
    return models


def _incremental(
    database: Path, image_dir: Path, output: Path, num_images: int, seed: int, threads: int
) -> list[Any]:
    from gradiseg_core.files._pycolmap import pycolmap

    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = options.mapper.num_threads = threads
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = seed
    options.min_model_size = min(options.min_model_size, num_images)
    step = max(1, num_images // 5)
    registered = 2  # the initial pair

    def on_image() -> None:
        nonlocal registered
        registered += 1
        if registered % step == 0:
            logger.info("mapping: %d image registrations so far", registered)

    models = pycolmap.incremental_mapping(
        database, image_dir, output, options, next_image_callback=on_image
    )
    return list(models.values())


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
