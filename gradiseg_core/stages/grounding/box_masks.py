"""SAM as Gaussian Grouping's grounding uses it: every box becomes one mask.

One mask a box (``multimask_output=False``), boxes as x0, y0, x1, y1 in pixels, no points; a pixel
belongs to the mask where SAM's logit is positive.

Source: Gaussian Grouping, ``ext/grounded_sam.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.compute.placement import memory_advice
from gradiseg_core.errors import InputError
from gradiseg_core.models.sam import load_sam

if TYPE_CHECKING:
    import torch

KEY = "grounding.groundingdino.sam"

#: Boxes that SAM is given at once: their masks are held in the picture's size, as floats.
BOXES_PER_BATCH = 32


class BoxMasks:
    """SAM, loaded, with the embedding of one picture.

    Args:
        architecture: ``vit_h``, ``vit_l`` or ``vit_b``.
        checkpoint: File of that architecture.
        device: Where it runs.
        half: Half precision; for CUDA.

    Raises:
        BackendUnavailableError: If segment-anything is missing or memory does not suffice.
        InputError: If the file is missing or does not fit.
    """

    def __init__(
        self, architecture: str, checkpoint: Path, device: torch.device, *, half: bool = False
    ) -> None:
        with memory_advice(f"SAM {architecture}", f"set `{KEY}.model: vit_b`"):
            model = load_sam(architecture, checkpoint, device, key=KEY)
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(model)
        self._architecture = architecture
        self._device = device
        self._half = half

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Embed a picture, [H, W, 3] RGB; this is nearly all of the time."""
        with self._computing():
            self._predictor.set_image(image)

    def union(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return the union of the masks of boxes [N, 4] in the embedded picture, [H, W].

        Raises:
            InputError: If SAM's output is not finite.
        """
        import torch

        size = self._predictor.original_size
        union = torch.zeros(size, dtype=torch.bool, device=self._device)
        for first in range(0, len(boxes), BOXES_PER_BATCH):
            batch = torch.from_numpy(boxes[first : first + BOXES_PER_BATCH]).to(self._device)
            batch = self._predictor.transform.apply_boxes_torch(batch, size)
            with self._computing():
                logits, _, _ = self._predictor.predict_torch(
                    point_coords=None,
                    point_labels=None,
                    boxes=batch,
                    multimask_output=False,
                    return_logits=True,
                )
            if not torch.isfinite(logits).all():
                raise InputError(
                    "SAM's masks are not finite; set grounding.groundingdino.half: false, or "
                    f"download {self._architecture} again"
                )
            union |= (logits[:, 0] > self._predictor.model.mask_threshold).any(dim=0)
        return union.cpu().numpy()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Inference without gradients, in half precision where asked, with advice on memory."""
        import torch

        with (
            memory_advice("SAM on one picture", f"set `{KEY}.model: vit_b` or run it on the CPU"),
            torch.inference_mode(),
            torch.autocast(self._device.type, dtype=torch.float16, enabled=self._half),
        ):
            yield
