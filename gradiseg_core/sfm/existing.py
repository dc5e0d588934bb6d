"""Validation of a COLMAP model that comes with the scene."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core.errors import InputError

logger = logging.getLogger(__name__)

_STEMS = ("cameras", "images", "points3D")


def find_sparse(scene_dir: Path) -> Path | None:
    """Return the folder of the scene's COLMAP model (`sparse/0` or `sparse`), or None."""
    for folder in (scene_dir / "sparse" / "0", scene_dir / "sparse"):
        if any((folder / f"{stem}{end}").is_file() for stem in _STEMS for end in (".bin", ".txt")):
            return folder
    return None


def load_validated(folder: Path, sizes: dict[str, tuple[int, int]], *, downsampled: int = 1) -> Any:
    """Read a model and check that it fits the scene's images.

    Images of the model that the scene lacks are removed from it (with a warning); one that the
    scene has with another suffix takes the scene's name.

    Args:
        folder: Folder of `cameras`, `images` and `points3D`, all `.bin` or all `.txt`.
        sizes: Width and height (px) of the scene's images by name.
        downsampled: How many times smaller the scene's images are than those that the model was
            made from (up to rounding); its cameras and observations are scaled to them.

    Returns:
        A `pycolmap.Reconstruction` in the scene's pixels.

    Raises:
        InputError: If a file is missing or damaged, no name matches, an image's size differs from
            its camera's, a pose or focal length is not finite, or there are no points.
    """
    from gradiseg_core.sfm._pycolmap import pycolmap

    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    missing = [f"{stem}{suffix}" for stem in _STEMS if not (folder / f"{stem}{suffix}").is_file()]
    if missing:
        raise _invalid(folder, f"{', '.join(missing)} not found")
    try:
        model = pycolmap.Reconstruction(folder)
    except Exception as error:  # pycolmap raises several kinds, all meaning: not readable
        raise _invalid(folder, f"it cannot be read ({str(error).strip()})") from error

    _take_names(model, sizes)
    if downsampled > 1:
        _scale_to(model, sizes, downsampled)
    poses = {i.name: i for i in model.images.values() if i.has_pose}
    known = sorted(set(poses) & set(sizes))
    if not known:
        raise _invalid(
            folder,
            f"none of its {len(poses)} images is in the scene (model: {_some(poses)}; "
            f"scene: {_some(sizes)})",
        )
    for name in known:
        camera, pose = poses[name].camera, poses[name].cam_from_world().matrix()
        if (camera.width, camera.height) != sizes[name]:
            width, height = sizes[name]
            raise _invalid(
                folder,
                f"{name} is {width} x {height} px but its camera is {camera.width} x "
                f"{camera.height} px (give the images that the model was made from)",
            )
        if not (np.isfinite(pose).all() and np.isfinite(camera.params).all()):
            raise _invalid(folder, f"the camera of {name} has values that are not finite")
        if not camera.verify_params() or camera.mean_focal_length() <= 0:
            raise _invalid(folder, f"the camera of {name} has invalid parameters {camera.params}")
    extra = sorted(set(poses) - set(sizes))
    if extra:
        logger.warning("%s: %d images are not in the scene: %s", folder, len(extra), _some(extra))
        for name in extra:
            model.deregister_frame(poses[name].frame_id)
    if model.num_points3D() == 0:
        raise _invalid(folder, "it has no points, which training starts from")
    xyz = np.array([point.xyz for point in model.points3D.values()])
    if not np.isfinite(xyz).all():
        raise _invalid(folder, "it has points that are not finite")
    return model


def _take_names(model: Any, sizes: dict[str, tuple[int, int]]) -> None:
    """Rename images of the model that the scene has under another suffix (`.JPG`, `.png`)."""
    by_stem: dict[str, list[str]] = {}
    for name in sizes:
        by_stem.setdefault(name.rpartition(".")[0], []).append(name)
    taken = {image.name for image in model.images.values()}
    for image in model.images.values():
        found = by_stem.get(image.name.rpartition(".")[0], [])
        if image.name not in sizes and len(found) == 1 and found[0] not in taken:
            logger.info("%s of the COLMAP model is %s of the scene", image.name, found[0])
            taken.add(found[0])
            image.name = found[0]


def _scale_to(model: Any, sizes: dict[str, tuple[int, int]], factor: int) -> None:
    """Scale cameras and observations to images that are `factor` times smaller.

    A side of 5187 px becomes one of 648 or 649, not 648.375: both directions have a scale of their
    own, that of the real sizes. A camera of another size is left to the check that refuses it.
    """
    scaled: dict[int, tuple[float, float]] = {}
    for image in model.images.values():
        if image.name not in sizes:
            continue
        camera, size = image.camera, sizes[image.name]
        if image.camera_id not in scaled:
            full = (camera.width, camera.height)
            if full == size or any(
                abs(side - factor * small) >= factor for side, small in zip(full, size, strict=True)
            ):
                continue
            camera.rescale(*size)
            scaled[image.camera_id] = (size[0] / full[0], size[1] / full[1])
        scale = np.array(scaled[image.camera_id])
        for point in image.points2D:
            point.xy = point.xy * scale
    if scaled:
        model.update_point_3d_errors()
        logger.info("the model's cameras are scaled to images %d times smaller", factor)


def _some(names: Any) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _invalid(folder: Path, why: str) -> InputError:
    return InputError(
        f"the COLMAP model in {folder} cannot be used: {why}; mend it, or set `colmap.existing: "
        "ignore` to reconstruct from the photographs"
    )
