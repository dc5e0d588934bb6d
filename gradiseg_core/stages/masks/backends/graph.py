"""The weights-free segmenter: segments of one image by colour and borders.

First Felzenszwalb and Huttenlocher's graph-based segmentation ("Efficient graph-based image
segmentation", IJCV 2004; scikit-image's implementation) in CIELAB cuts the image into thousands of
fine regions, then `merging` joins them and `absorbing` clears what they enclose. It knows colours,
not objects: an object of several colours comes out in several segments, which stage `tracking`
joins over the views; two touching objects of one colour leak into each other, which nothing later
can repair. The defaults therefore lean to over-segmentation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.masks import GraphMasksConfig
from gradiseg_core.files.images import read_image
from gradiseg_core.files.resizing import area_scale, enlarged, reduced
from gradiseg_core.stages.masks.absorbing import absorb_enclosed
from gradiseg_core.stages.masks.interface import Segmentation
from gradiseg_core.stages.masks.merging import merge_regions

VERSION = 2  # counts up when the same image and parameters come out differently
_FINE_AREA = 12  # px; smallest region of the first step, which joins smaller ones blindly
# The second merging: by borders more than by means, which shading moves (docs/masks.md).
_COARSE_BOUNDARY_WEIGHT = 0.8
_COARSE_SMALL_AREA = 3000.0  # px at 640 px
_COARSE_REACH = 4  # px at 640 px


def segment(
    image: NDArray[np.uint8],  # [H, W, 3]
    config: GraphMasksConfig,
) -> NDArray[np.int32]:  # [H, W]
    """Return the segments of an image: 1..n in reading order, 0 where a segment was too small."""
    from skimage.color import rgb2lab
    from skimage.filters import gaussian
    from skimage.segmentation import felzenszwalb

    small = reduced(image, config.longest_side)
    colors = sharp = rgb2lab(small)
    if config.blur > 0:
        colors = gaussian(sharp, config.blur, channel_axis=-1)
    # Its own blur is off: blurring twice moved 1 % more of the pixels across object borders.
    fine = felzenszwalb(colors, scale=config.scale, sigma=0.0, min_size=_FINE_AREA, channel_axis=-1)
    per_area = area_scale(small.shape[:2])
    weights = np.array([config.lightness_weight, 1.0, 1.0])
    merged = merge_regions(
        fine,
        colors * weights,
        threshold=config.merge_threshold,
        boundary_weight=config.boundary_weight,
        small_area=config.small_area * per_area,
    )
    absorb_area = config.absorb_area * per_area
    merged = absorb_enclosed(merged, max_area=absorb_area, enclosure=config.enclosure)
    if config.coarse_threshold > 0:
        merged = merge_regions(
            np.unique(merged, return_inverse=True)[1].reshape(merged.shape),
            sharp * weights,  # the blur would lower the contrast of borders
            threshold=config.coarse_threshold,
            boundary_weight=_COARSE_BOUNDARY_WEIGHT,
            small_area=_COARSE_SMALL_AREA * per_area,
            reach=max(1, round(_COARSE_REACH * per_area**0.5)),
        )
        merged = absorb_enclosed(merged, max_area=absorb_area, enclosure=config.enclosure)
    ids = numbered(merged, min_area=config.min_area * per_area)
    return enlarged(ids, image.shape[:2])


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


@dataclass
class GraphSegmenter:
    """The segmenter as a backend of the stage."""

    task: Segmentation
    max_processes: int | None = None

    def segments(self, name: str) -> NDArray[np.int32]:
        """Return the segments of the view's undistorted photograph."""
        return segment(read_image(self.task.image_path(name)), self.task.config.graph)

    def fingerprint(self, name: str) -> str:
        """Return a digest of the photograph, the parameters and the code's version."""
        from importlib.metadata import version

        digest = hashlib.sha256(self.task.image_path(name).read_bytes())
        digest.update(self.task.config.graph.model_dump_json().encode())
        digest.update(f"{VERSION} {version('scikit-image')}".encode())
        return digest.hexdigest()
