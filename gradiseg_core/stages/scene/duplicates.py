"""Photographs that are there twice: copies, and one picture in two formats.

A picture that is there twice has double weight, and is no test if its copy trains.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gradiseg_core.stages.scene.inspecting import Photograph

#: Pictures are equal if their small versions differ by no more, of 255, anywhere and on average.
#: Saving one anew as JPEG changes means over some hundred pixels by a level or two; photographs
#: from two places differ by tens somewhere, however small the step.
_MOST = 5.0
_MEAN = 1.0
_FLAT = 2.0  # pictures with no more contrast look alike, whatever they show: copies of bytes only


def find_duplicates(photographs: Sequence[Photograph]) -> dict[int, int]:
    """Return the photographs that are there twice: their index -> the one that stays.

    Equal are files of the same bytes, and pictures of one shape that look the same when they are
    reduced to 64 x 64 pixels. The shortest name stays, without its ending: copies have longer ones
    (`IMG 0000 - Kopie.JPG` sorts before `IMG 0000.JPG`). Of equally long names the first stays.

    Args:
        photographs: In their order.
    """

    def name(index: int) -> tuple[int, str]:
        stem = photographs[index].path.stem
        return len(stem), stem

    order = sorted(range(len(photographs)), key=name)
    found = _repeated([photographs[index] for index in order])
    return dict(sorted((order[index], order[first]) for index, first in found.items()))


def _repeated(photographs: Sequence[Photograph]) -> dict[int, int]:
    """Return the photographs that repeat an earlier one: their index -> the earlier one's."""
    found = _same_bytes([photo.path for photo in photographs])
    groups: dict[float, list[int]] = {}
    for index, photo in enumerate(photographs):
        if index not in found and photo.small is not None and photo.small.std() > _FLAT:
            groups.setdefault(round(photo.size[0] / photo.size[1], 2), []).append(index)
    for members in groups.values():
        found |= _same_pictures(members, photographs)
    return found


def _same_bytes(paths: Sequence[Path]) -> dict[int, int]:
    by_size: dict[int, list[int]] = {}
    for index, path in enumerate(paths):
        by_size.setdefault(path.stat().st_size, []).append(index)
    found: dict[int, int] = {}
    for indices in by_size.values():
        first: dict[str, int] = {}
        for index in indices if len(indices) > 1 else ():
            with paths[index].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if first.setdefault(digest, index) != index:
                found[index] = first[digest]
    return found


def _same_pictures(members: list[int], photographs: Sequence[Photograph]) -> dict[int, int]:
    """Compare each picture with those before it of nearly its mean colour."""
    pictures = {index: photographs[index].small for index in members}
    small = {i: picture for i, picture in pictures.items() if picture is not None}
    means = {i: float(picture.mean()) for i, picture in small.items()}
    kept: list[int] = []
    found: dict[int, int] = {}
    for index, picture in small.items():
        for other in kept:
            if abs(means[index] - means[other]) > _MEAN:
                continue
            difference = np.abs(picture.astype(np.int16) - small[other])
            if difference.max() <= _MOST and difference.mean() <= _MEAN:
                found[index] = other
                break
        else:
            kept.append(index)
    return found
