"""Backend `graph`, free of weights: segments of one image by colour and borders.

First Felzenszwalb and Huttenlocher's graph-based segmentation ("Efficient graph-based image
segmentation", IJCV 2004; scikit-image's implementation) in CIELAB cuts the image into thousands of
fine regions, then `merging` joins them and `absorbing` clears what they enclose. It knows colours,
not objects: an object of several colours becomes several segments, which stage `tracking` joins
over the views; two touching objects of one colour leak into each other, which nothing later can
repair. The defaults therefore lean to over-segmentation.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.backends import BackendOptions, Requires
from gradiseg_core.config.base import constant, option
from gradiseg_core.files.id_maps import resize_by_corners
from gradiseg_core.files.resizing import area_scale, reduced
from gradiseg_core.stages.masks.absorbing import absorb_enclosed
from gradiseg_core.stages.masks.interface import OfPhotographs, Request
from gradiseg_core.stages.masks.merging import merge_regions

REQUIRES = Requires("masks")
_MEASURED = "measured (studies/masks.md)"

# Measured like the options, on two scenes with known objects (studies/masks.md).
BLUR_PX = 0.5  # standard deviation of the blur before segmentation; removes sensor noise
# Share of the contrast along the common border in the difference of two regions; the rest is the
# difference of their mean colours.
BOUNDARY_WEIGHT = 0.3
LIGHTNESS_WEIGHT = 0.5  # against the two colour axes: shading and shadows count less
SMALL_AREA = 1000.0  # px at 640 px; smaller regions merge more readily, with the root of their area
ENCLOSURE = 0.6  # share of its border that a segment has on the one that absorbs it

VERSION = 2  # counts up when the same image and parameters come out differently
_FINE_AREA = 12  # px; smallest region of the first step, which joins smaller ones blindly
# The second merging: by borders more than by means, which shading moves (studies/masks.md).
_COARSE_BOUNDARY_WEIGHT = 0.8
_COARSE_SMALL_AREA = 3000.0  # px at 640 px
_COARSE_REACH = 4  # px at 640 px


class Options(BackendOptions):
    """Segments by colour and borders, without weights.

    Areas are meant for an image whose longest side is 640 px and are scaled to the image's size.
    """

    removed: ClassVar[dict[str, str]] = {
        key: constant(name, "stages/masks/backends/graph.py")
        for key, name in (
            ("blur", "BLUR_PX"),
            ("boundary_weight", "BOUNDARY_WEIGHT"),
            ("lightness_weight", "LIGHTNESS_WEIGHT"),
            ("small_area", "SMALL_AREA"),
            ("enclosure", "ENCLOSURE"),
        )
    }

    longest_side: int = option(
        640,
        "Larger images are reduced to this longest side.",
        unit="px",
        source=_MEASURED,
        ge=64,
    )
    scale: float = option(
        30.0,
        "Felzenszwalb's scale in the first, fine segmentation.",
        source=_MEASURED,
        gt=0.0,
    )
    merge_threshold: float = option(
        5.0,
        "Regions merge while they differ by less: smaller makes fragments, larger joins objects.",
        unit="CIELAB units",
        source=_MEASURED,
        ge=0.0,
    )
    absorb_area: float = option(
        2000.0,
        "Enclosed segments below this area are absorbed (print, highlights); 0: none.",
        unit="px at 640 px",
        source=_MEASURED,
        ge=0.0,
    )
    coarse_threshold: float = option(
        6.0,
        "Threshold of a second merging, by contrast at borders; 0: none.",
        unit="CIELAB units",
        source=_MEASURED,
        ge=0.0,
    )
    min_area: float = option(
        100.0,
        "Segments below this area are dropped.",
        unit="px at 640 px",
        source=_MEASURED,
        ge=0.0,
    )


def segment(
    image: NDArray[np.uint8],  # [H, W, 3]
    options: Options,
) -> NDArray[np.int32]:  # [H, W]
    """Return the segments of an image: 1..n in reading order, 0 where a segment was too small."""
    from skimage.color import rgb2lab
    from skimage.filters import gaussian
    from skimage.segmentation import felzenszwalb

    small = reduced(image, options.longest_side)
    sharp = rgb2lab(small)
    colors = gaussian(sharp, BLUR_PX, channel_axis=-1)
    # Its own blur is off: blurring twice moved 1 % more of the pixels across object borders.
    fine = felzenszwalb(
        colors, scale=options.scale, sigma=0.0, min_size=_FINE_AREA, channel_axis=-1
    )
    per_area = area_scale(small.shape[:2])
    weights = np.array([LIGHTNESS_WEIGHT, 1.0, 1.0])
    merged = merge_regions(
        fine,
        colors * weights,
        threshold=options.merge_threshold,
        boundary_weight=BOUNDARY_WEIGHT,
        small_area=SMALL_AREA * per_area,
    )
    absorb_area = options.absorb_area * per_area
    merged = absorb_enclosed(merged, max_area=absorb_area, enclosure=ENCLOSURE)
    if options.coarse_threshold > 0:
        merged = merge_regions(
            np.unique(merged, return_inverse=True)[1].reshape(merged.shape),
            sharp * weights,  # the blur would lower the contrast of borders
            threshold=options.coarse_threshold,
            boundary_weight=_COARSE_BOUNDARY_WEIGHT,
            small_area=_COARSE_SMALL_AREA * per_area,
            reach=max(1, round(_COARSE_REACH * per_area**0.5)),
        )
        merged = absorb_enclosed(merged, max_area=absorb_area, enclosure=ENCLOSURE)
    ids = numbered(merged, min_area=options.min_area * per_area)
    return resize_by_corners(ids, image.shape[:2])


def numbered(labels: NDArray[np.int64], *, min_area: float) -> NDArray[np.int32]:
    """Return labels renumbered 1..n in order of first appearance; small ones become 0.

    Args:
        labels: [H, W] of arbitrary labels.
        min_area: Segments of fewer pixels are dropped.
    """
    values, first, inverse, area = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    keep = area >= min_area
    order = np.argsort(np.where(keep, first, labels.size))
    number = np.zeros(len(values), np.int32)
    number[order[: keep.sum()]] = np.arange(1, keep.sum() + 1)
    return number[inverse].reshape(labels.shape)


def run(request: Request) -> OfPhotographs:
    """Return the segmenter of a scene."""
    from importlib.metadata import version

    return OfPhotographs(request, segment, f"{VERSION} {version('scikit-image')}")
