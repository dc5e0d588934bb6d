"""Pairs of images in COLMAP's database: counting, verifying and matching a chosen few.

All functions that change a database work on a copy of it, which an attempt owns.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.files.manifest import in_order

#: Fewest verified matches of a pair, where thresholds are lowered; COLMAP's own is 15.
FEWEST_MATCHES = 10
#: Focal length that COLMAP assumes where EXIF data do not say, times the longer side.
GUESS = 1.2
_MARK, _SPACE = "\x1f", "\x1e"  # no file name has them
_STILL_PX, _STILL = 2.0, 0.002  # px, and share of the longer side, that a standing thing may move


def copy_of(database: Path, folder: Path) -> Path:
    """Return a copy of a database in a folder, which is made; an older copy is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("database.db*"):
        path.unlink()
    return Path(shutil.copyfile(database, folder / "database.db"))


def image_ids(database: Path) -> dict[str, int]:
    """Return the ID of every image by name, in the order of the names."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        found = {image.name: image.image_id for image in db.read_all_images()}
    finally:
        db.close()
    return {name: found[name] for name in in_order(found)}


def forget_lens(camera: Any) -> None:
    """Let a `pycolmap.Camera` have COLMAP's guess for its focal length instead of EXIF data."""
    params = camera.params
    params[camera.focal_length_idxs()] = GUESS * max(camera.width, camera.height)
    camera.params = params.tolist()
    camera.has_prior_focal_length = False


def forget_lenses(database: Path) -> bool:
    """Forget the focal lengths that EXIF data gave; return whether there were any."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        known = [camera for camera in db.read_all_cameras() if camera.has_prior_focal_length]
        for camera in known:
            forget_lens(camera)
            db.update_camera(camera)
    finally:
        db.close()
    return bool(known)


def verified(database: Path) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Return the verified matches [n, 2] of every pair that has some, as indices of keypoints."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        ids, geometries = db.read_two_view_geometries()
    finally:
        db.close()
    found = {}
    for pair, geometry in zip(ids, geometries, strict=True):
        matches = np.asarray(geometry.inlier_matches, dtype=np.int64).reshape(-1, 2)
        if len(matches):
            first, second = pycolmap.pair_id_to_image_pair(pair)
            found[first, second] = matches
    return dict(sorted(found.items()))


def keypoints(database: Path) -> dict[int, NDArray[np.float64]]:
    """Return the positions [n, 2] (px) of the features of every image."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        return {
            image.image_id: np.asarray(db.read_keypoints(image.image_id))[:, :2].astype(np.float64)
            for image in db.read_all_images()
        }
    finally:
        db.close()


def share_that_stands(database: Path) -> float:
    """Return the share of all verified matches whose feature is at the same place in both images.

    Moving cameras leave few of them; a gripper or a date stamp makes many.
    """
    at, most = keypoints(database), _still_px(database)
    still = total = 0
    for (first, second), matches in verified(database).items():
        moved = at[first][matches[:, 0]] - at[second][matches[:, 1]]
        still += int((np.linalg.norm(moved, axis=1) <= most).sum())
        total += len(matches)
    return still / total if total else 0.0


def verify_again(
    database: Path,
    pairs: Iterable[tuple[int, int]],
    *,
    guided: bool,
    without_still: bool,
    fewest: int | None,
    seed: int,
    threads: int,
    cancel: Any = None,
) -> None:
    """Match pairs that have not been matched, and verify all given pairs anew.

    Args:
        database: The attempt's own database, which is changed.
        pairs: IDs of the images.
        guided: Whether to search for more matches along epipolar lines.
        without_still: Whether to leave out matches that do not move.
        fewest: Fewest verified matches of a pair; None is COLMAP's.
        seed: Seed of RANSAC.
        threads: CPU threads.
        cancel: `pycolmap.CancellationToken` that ends it early.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = threads
    matching.use_gpu = False
    matching.guided_matching = guided
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    verification.filter_stationary_matches = without_still
    verification.stationary_matches_max_error = _still_px(database)
    if fewest is not None:
        verification.min_num_inliers = fewest
    pairs = sorted(set(pairs))
    db = pycolmap.Database.open(database)
    for first, second in pairs:
        if db.exists_two_view_geometry(first, second):
            db.delete_two_view_geometry(first, second)
    db.close()
    options = {"matching_options": matching, "verification_options": verification}
    extra = {} if cancel is None else {"cancellation_token": cancel}
    match_pairs(database, pairs, options | extra | {"device": pycolmap.Device.cpu})


def numbered(number: int, name: str) -> str:
    """Return an image's name for a while: sorted by a number, and without spaces."""
    return f"{number:08d}{_MARK}{name.replace(' ', _SPACE)}"


def own_name(name: str) -> str:
    """Return an image's own name, also where it is :func:`numbered`."""
    return name.partition(_MARK)[2].replace(_SPACE, " ") if _MARK in name else name


def match_pairs(database: Path, pairs: Iterable[tuple[int, int]], options: dict[str, Any]) -> None:
    """Match and verify pairs that have not been.

    Args:
        database: COLMAP's database.
        pairs: IDs of the images.
        options: Of `pycolmap.match_image_pairs`.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    names = {image_id: name for name, image_id in image_ids(database).items()}
    pairing = pycolmap.ImportedPairingOptions()
    listed = database.with_name("pairs.txt")
    # The list separates names by spaces, which names may have.
    spaceless = {image_id: numbered(image_id, name) for image_id, name in names.items()}
    _rename(database, spaceless)
    lines = (f"{spaceless[first]} {spaceless[second]}\n" for first, second in pairs)
    listed.write_text("".join(lines), encoding="utf-8")
    pairing.match_list_path = listed
    pycolmap.match_image_pairs(database, pairing_options=pairing, **options)
    listed.unlink()
    _rename(database, names)


def pairs_with(database: Path, some: Collection[int]) -> list[tuple[int, int]]:
    """Return the pairs that COLMAP has matched and that hold one of the images."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        ids, matches = db.read_all_matches()
    finally:
        db.close()
    pairs = (
        pycolmap.pair_id_to_image_pair(pair)
        for pair, found in zip(ids, matches, strict=True)
        if len(found)
    )
    return sorted((a, b) for a, b in pairs if a in some or b in some)


def _still_px(database: Path) -> float:
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        longest = max(max(camera.width, camera.height) for camera in db.read_all_cameras())
    finally:
        db.close()
    return max(_STILL_PX, _STILL * longest)


def _rename(database: Path, names: dict[int, str]) -> None:
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    for image in db.read_all_images():
        image.name = names[image.image_id]
        db.update_image(image)
    db.close()
