"""Folders of photographs that nothing can be made of, for tests of what is said of them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def photographs(folder: Path, count: int = 9) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (40, 30), (12 * number, 0, 0)).save(folder / f"{number}.jpg")
    return folder
