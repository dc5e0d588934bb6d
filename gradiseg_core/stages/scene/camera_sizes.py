"""Whether a scene's COLMAP model was made from the stored pixels or from upright photographs.

COLMAP ignores the EXIF orientation (checked with pycolmap 4.2 on jpg, png and tif), so its models
belong to the pixels as stored. Other programs turn the photographs first. If width and height swap,
the sizes of the model's cameras tell the two apart. If they do not (turned by 180 degrees,
mirrored, square), the model is taken to be COLMAP's.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gradiseg_core.files.colmap_text import text_images

logger = logging.getLogger(__name__)

# Parameters of COLMAP's camera models by model ID (src/colmap/sensor/models.h of 4.2).
_NUM_PARAMS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)

Size = tuple[int, int]


def camera_sizes(sparse: Path) -> dict[str, Size]:
    """Return (width, height) of the camera of every image in the models below a folder, by stem.

    Models that cannot be read are skipped: stage `colmap` reports what is wrong with them.
    """
    found: dict[str, Size] = {}
    for cameras in sorted(sparse.rglob("cameras.*")):
        try:
            if cameras.suffix == ".bin":
                sizes = dict(_cameras_bin(cameras.read_bytes()))
                images = _images_bin(cameras.with_name("images.bin").read_bytes())
            elif cameras.suffix == ".txt":
                sizes = dict(_cameras_txt(cameras.read_text()))
                text = cameras.with_name("images.txt").read_text(encoding="utf-8")
                images = ((name, camera_id) for _, camera_id, name in text_images(text))
            else:
                continue
            for name, camera_id in images:
                found.setdefault(PurePosixPath(name).stem, sizes[camera_id])
        except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
            logger.debug("%s cannot be read: %r", cameras.parent, error)
    return found


def belongs_to_stored(
    cameras: dict[str, Size], photographs: dict[str, tuple[Size, Size]], factor: int = 1
) -> bool:
    """Whether the cameras belong to the photographs' pixels as stored.

    Args:
        cameras: Camera sizes by stem (:func:`camera_sizes`).
        photographs: Stored and upright size of the photographs that carry an orientation, by stem.
        factor: How many times smaller the photographs are than those of the model.

    Returns:
        False if no photograph carries an orientation, or none has a camera of either size.
    """
    stored = upright = 0
    for stem, sizes in photographs.items():
        if stem in cameras:
            fits = [_fits(cameras[stem], size, factor) for size in sizes]
            stored += fits[0]
            upright += fits[1]
    return stored > 0 and stored >= upright


def _fits(camera: Size, size: Size, factor: int) -> bool:
    return all(
        abs(side - factor * small) < factor for side, small in zip(camera, size, strict=True)
    )


def _cameras_bin(data: bytes) -> Iterator[tuple[int, Size]]:
    (count,), offset = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        camera_id, model, width, height = struct.unpack_from("<IiQQ", data, offset)
        yield camera_id, (int(width), int(height))
        offset += 24 + 8 * _NUM_PARAMS[model]


def _images_bin(data: bytes) -> Iterator[tuple[str, int]]:
    (count,), offset = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        camera_id = struct.unpack_from("<I", data, offset + 60)[0]  # after ID, quaternion, position
        end = data.index(b"\0", offset + 64)
        yield data[offset + 64 : end].decode(), camera_id
        offset = end + 9 + 24 * struct.unpack_from("<Q", data, end + 1)[0]


def _cameras_txt(text: str) -> Iterator[tuple[int, Size]]:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            camera_id, _, width, height = line.split()[:4]
            yield int(camera_id), (int(width), int(height))
