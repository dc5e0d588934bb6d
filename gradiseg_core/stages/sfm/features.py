"""Features and matches: from photographs to COLMAP's database.

The database is kept in a work folder, with `inputs.json` beside it, which names its inputs. A later
call with the same images and options continues where the last one ended; if only the matcher
differs, the features are kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import ReconstructionError
from gradiseg_core.files.manifest import in_order
from gradiseg_core.files.work_files import UNREADABLE, read_json, set_aside, write_whole
from gradiseg_core.stages.sfm.colmap_log import progress_of_table
from gradiseg_core.stages.sfm.masking import FeatureMasks, feature_masks
from gradiseg_core.stages.sfm.pairs import forget_lens, image_ids, match_pairs, numbered, own_name

logger = logging.getLogger(__name__)

#: Most images of which `matcher: auto` matches all pairs.
EXHAUSTIVE_LIMIT = 200
#: The sequential matcher pairs each image with this many following images, and with as many more at
#: doubling distances (COLMAP's default).
SEQUENTIAL_OVERLAP = 10
#: And about so many images, evenly along the path, are matched with one another: the camera may
#: come back to where it was.
LOOP_IMAGES = 30
#: Most frames of a video of which `matcher: auto` matches all pairs: their order says which matter.
EXHAUSTIVE_FRAMES = 60
#: Focal lengths that a photograph can have, times its longer side: 5 mm to 1,000 mm of 35 mm film.
_FOCALS = (0.15, 30.0)


def build_database(
    work_dir: Path,
    image_dir: Path,
    names: list[str],
    config: ColmapConfig,
    *,
    cameras: list[list[str]],
    seed: int,
    threads: int,
    peak_threshold: float | None = None,
) -> Path:
    """Extract SIFT features, match and verify them; return the database's path.

    Args:
        work_dir: Folder of the database; results for the same inputs are reused.
        image_dir: Folder of the photographs.
        names: File names in that folder, in their order.
        config: Configuration of the stage.
        cameras: The images of each camera (:mod:`gradiseg_core.stages.sfm.lenses`).
        seed: Seed of the geometric verification's RANSAC.
        threads: CPU threads.
        peak_threshold: Contrast that a feature needs; None is COLMAP's.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    database = work_dir / "database.db"
    key_file = work_dir / "inputs.json"
    masks = feature_masks(work_dir, image_dir, names, config)
    keys = _keys(image_dir, names, config, masks, peak_threshold, cameras=cameras, seed=seed)
    _set_aside_if_damaged(database)
    old = read_json(key_file, "features and matches are made anew") if database.is_file() else None
    old = old or {}
    if old.get("features") != keys["features"]:
        for path in work_dir.glob("database.db*"):
            if not path.name.endswith(UNREADABLE):
                path.unlink()
        pycolmap.Database.open(database).close()
    elif old.get("matches") != keys["matches"]:
        logger.info("features: reused from %s", work_dir)
        with_matches = pycolmap.Database.open(database)
        with_matches.clear_two_view_geometries()
        with_matches.clear_matches()
        with_matches.close()
    else:
        logger.info("features and matches: continued from %s", work_dir)
    _unnumber(database)
    write_whole(key_file, json.dumps(keys, indent=1))

    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = config.camera_model
    if masks.camera is not None:
        reader.camera_mask_path = masks.camera
    if masks.folder is not None:
        reader.mask_path = masks.folder
    _extract(database, image_dir, names, config, reader, cameras, threads, peak_threshold)
    _match(database, names, config, seed, threads)
    return database


