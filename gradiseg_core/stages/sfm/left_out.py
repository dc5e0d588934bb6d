"""Why photographs got no camera: what is measured of each, against those that got one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gradiseg_core.stages.sfm.misplaced import Misplaced
from gradiseg_core.stages.sfm.pairs import image_ids, verified

_COMPARED = 24  # photographs with a camera that are read, evenly spread
_SIDE = 1000  # px, longest side at which sharpness is measured
_BLURRED = 0.4  # of the others' median sharpness
_DARK, _BRIGHT = 25.0, 230.0  # grey levels of 255
_CLIPPED = 0.5  # share of pixels that are black or white
_BARE = 0.25  # of the others' median number of features
_FEWEST_FEATURES = 100
_WEAK = 30  # verified matches with a photograph that has a camera: COLMAP asks for so many


@dataclass(frozen=True)
class Measured:
    """What is known of a photograph.

    Attributes:
        name: File name.
        sharpness: Strength of its finest detail, relative to its contrast; more is sharper.
        brightness: Mean grey level, 0 to 255.
        clipped: Share of pixels that are black or white.
        features: Number of SIFT features.
        partners: Verified matches with other photographs by name, most first.
    """

    name: str
    sharpness: float
    brightness: float
    clipped: float
    features: int
    partners: dict[str, int]


@dataclass(frozen=True)
class LeftOut:
    """A photograph without a camera.

    Attributes:
        measured: What is known of it.
        why: The likely reason, in a few words.
        advice: What a person can do.
    """

    measured: Measured
    why: str
    advice: str


@dataclass(frozen=True)
class Findings:
    """All photographs without a camera, and what is typical of the others.

    Attributes:
        left_out: In the order of their names.
        total: Number of all photographs.
        sharpness: Median of those with a camera; of all where there are none.
        features: Likewise.
    """

    left_out: list[LeftOut]
    total: int
    sharpness: float
    features: float


def find_reasons(
    database: Path,
    image_dir: Path,
    names: Sequence[str],
    registered: Collection[str],
    misplaced: Mapping[str, Misplaced],
) -> Findings:
    """Return what is wrong with the photographs that got no camera.

    Args:
        database: COLMAP's database of the best attempt.
        image_dir: Folder of the photographs.
        names: File names of all, in order.
        registered: Those that have a camera.
        misplaced: Those whose camera was at a wrong place and was taken out.
    """
    features = feature_counts(database)
    partners = _partners(database)
    without = [name for name in names if name not in registered]
    others = [name for name in names if name in registered] or list(names)
    spread = np.unique(np.linspace(0, len(others) - 1, _COMPARED).round().astype(int))
    looked = {name: look(image_dir / name) for name in {*without, *(others[i] for i in spread)}}
    typical_sharpness = float(np.median([looked[others[i]][0] for i in spread]))
    typical_features = float(np.median([features.get(name, 0) for name in others]))
    found = []
    for name in without:
        measured = Measured(name, *looked[name], features.get(name, 0), partners.get(name, {}))
        # Where no photograph has a camera, each is as good a partner as any other.
        why, advice = (
            _wrong_place(misplaced[name])
            if name in misplaced
            else reason(measured, typical_sharpness, typical_features, registered or names)
        )
        found.append(LeftOut(measured, why, advice))
    return Findings(found, len(names), typical_sharpness, typical_features)


def _wrong_place(found: Misplaced) -> tuple[str, str]:
    fits = (
        "it held to photographs at wrong places alone"
        if found.share is None
        else f"where it could be put, {found.share:.0%} of its {found.matches} matches fit"
    )
    return (
        "its place would be wrong",
        f"{fits}. What moves with the camera, or looks alike in several places, does this: mask "
        "the former (a folder ignore/ beside the photographs), and take more photographs around it",
    )


def reason(
    found: Measured, sharpness: float, features: float, registered: Collection[str]
) -> tuple[str, str]:
    """Return the likely reason why a photograph has no camera, and what to do.

    Args:
        found: What is known of it.
        sharpness: Median of the photographs with a camera.
        features: Likewise.
        registered: Names of the photographs with a camera.
    """
    placed = {name: count for name, count in found.partners.items() if name in registered}
    most = max(placed.values(), default=0)
    few = found.features < max(_FEWEST_FEATURES, _BARE * features)
    weak = most < _WEAK
    if found.brightness < _DARK or (found.clipped > _CLIPPED and found.brightness < 128):
        return "too dark", "take it again with more light or a longer exposure, or leave it out"
    if found.brightness > _BRIGHT or found.clipped > _CLIPPED:
        return "too bright", "take it again with a shorter exposure, or leave it out"
    if (few or weak) and found.sharpness < _BLURRED * sharpness:
        return "blurred", "take it again with a steady hand and in focus, or leave it out"
    if few:
        return (
            "hardly any texture",
            "step back, or turn so that textured things are in the picture; plain walls, glass "
            "and metal give nothing to match",
        )
    if not found.partners:
        return (
            "no overlap",
            "it shows nothing that another photograph shows: take some between it and the others, "
            "in steps of a quarter of the picture, or leave it out",
        )
    if not placed:
        return (
            "matches only others without a camera",
            "they are a group of their own: take photographs between it and the rest",
        )
    if weak:
        return (
            "little overlap",
            "take photographs between it and the one that it matches best",
        )
    return (
        "no position fits its matches",
        "something in it may have moved, or may look alike in several places; take more "
        "photographs around it, and move the camera sideways instead of turning it on the spot",
    )


def feature_counts(database: Path) -> dict[str, int]:
    """Return the number of features of every image, by name."""
    from gradiseg_core.files._pycolmap import pycolmap

    db = pycolmap.Database.open(database)
    try:
        return {
            image.name: db.num_keypoints_for_image(image.image_id) for image in db.read_all_images()
        }
    finally:
        db.close()


def look(path: Path) -> tuple[float, float, float]:
    """Return sharpness, mean brightness and share of clipped pixels of a photograph."""
    with Image.open(path) as file:
        scale = min(1.0, _SIDE / max(file.size))
        small = (max(1, round(file.width * scale)), max(1, round(file.height * scale)))
        file.draft("L", (2 * small[0], 2 * small[1]))  # JPEG: decodes a reduced picture
        grey = np.asarray(file.convert("L").resize(small, Image.Resampling.BOX), dtype=np.float32)
    clipped = float(((grey <= 4) | (grey >= 251)).mean())
    return sharpness_of(grey), float(grey.mean()), clipped


def sharpness_of(grey: NDArray[np.float32]) -> float:
    """Return the energy of the finest detail over that of coarser detail; more is sharper.

    The ratio of two bands hardly depends on contrast and on how much there is to see. Noise, which
    blur does not touch, is taken from the flattest tenth of the picture.
    """
    fine = grey - ndimage.gaussian_filter(grey, 1.0)
    coarse = ndimage.gaussian_filter(grey, 2.0) - ndimage.gaussian_filter(grey, 6.0)
    energy = ndimage.uniform_filter(fine**2, 9)
    noise = float(np.percentile(energy, 10))
    detail = max(float((fine**2).mean()) - noise, 0.0)
    return float(np.sqrt(detail / (float((coarse**2).mean()) + 1.0)))


def _partners(database: Path) -> dict[str, dict[str, int]]:
    names = {image_id: name for name, image_id in image_ids(database).items()}
    found: dict[str, dict[str, int]] = {}
    for (first, second), matches in verified(database).items():
        for one, other in ((first, second), (second, first)):
            found.setdefault(names[one], {})[names[other]] = len(matches)
    return {
        name: dict(sorted(counts.items(), key=lambda item: -item[1]))
        for name, counts in found.items()
    }
