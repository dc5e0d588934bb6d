"""Where backend `deva` gets its detections from: SAM at uncovered points, or stage `masks`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import read_id_map, resize_by_corners
from gradiseg_core.models.sam_options import BOX_NMS_THRESH, MIN_VISIBLE, STABILITY_SCORE_OFFSET

if TYPE_CHECKING:
    from gradiseg_core.stages.tracking.backends.deva import Options as DevaOptions
    from gradiseg_core.stages.tracking.interface import Request

_SAM_KEY = "tracking.deva.sam"
#: Coverage is averaged over squares of this side, px of DEVA's frame. SAM is asked where it is
#: below `MAX_COVERAGE`. Both values are those of DEVA's demo.
COVERAGE_PX = 16
MAX_COVERAGE = 0.01
_ADVICE = f"lower `{_SAM_KEY}.points_per_batch` or take a smaller `{_SAM_KEY}.model`"


@dataclass(frozen=True)
class Frame:
    """One photograph of the clip.

    Attributes:
        index: Its place in the clip.
        stem: Name of the view.
        path: The undistorted photograph.
    """

    index: int
    stem: str
    path: Path


class Detector(Protocol):
    """Finds segments in a frame."""

    @property
    def incremental(self) -> bool:
        """Whether it looks only where nothing is tracked.

        A tracked object need then not be detected again to be believed.
        """
        ...

    def detect(
        self, frame: Frame, photograph: NDArray[np.uint8], covered: NDArray[np.bool_] | None,
        size: tuple[int, int],
    ) -> tuple[NDArray[np.int32], list[float | None]]:  # fmt: skip
        """Return segments 1..n of a frame and their n scores.

        Args:
            frame: The frame.
            photograph: [H, W, 3].
            covered: [h, w], where something is tracked; None where nothing is yet.
            size: (h, w) of the result.
        """
        ...


@dataclass(frozen=True)
class GivenMasks:
    """All segments of stage `masks`, in every frame of a vote."""

    folder: Path
    incremental: bool = False

    def detect(
        self,
        frame: Frame,
        photograph: NDArray[np.uint8],
        covered: NDArray[np.bool_] | None,
        size: tuple[int, int],
    ) -> tuple[NDArray[np.int32], list[float | None]]:
        """Return the frame's segments at DEVA's size; see `Detector`.

        Raises:
            InputError: If they are missing or do not have the photograph's size.
        """
        path = self.folder / f"{frame.stem}.png"
        if not path.is_file():
            raise InputError(f"{path} not found; rerun stage `masks`")
        ids = read_id_map(path)
        if ids.shape != photograph.shape[:2]:
            raise InputError(
                f"{path} is {ids.shape[1]} x {ids.shape[0]} px, its view is "
                f"{photograph.shape[1]} x {photograph.shape[0]} px; rerun stage `masks`"
            )
        resized = resize_by_corners(ids.astype(np.int32), size)
        values, dense = np.unique(resized, return_inverse=True)
        number = np.zeros(len(values), np.int32)
        number[values > 0] = np.arange(1, (values > 0).sum() + 1)
        return number[dense].reshape(size), [None] * int((values > 0).sum())


@dataclass(frozen=True)
class SamPoints:
    """SAM, asked at the points of a grid where nothing is tracked yet."""

    config: DevaOptions
    checkpoint: Path
    device: Any  # torch.device
    incremental: bool = True

    @cached_property
    def _model(self) -> Any:
        from gradiseg_core.models.sam import load_sam

        return load_sam(self.config.sam.model, self.checkpoint, self.device, key=_SAM_KEY)

    def detect(
        self,
        frame: Frame,
        photograph: NDArray[np.uint8],
        covered: NDArray[np.bool_] | None,
        size: tuple[int, int],
    ) -> tuple[NDArray[np.int32], list[float | None]]:
        """Return SAM's masks as segments; see `Detector`.

        Raises:
            BackendUnavailableError: If memory does not suffice.
        """
        from segment_anything.utils.amg import rle_to_mask

        from gradiseg_core.compute.placement import memory_advice
        from gradiseg_core.files.resizing import area_scale, reduced
        from gradiseg_core.models.overlap import flatten

        options = self.config.sam
        points = grid(options.points_per_side)
        if covered is not None:
            points = points[uncovered(points, covered)]
        if len(points) == 0:
            return np.zeros(size, np.int32), []
        small = reduced(photograph, options.longest_side)
        with memory_advice(f"SAM ({options.model}) on {frame.path.name}", _ADVICE):
            masks = self._masks(small, points)
        ids = flatten(
            lambda index: rle_to_mask(masks[index]["segmentation"]),
            [mask["area"] for mask in masks],
            [mask["predicted_iou"] for mask in masks],
            small.shape[:2],
            rule=options.overlap,
            min_visible=MIN_VISIBLE,
            min_area=options.min_area * area_scale(small.shape[:2]),
        )
        # `flatten` numbers the masks that it keeps, some of which may vanish at DEVA's size.
        resized = resize_by_corners(ids, size)
        values, dense = np.unique(resized, return_inverse=True)
        number = np.cumsum(values > 0) * (values > 0)
        return number[dense].reshape(size).astype(np.int32), [None] * int((values > 0).sum())

    def _masks(self, image: NDArray[np.uint8], points: NDArray[np.float64]) -> list[dict]:
        """Return SAM's records for points [n, 2] (x, y in 0..1) of an image."""
        import torch
        from segment_anything import SamAutomaticMaskGenerator

        options = self.config.sam
        generator = SamAutomaticMaskGenerator(
            self._model,
            points_per_side=None,
            point_grids=[points],
            points_per_batch=options.points_per_batch,
            pred_iou_thresh=options.pred_iou_thresh,
            stability_score_thresh=options.stability_score_thresh,
            stability_score_offset=STABILITY_SCORE_OFFSET,
            box_nms_thresh=BOX_NMS_THRESH,
            output_mode="uncompressed_rle",
        )
        # As in masks/backends/sam.py: segment-anything 1.0 makes some tensors without a device.
        with torch.device(self.device):
            return generator.generate(image)