def matched_pairs(database: Path) -> dict[str, int]:
    """Return by image name the number of other images with which it has verified matches."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        names = {image.image_id: image.name for image in db.read_all_images()}
        counts = dict.fromkeys(in_order(names.values()), 0)
        pair_ids, _ = db.read_two_view_geometry_num_inliers()
        for pair_id in pair_ids:
            for image_id in pycolmap.pair_id_to_image_pair(pair_id):
                counts[names[image_id]] += 1
    finally:
        db.close()
    return counts


def _set_aside_if_damaged(database: Path) -> None:
    """Rename a database that SQLite or COLMAP cannot read, and its companion files."""
    from gradiseg_core.files._pycolmap import pycolmap

    if not database.is_file():
        return
    try:
        with closing(sqlite3.connect(database)) as db:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        pycolmap.Database.open(database).close()
    except (sqlite3.DatabaseError, RuntimeError, ValueError) as error:
        from gradiseg_core.files.full_disk import is_full_disk

        if is_full_disk(error, database):
            raise
        for path in (*database.parent.glob("database.db-*"), database):
            if not path.name.endswith(UNREADABLE):
                set_aside(path, error, "features and matches are made anew")


def for_order(config: ColmapConfig, num_images: int, *, ordered: bool) -> ColmapConfig:
    """Return the configuration with the matcher of a video's frames, where it is `auto`.

    Args:
        config: Configuration of the stage.
        num_images: Number of the images.
        ordered: Whether neighbours by name are neighbours in time.
    """
    if config.matcher != "auto" or not ordered or num_images <= EXHAUSTIVE_FRAMES:
        return config
    return config.model_copy(update={"matcher": "sequential"})


def loop_pairs(num_images: int) -> list[tuple[int, int]]:
    """Return pairs of places in the order that the sequential matcher leaves out, for loops."""
    step = -(-num_images // LOOP_IMAGES)
    places = range(0, num_images, step)
    return [(a, b) for a in places for b in places if b - a > SEQUENTIAL_OVERLAP]


def chosen_matcher(config: ColmapConfig, num_images: int) -> str:
    """Return "exhaustive" or "sequential", resolving "auto" by the number of images."""
    if config.matcher != "auto":
        return config.matcher
    return "exhaustive" if num_images <= EXHAUSTIVE_LIMIT else "sequential"


def _extract(
    database: Path,
    image_dir: Path,
    names: list[str],
    config: ColmapConfig,
    reader: Any,
    cameras: list[list[str]],
    threads: int,
    peak_threshold: float | None,
) -> None:
    from gradiseg_core.files._pycolmap import pycolmap

    each, one = pycolmap.CameraMode.PER_IMAGE, pycolmap.CameraMode.SINGLE
    db = pycolmap.Database.open(database)
    known = {image.name for image in db.read_all_images()}
    db.close()
    # With several threads extraction would number the images in the order in which they finish, and
    # the mapper's choices depend on the numbers. Importing first fixes them, and the cameras.
    alone = all(len(group) == 1 for group in cameras) and len(names) > 1
    for group in [names] if alone else cameras:
        if not known.issuperset(group):
            pycolmap.import_images(
                database,
                image_dir,
                camera_mode=each if alone else one,
                image_names=group,
                options=reader,
            )
    _forget_impossible_lenses(database)
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = config.max_image_size
    options.num_threads = threads
    options.use_gpu = False
    options.sift.max_num_features = config.max_features
    if peak_threshold is not None:
        options.sift.peak_threshold = peak_threshold
    done = "SELECT COUNT(*) FROM keypoints"
    with progress_of_table(database, done, "features of images", len(names)):
        pycolmap.extract_features(
            database,
            image_dir,
            image_names=names,
            camera_mode=one if len(cameras) == 1 else each,
            reader_options=reader,
            extraction_options=options,
            device=pycolmap.Device.cpu,
        )
    db = pycolmap.Database.open(database)
    total, empty = (
        db.num_keypoints(),
        [
            image.name
            for image in db.read_all_images()
            if db.num_keypoints_for_image(image.image_id) == 0
        ],
    )
    db.close()
    logger.info("features: %d in %d images", total, len(names))
    if total == 0:
        raise ReconstructionError(
            f"no features found in any of the {len(names)} images of {image_dir}: they are blank, "
            "far out of focus or much too small; use sharp photographs of textured objects"
        )
    if empty:
        logger.warning("no features in: %s", ", ".join(in_order(empty)))


def _forget_impossible_lenses(database: Path) -> None:
    """Give cameras whose EXIF data cannot be right (0 mm, 65535 mm) COLMAP's guess instead."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        images = db.read_all_images()
        for camera in db.read_all_cameras():
            longest = max(camera.width, camera.height)
            focal = camera.mean_focal_length() / longest
            if not camera.has_prior_focal_length or _FOCALS[0] < focal < _FOCALS[1]:
                continue
            forget_lens(camera)
            db.update_camera(camera)
            own = [image.name for image in images if image.camera_id == camera.camera_id]
            logger.warning(
                "the focal length in the EXIF data of %d photographs cannot be right (%.3g times "
                "the width): it is estimated instead: %s",
                len(own), focal, ", ".join(own[:5]) + (", ..." if len(own) > 5 else ""),
            )  # fmt: skip
    finally:
        db.close()


