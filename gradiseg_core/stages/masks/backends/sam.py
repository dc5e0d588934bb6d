"""Backend `sam`: Segment Anything's automatic masks (Kirillov et al., ICCV 2023).

SAM is asked at a grid of points. Its `SamAutomaticMaskGenerator` keeps confident, stable and
distinct masks, and `overlap` makes one ID image of them. Defaults are those of Gaussian Grouping
(docs/masks.md). Its run asks SAM from within DEVA, in later frames only where nothing is tracked
yet; here every view is segmented on its own and in full.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute.placement import choose_device, memory_advice
from gradiseg_core.config.backends import Requires
from gradiseg_core.config.base import Device, autocast_option, device_option
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import resize_by_corners
from gradiseg_core.files.images import read_image
from gradiseg_core.files.resizing import area_scale, reduced
from gradiseg_core.models.overlap import flatten
from gradiseg_core.models.sam import load_sam, require_segment_anything
from gradiseg_core.models.sam_options import (
    BOX_NMS_THRESH,
    CHECKPOINTS,
    MIN_VISIBLE,
    STABILITY_SCORE_OFFSET,
    SamMasks,
)
from gradiseg_core.stages.masks.interface import Request

__all__ = ["CHECKPOINTS", "REQUIRES", "Options", "run"]

logger = logging.getLogger(__name__)

REQUIRES = Requires("sam", mem_mb=16000, runtime_min=1440, gpu=True)


class Options(SamMasks):
    """Segment Anything's automatic masks, laid over one another; the paper's.

    Gaussian Grouping runs DEVA's demo and sets only the threshold of the predicted IoU. All other
    values are those of the demo, or SAM's defaults.
    """

    device: Device = device_option()
    half: bool = autocast_option("GG's DEVA: `--amp`")


VERSION = 1  # counts up when the same image and parameters come out differently
_KEY = "masks.sam"
#: Fields of the configuration that `SamAutomaticMaskGenerator` takes under the same name.
_GENERATOR_FIELDS = (
    "points_per_side",
    "points_per_batch",
    "pred_iou_thresh",
    "stability_score_thresh",
)
#: Fields that do not change the segments. The checkpoint counts by its content, and precision by
#: what the device makes of it.
_WITHOUT_EFFECT = {"points_per_batch", "device", "half", "checkpoint"}
_MEMORY_ADVICE = (
    f"lower `{_KEY}.points_per_batch` (its memory is proportional to it) or `{_KEY}.longest_side`, "
    f"or take a smaller `{_KEY}.model`: vit_l or vit_b"
)


@dataclass
class SamSegmenter:
    """SAM as a backend of the stage; the model is loaded when the first view needs it."""

    request: Request
    checkpoint: Path
    device: Any  # torch.device
    max_processes: int | None = field(default=1, init=False)

    @property
    def options(self) -> Options:
        """The backend's part of the configuration."""
        return self.request.options

    def segments(self, name: str) -> NDArray[np.int32]:
        """Return the segments of the view's undistorted photograph.

        Raises:
            BackendUnavailableError: If memory does not suffice.
            InputError: If the checkpoint cannot be used.
        """
        started = time.perf_counter()
        image = read_image(self.request.image_path(name))
        small = reduced(image, self.options.longest_side)
        with memory_advice(f"SAM ({self.options.model}) on {name}", _MEMORY_ADVICE):
            masks = self._generate(small, name)
        ids = _flattened(masks, small.shape[:2], self.options)
        logger.info(
            "sam: %s: %d segments of %d masks, %.1f s",
            name,
            int(ids.max(initial=0)),
            len(masks),
            time.perf_counter() - started,
        )
        if not masks:
            logger.warning(
                "sam: no mask in %s; lower `%s.pred_iou_thresh` or `%s.stability_score_thresh`",
                name,
                _KEY,
                _KEY,
            )
        return resize_by_corners(ids, image.shape[:2])

    def fingerprint(self, name: str) -> str:
        """Return a digest of the photograph, the parameters, the checkpoint and the code."""
        digest = hashlib.sha256(self.request.image_path(name).read_bytes())
        digest.update(self._parameters.encode())
        return digest.hexdigest()

    @cached_property
    def _parameters(self) -> str:
        """What all views have in common; the checkpoint is read once in a run."""
        from importlib.metadata import version

        with self.checkpoint.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        chosen = self.options.model_dump_json(exclude=_WITHOUT_EFFECT)
        return f"{VERSION} {version('segment-anything')} {self._half} {weights} {chosen}"

    @property
    def _half(self) -> bool:
        return self.options.half and self.device.type == "cuda"

    @cached_property
    def _generator(self) -> Any:
        """The mask generator around the loaded model."""
        from segment_anything import SamAutomaticMaskGenerator

        model = load_sam(self.options.model, self.checkpoint, self.device, key=_KEY)
        options = {name: getattr(self.options, name) for name in _GENERATOR_FIELDS}
        return SamAutomaticMaskGenerator(
            model,
            stability_score_offset=STABILITY_SCORE_OFFSET,
            box_nms_thresh=BOX_NMS_THRESH,
            # As run lengths, since hundreds of masks as images would take a gigabyte.
            output_mode="uncompressed_rle",
            **options,
        )

    def _generate(self, image: NDArray[np.uint8], name: str) -> list[dict[str, Any]]:
        """Return SAM's records of an image's masks."""
        import torch

        generator = self._generator
        # The default device: segment-anything 1.0 makes some tensors without naming one, which on
        # CUDA fails once there are many masks (its issue 17, mended after the release).
        with (
            self._progress(generator, name),
            torch.device(self.device),
            torch.autocast(self.device.type, dtype=torch.float16, enabled=self._half),
        ):
            return generator.generate(image)

    @contextmanager
    def _progress(self, generator: Any, name: str) -> Iterator[None]:
        """Show how many batches of points are done."""
        from gradiseg_core.progress import Progress

        batch = generator.points_per_batch
        total = sum(math.ceil(len(grid) / batch) for grid in generator.point_grids)
        title = f"{name} ({self.request.names.index(name) + 1} of {len(self.request.names)})"
        with Progress(title, total, "batches") as progress:
            hook = generator.predictor.model.mask_decoder.register_forward_hook(
                lambda *_: progress.advance()
            )
            try:
                yield
            finally:
                hook.remove()


def run(request: Request) -> SamSegmenter:
    """Return the backend for a scene.

    Raises:
        BackendUnavailableError: If a package or the device is missing.
        InputError: If the checkpoint is missing.
    """
    options = request.options
    require_segment_anything(_KEY)
    (name,) = options.weights()
    checkpoint = request.weights.get(name) or options.checkpoint
    if checkpoint is None or not Path(checkpoint).is_file():
        raise InputError(
            f"{_KEY}: no checkpoint {name}{'' if checkpoint is None else f' at {checkpoint}'}; "
            f"run the workflow, which downloads it, or name your file in `{_KEY}.checkpoint`"
        )
    return SamSegmenter(request, Path(checkpoint), choose_device(options.device, f"{_KEY}.device"))


def _flattened(
    masks: list[dict[str, Any]], shape: tuple[int, int], options: Options
) -> NDArray[np.int32]:
    from segment_anything.utils.amg import rle_to_mask

    return flatten(
        lambda index: rle_to_mask(masks[index]["segmentation"]),
        [mask["area"] for mask in masks],
        [mask["predicted_iou"] for mask in masks],
        shape,
        rule=options.overlap,
        min_visible=MIN_VISIBLE,
        min_area=options.min_area * area_scale(shape),
    )
