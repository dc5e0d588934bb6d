"""Small pictures for the page, as data URLs, and where the photographs show each object."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.files.id_maps import id_map_file, read_id_map
from gradiseg_core.files.images import read_image

#: Longest side of an object's picture, px.
_THUMBNAIL = 96
#: About how many pixels of a photograph one byte of a JPEG holds.
_PIXELS_A_BYTE = 6.0


def longest_side(sizes: list[tuple[int, int]], budget: int) -> int:
    """Return the longest side of photographs that take at most ``budget`` bytes, px, 96 to 640.

    Args:
        sizes: (width, height) of each, px.
        budget: Bytes of all as JPEG.
    """
    shares = [min(w, h) / max(w, h) for w, h in sizes]  # px of a photograph of longest side 1
    side = int(np.sqrt(budget * _PIXELS_A_BYTE / max(sum(shares), 1e-9)))
    return max(96, min(640, side, max(max(size) for size in sizes)))


def as_url(image: NDArray[np.uint8], side: int | None = None, quality: int = 80) -> str:
    """Return a picture [H, W, 3] as the data URL of a JPEG, its longest side at most ``side``."""
    picture = Image.fromarray(image)
    if side is not None and max(picture.size) > side:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass
class Sightings:
    """Where the photographs show each object, by tracking's ID maps.

    Attributes:
        views: By ID, the views that show it and the share of their pixels that do, 0..1.
    """

    views: dict[int, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, tracking_dir: Path, names: list[str]) -> Sightings:
        """Read the ID maps of all views, by file name, that have one."""
        found = cls()
        for name in names:
            path = id_map_file(tracking_dir / "ids", name.rsplit(".", 1)[0])
            if path is None:
                continue
            ids = read_id_map(path)
            present, counts = np.unique(ids, return_counts=True)
            for index, count in zip(present, counts, strict=True):
                found.views.setdefault(int(index), {})[name] = float(count / ids.size)
        return found


def thumbnail(index: int, tracking_dir: Path) -> str | None:
    """Return the picture that tracking made of an object; None where there is none."""
    path = tracking_dir / "objects" / f"{index}.png"
    return as_url(read_image(path), _THUMBNAIL) if path.is_file() else None