def _match(database: Path, names: list[str], config: ColmapConfig, seed: int, threads: int) -> None:
    from gradiseg_core.files._pycolmap import pycolmap

    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = threads
    matching.use_gpu = False
    matching.guided_matching = config.guided_matching
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    num_images = len(names)
    matcher = chosen_matcher(config, num_images)
    common: dict[str, Any] = {
        "matching_options": matching,
        "verification_options": verification,
        "device": pycolmap.Device.cpu,
    }
    if matcher == "exhaustive":
        pairs = num_images * (num_images - 1) // 2
    else:
        pairs = num_images * 2 * SEQUENTIAL_OVERLAP + LOOP_IMAGES**2 // 2  # an upper bound
    logger.info("matching: %s, up to %d pairs", matcher, pairs)
    done = "SELECT COUNT(*) FROM two_view_geometries"
    with progress_of_table(database, done, "matched pairs", pairs):
        if matcher == "exhaustive":
            pycolmap.match_exhaustive(database, **common)
        else:
            pairing = pycolmap.SequentialPairingOptions()
            pairing.overlap = SEQUENTIAL_OVERLAP
            with _numbered(database, names):
                pycolmap.match_sequential(database, pairing_options=pairing, **common)
            ids = image_ids(database)
            match_pairs(
                database,
                [(ids[names[a]], ids[names[b]]) for a, b in loop_pairs(num_images)],
                common,
            )


@contextmanager
def _numbered(database: Path, names: list[str]) -> Iterator[None]:
    """Rename the images in the database so that the matcher sorts them like `names`.

    COLMAP's sequential matcher sorts by characters: 10.jpg would come before 2.jpg.
    """
    if names == sorted(names):
        yield
        return
    _rename(database, {name: numbered(index, name) for index, name in enumerate(names)})
    try:
        yield
    finally:
        _unnumber(database)


def _unnumber(database: Path) -> None:
    """Give the images back their names, which a killed job left with numbers."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    names = [image.name for image in db.read_all_images()]
    db.close()
    _rename(database, {name: own_name(name) for name in names if own_name(name) != name})


def _rename(database: Path, new_names: dict[str, str]) -> None:
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    for image in db.read_all_images():
        if image.name in new_names:
            image.name = new_names[image.name]
            db.update_image(image)
    db.close()


def _alike(cameras: list[list[str]]) -> bool | list[list[str]]:
    """Return whether all images share one camera, or the groups that do."""
    if len(cameras) == 1:
        return True
    return False if all(len(group) == 1 for group in cameras) else cameras


def _keys(
    image_dir: Path,
    names: list[str],
    config: ColmapConfig,
    masks: FeatureMasks,
    peak_threshold: float | None,
    *,
    cameras: list[list[str]],
    seed: int,
) -> dict[str, str]:
    """Return digests of the inputs of the features and of the matches."""
    from gradiseg_core.files._pycolmap import pycolmap

    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0".encode())
        with (image_dir / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    features = [
        pycolmap.__version__,
        config.camera_model,
        _alike(cameras),
        config.max_image_size,
        config.max_features,
        *([] if peak_threshold is None else [peak_threshold]),
    ]
    digest.update(json.dumps(features).encode())
    for mask in masks.files():
        digest.update(mask.name.encode() if masks.folder else b"")
        digest.update(mask.read_bytes())
    key = digest.hexdigest()
    matches = [
        chosen_matcher(config, len(names)),
        [SEQUENTIAL_OVERLAP, LOOP_IMAGES],
        config.guided_matching,
        seed,
    ]
    digest.update(json.dumps(matches).encode())
    return {"features": key, "matches": digest.hexdigest()}
