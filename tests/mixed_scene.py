"""A capture by three cameras, made of one: upright crops and smaller pictures among the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

#: Share of the width that an upright crop keeps, and size of the smaller pictures.
CROP, SMALL = 0.5625, 0.75


def write_mixed(source: Path, out: Path) -> dict[str, str]:
    """Write a scene in LERF-Mask's layout in which every third view is a crop or smaller.

    Exact IDs, masks and cameras are changed alike. A crop is the middle of its photograph, so that
    it is what another camera at the same place takes.

    Args:
        source: A scene in that layout, with exact IDs and cameras, of one size.
        out: Folder to make.

    Returns:
        By image name ``whole``, ``upright`` or ``small``.
    """
    for part in ("images", "images_train", "gt_ids", "test_mask"):
        (out / part).mkdir(parents=True)
    names = sorted(path.name for path in (source / "images").iterdir())
    train = {path.name for path in (source / "images_train").iterdir()}
    kinds = {}
    tests = [name for name in names if name not in train]
    for index, name in enumerate([*sorted(train), *tests]):
        kind = ("whole", "upright", "small")[index % 3]
        kinds[name] = kind
        with Image.open(source / "images" / name) as file:
            _changed(file.convert("RGB"), kind, exact=False).save(
                out / "images" / name, quality=97, subsampling=0
            )
        stem = name.rsplit(".", 1)[0]
        _map(source / "gt_ids" / f"{stem}.png", out / "gt_ids" / f"{stem}.png", kind)
        if name in train:
            shutil.copyfile(out / "images" / name, out / "images_train" / name)
    for k, name in enumerate(sorted(tests)):
        for path in (source / "test_mask" / str(k)).iterdir():
            _map(path, out / "test_mask" / str(k) / path.name, kinds[name])
    truth = json.loads((source / "ground_truth.json").read_text())
    with Image.open(source / "images" / names[0]) as file:
        width = file.width
    for camera in truth["cameras"]:
        K = np.array(camera["K"])
        kind = kinds[camera["name"]]
        if kind == "upright":
            K[0, 2] -= (width - round(width * CROP)) // 2
        elif kind == "small":
            K[:2] *= SMALL
        camera["K"] = K.tolist()
    (out / "ground_truth.json").write_text(json.dumps(truth))
    return kinds


def _changed(image: Image.Image, kind: str, *, exact: bool) -> Image.Image:
    if kind == "upright":
        width = round(image.width * CROP)
        left = (image.width - width) // 2
        return image.crop((left, 0, left + width, image.height))
    if kind == "small":
        size = round(image.width * SMALL), round(image.height * SMALL)
        how = Image.Resampling.NEAREST if exact else Image.Resampling.LANCZOS
        return image.resize(size, how)
    return image


def _map(source: Path, target: Path, kind: str) -> None:
    """Write an ID map or a mask without new values."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as file:
        _changed(file, kind, exact=True).save(target)
