"""Which photographs share a camera: those of one size and, by their EXIF data, one lens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from gradiseg_core.config.colmap import CameraModel
from gradiseg_core.errors import ReconstructionError

logger = logging.getLogger(__name__)

_LEAST_SQUARE = 1.25  # focal lengths along the axes of a pixel that is nearly square
#: Focal lengths up to this much apart are of one setting: programs round them.
_SAME_FOCAL = 1.03


class Lens(NamedTuple):
    """What EXIF data say of a camera.

    Attributes:
        body: Maker, model and lens, as one text.
        focal: Focal length, mm, in that of 35 mm film where it is known.
    """

    body: str
    focal: float


def camera_groups(
    image_dir: Path, sizes: Mapping[str, tuple[int, int]], single: bool | None
) -> list[list[str]]:
    """Return the photographs of each camera, in the order of the first of each.

    Photographs without EXIF data go with those of their size, where these are of one lens.

    Args:
        image_dir: Folder of the photographs.
        sizes: Width and height, px, by name, in order.
        single: True: one camera for all. False: one for each. None: one a size and lens.
    """
    if single is not None:
        return [list(sizes)] if single else [[name] for name in sizes]
    groups: dict[tuple[tuple[int, int], Lens | None], list[str]] = {}
    for size in dict.fromkeys(sizes.values()):
        names = [name for name in sizes if sizes[name] == size]
        lenses = _joined({name: lens_of(image_dir / name) for name in names})
        known = list(dict.fromkeys(lens for lens in lenses.values() if lens is not None))
        for name in names:
            lens = lenses[name] or (known[0] if len(known) == 1 else None)
            groups.setdefault((size, lens), []).append(name)
    found = sorted(groups.values(), key=lambda names: list(sizes).index(names[0]))
    if len(found) > 1:
        logger.info(
            "%d cameras, by size and lens of the photographs: %s",
            len(found),
            "; ".join(_said(key, names) for key, names in groups.items()),
        )
    return found


def model_of(camera_model: CameraModel, groups: list[list[str]]) -> CameraModel:
    """Return the camera model to look for: with several cameras, pinholes have square pixels.

    Every camera with two focal lengths of its own leaves so much freedom that the mapper finds
    models in which pixels are twice as wide as high (three cameras of the embedded scene: all views
    registered, poses 60 degrees off; with square pixels 0.1 degrees).
    """
    if camera_model == "PINHOLE" and len(groups) > 1:
        logger.info("%d cameras: pixels are taken to be square (SIMPLE_PINHOLE)", len(groups))
        return "SIMPLE_PINHOLE"
    return camera_model


def check_pixels(model: Any) -> None:
    """Refuse cameras that do not exist.

    Args:
        model: `pycolmap.Reconstruction` that was made from photographs.

    Raises:
        ReconstructionError: If pixels of a camera are much wider than high, or the other way round.
    """
    for camera in model.cameras.values():
        K = camera.calibration_matrix()
        ratio = max(K[0, 0], K[1, 1]) / max(min(K[0, 0], K[1, 1]), 1e-9)
        if ratio > _LEAST_SQUARE:
            raise ReconstructionError(
                f"the cameras that were found are not real: pixels of {camera.width} x "
                f"{camera.height} px images would be {ratio:.1f} times as wide as high, or the "
                "other way round, so poses are wrong too. Set `colmap.camera_model: SIMPLE_RADIAL` "
                "(one focal length), or add photographs that overlap more"
            )


def lens_of(path: Path) -> Lens | None:
    """Return the lens that a photograph's EXIF data name; None without a focal length."""
    try:
        with Image.open(path) as file:  # its head only
            tags = file.getexif()
            inner = tags.get_ifd(ExifTags.IFD.Exif)
            body = " ".join(
                str(value).strip("\0 ")
                for value in (
                    tags.get(ExifTags.Base.Make),
                    tags.get(ExifTags.Base.Model),
                    inner.get(ExifTags.Base.LensModel),
                )
                if value
            )
            focal = _number(inner.get(ExifTags.Base.FocalLengthIn35mmFilm))
            focal = focal or _number(inner.get(ExifTags.Base.FocalLength))
    except Exception as error:  # damaged EXIF data cause many kinds of errors; the pixels are fine
        logger.debug("EXIF data of %s cannot be read: %s", path, error)
        return None
    return Lens(body, focal) if focal else None


def _number(value: Any) -> float:
    """Return a positive number of EXIF data; 0 for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return number if 0.0 < number < 1e6 else 0.0


def _joined(lenses: Mapping[str, Lens | None]) -> dict[str, Lens | None]:
    """Return the lenses with focal lengths that hardly differ made equal."""
    same: dict[Lens, Lens] = {}
    last: Lens | None = None
    for lens in sorted({lens for lens in lenses.values() if lens is not None}):
        if last is None or lens.body != last.body or lens.focal > _SAME_FOCAL * last.focal:
            same[lens] = lens
        else:
            same[lens] = same[last]
        last = lens
    return {name: None if lens is None else same[lens] for name, lens in lenses.items()}


def _said(key: tuple[tuple[int, int], Lens | None], names: list[str]) -> str:
    (width, height), lens = key
    of = "" if lens is None else f", {lens.body} {lens.focal:g} mm".replace("  ", " ")
    return f"{len(names)} of {width} x {height} px{of}"
