"""The scenes of an archive."""

from __future__ import annotations

import random
from pathlib import Path

from tests.models.downloads.conftest import left_behind


def scene_files(scene: str, sizes: tuple[int, int] = (20_000, 300_000)) -> dict[str, bytes]:
    """A scene as in Mip-NeRF 360's archive; images at full size are larger."""
    noise = random.Random(scene)
    files = {f"{scene}/poses_bounds.npy": noise.randbytes(500)}
    for k in range(4):
        files[f"{scene}/images_8/DSC{k:04}.JPG"] = noise.randbytes(sizes[0])
        files[f"{scene}/images/DSC{k:04}.JPG"] = noise.randbytes(sizes[1])
    for part in ("cameras", "images", "points3D"):
        files[f"{scene}/sparse/0/{part}.bin"] = noise.randbytes(1000)
    return files


FILES = {**scene_files("garden"), **scene_files("room")}


WANTED = {
    name.removeprefix("garden/"): content
    for name, content in FILES.items()
    if name.startswith(("garden/images_8/", "garden/sparse/"))
}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in left_behind(folder)}
