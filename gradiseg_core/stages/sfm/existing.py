"""Validation of a COLMAP model that comes with the scene."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core.errors import InputError
from gradiseg_core.files.colmap_text import text_images
from gradiseg_core.files.manifest import in_order
from gradiseg_core.files.view_names import match_names
from gradiseg_core.stages.sfm.fit import misfit
from gradiseg_core.stages.sfm.registered import by_name

logger = logging.getLogger(__name__)

_STEMS = ("cameras", "images", "points3D")
_POINTS = "points3D.ply"


def find_models(scene_dir: Path) -> list[Path]:
    """Return the folders of the scene's COLMAP models: `sparse/0`, `sparse/1`, ..., `sparse`."""
    root = scene_dir / "sparse"
    below = in_order(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [
        folder
        for folder in (*(root / name for name in below), root)
        if any((folder / f"{stem}{end}").is_file() for stem in _STEMS for end in (".bin", ".txt"))
    ]


def readable_models(
    folders: list[Path], names: Iterable[str], originals: Mapping[str, str] | None = None
) -> dict[Path, tuple[int, int]]:
    """Return how many of the scene's images, and how many points, each model has.

    One that cannot be read is left out, with a warning.

    Args:
        folders: As `find_models` returns them, at least one.
        names: File names of the scene's images.
        originals: The user's own names of images that have another name in the scene.
    """
    known = {name: (originals or {}).get(name, name) for name in names}
    sizes: dict[Path, tuple[int, int]] = {}
    for folder in folders:
        try:
            model = _read(folder)
        except Exception as error:  # pycolmap raises several kinds, all meaning: not readable
            logger.warning("%s cannot be read and is passed over: %s", folder, str(error).strip())
            continue
        sizes[folder] = (len(match_names(by_name(model), known)), model.num_points3D())
    return sizes


def load_validated(
    folder: Path,
    sizes: dict[str, tuple[int, int]],
    originals: Mapping[str, str] | None = None,
    *,
    downsampled: int = 1,
) -> Any:
    """Read a model and check that it fits the scene's images.

    Images of the model that the scene lacks are removed from it (with a warning); one that the
    scene has in another folder or with another suffix takes the scene's name. The model may be
    without points; those of a `points3D.ply` beside it are taken then.

    Args:
        folder: Folder of `cameras`, `images` and `points3D`, all `.bin` or all `.txt`.
        sizes: Width and height (px) of the scene's images by name.
        originals: The user's own names of images that have another name in the scene.
        downsampled: How many times smaller the scene's images are than the model's (up to
            rounding); cameras and observations are scaled to them.

    Returns:
        A `pycolmap.Reconstruction` in the scene's pixels.

    Raises:
        InputError: If a file is missing or damaged, no name matches, an image's size differs from
            its camera's, a pose or focal length is not finite, or points are far from where the
            images observe them.
    """
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    missing = [f"{stem}{suffix}" for stem in _STEMS if not (folder / f"{stem}{suffix}").is_file()]
    if missing:
        raise _invalid(folder, f"{', '.join(missing)} not found")
    _say_what_is_read(folder, suffix)
    try:
        model = _read(folder)
    except Exception as error:  # pycolmap raises several kinds, all meaning: not readable
        raise _invalid(folder, f"it cannot be read ({str(error).strip()})") from error

    _take_names(model, sizes, originals or {})
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
        if camera.model_name == "EQUIRECTANGULAR":
            raise _invalid(
                folder,
                f"{name} is a panorama (camera model EQUIRECTANGULAR), which no pinhole camera can "
                "show; cut the panoramas into perspective views (COLMAP's panorama_sfm.py does)",
            )
        if (camera.width, camera.height) != sizes[name]:
            width, height = sizes[name]
            raise _invalid(
                folder,
                f"{name} is {width} x {height} px but its camera is {camera.width} x "
                f"{camera.height} px (give the images that the model was made from)",
            )
        if not np.linalg.norm(poses[name].cam_from_world().rotation.quat) > 0:
            raise _invalid(folder, f"the quaternion of {name} is zero, which is no rotation")
        if not (np.isfinite(pose).all() and np.isfinite(camera.params).all()):
            raise _invalid(folder, f"the camera of {name} has values that are not finite")
        if not camera.verify_params() or camera.mean_focal_length() <= 0:
            raise _invalid(folder, f"the camera of {name} has invalid parameters {camera.params}")
    extra = sorted(set(poses) - set(sizes))
    if extra:
        logger.warning("%s: %d images are not in the scene: %s", folder, len(extra), _some(extra))
        for name in extra:
            model.deregister_frame(poses[name].frame_id)
    if model.num_points3D() == 0 and (folder / _POINTS).is_file():
        model.import_PLY(folder / _POINTS)
        logger.info("%d points from %s", model.num_points3D(), folder / _POINTS)
    if model.num_points3D() == 0:
        return model
    xyz = np.array([point.xyz for point in model.points3D.values()])
    if not np.isfinite(xyz).all():
        raise _invalid(folder, "it has points that are not finite")
    wrong = misfit(model)
    if wrong is not None:
        raise _invalid(folder, wrong)
    return model


def _read(folder: Path) -> Any:
    """Read a model with the whole names of its images; pycolmap cuts those of text at spaces."""
    from gradiseg_core.files._pycolmap import pycolmap

    model = pycolmap.Reconstruction(folder)
    if not (folder / "cameras.bin").is_file():
        text = (folder / "images.txt").read_text(encoding="utf-8", errors="surrogateescape")
        for image_id, _, name in text_images(text):
            if image_id in model.images:
                model.images[image_id].name = name
    return model


def _say_what_is_read(folder: Path, suffix: str) -> None:
    """Log which files are read, because a user may have edited the others."""
    if suffix == ".bin" and any((folder / f"{stem}.txt").is_file() for stem in _STEMS):
        logger.warning("%s has .bin and .txt files: .bin is read, .txt is not", folder)
    if (folder / f"frames{suffix}").is_file():
        logger.info("%s: poses are read from frames%s, not from images%s", folder, suffix, suffix)


def _take_names(
    model: Any, sizes: Mapping[str, tuple[int, int]], originals: Mapping[str, str]
) -> None:
    """Rename images of the model that the scene has in another folder or with another suffix."""
    known = {name: originals.get(name, name) for name in sizes}
    names = [model.images[image_id].name for image_id in sorted(model.images)]
    taken = match_names(names, known)
    renamed = {name: view for name, view in taken.items() if name != view}
    for image in model.images.values():
        image.name = renamed.get(image.name, image.name)
    if renamed:
        first = next(iter(renamed))
        logger.info(
            "%d images of the COLMAP model have other names in the scene: %s is %s%s",
            len(renamed),
            first,
            renamed[first],
            ", ..." if len(renamed) > 1 else "",
        )


def _scale_to(model: Any, sizes: dict[str, tuple[int, int]], factor: int) -> None:
    """Scale cameras and observations to images that are `factor` times smaller.

    A side of 5187 px becomes 648 or 649, not 648.375. So each direction has its own scale, the
    ratio of the real sizes. A camera of another size stays as it is; a later check refuses it.
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
        logger.info("the model's cameras are scaled to images %d times smaller", factor)


def _some(names: Any) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _invalid(folder: Path, why: str) -> InputError:
    return InputError(
        f"the COLMAP model in {folder} cannot be used: {why}; repair it, or set `colmap.existing: "
        "ignore` to reconstruct from the photographs"
    )