def grid(side: int) -> NDArray[np.float64]:
    """Return the centres of ``side`` x ``side`` cells of an image, [n, 2] as (x, y) in 0..1."""
    axis = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def uncovered(points: NDArray[np.float64], covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell at which points next to nothing is tracked around them, [n].

    Coverage is averaged over squares of `COVERAGE_PX` (with a soft edge) and read between them; as
    in DEVA's demo, what lies beside the image counts as not covered.

    Args:
        points: [n, 2] (x, y) in 0..1.
        covered: [h, w].
    """
    from PIL import Image
    from scipy.ndimage import map_coordinates

    height, width = covered.shape
    rows, columns = max(1, height // COVERAGE_PX), max(1, width // COVERAGE_PX)
    soft = np.asarray(
        Image.fromarray(covered.astype(np.float32)).resize(
            (columns, rows), Image.Resampling.BILINEAR
        )
    )
    at = np.stack([points[:, 1] * rows - 0.5, points[:, 0] * columns - 0.5])
    return map_coordinates(soft, at, order=1, mode="grid-constant", cval=0.0) < MAX_COVERAGE


def make_detector(request: Request, device: Any) -> Detector:
    """Return the detector that the configuration names.

    Raises:
        BackendUnavailableError: If SAM's packages are missing.
        InputError: If the masks or SAM's checkpoint are missing.
    """
    from gradiseg_core.models.sam import require_segment_anything

    config = request.options
    if config.detections == "masks":
        if request.masks_dir is None:
            raise InputError("tracking.deva.detections: masks needs the output of stage `masks`")
        return GivenMasks(request.masks_dir)
    require_segment_anything(_SAM_KEY)
    name = f"sam_{config.sam.model}"
    checkpoint = request.weights.get(name) or config.sam.checkpoint
    if checkpoint is None or not Path(checkpoint).is_file():
        raise InputError(
            f"{_SAM_KEY}: no checkpoint {name}{'' if checkpoint is None else f' at {checkpoint}'}; "
            f"run the workflow, which downloads it, or name your file in `{_SAM_KEY}.checkpoint`"
        )
    return SamPoints(config, Path(checkpoint), device)
