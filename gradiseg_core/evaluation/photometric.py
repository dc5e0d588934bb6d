"""Image quality of a rendering: PSNR, SSIM and, where its weights are present, LPIPS.

Definitions are those of 3DGS's ``metrics.py``, which the paper's Table 3 follows:

* PSNR from the mean squared error over all pixels and channels of one image (3DGS's *training* log
  averages per-channel PSNRs instead; Jensen's inequality makes that number differ);
* SSIM with an 11 x 11 Gaussian window of sigma 1.5 and zeros around the image, averaged over all of
  it. torchmetrics reflects the image at its border instead (and older versions leave the border out
  of the mean), so the two agree where the window lies inside the image;
* LPIPS (VGG) on images in 0..1. Its authors define it on -1..1: both ranges are offered, and the
  result names its range.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

VGG_WEIGHTS = "vgg16-397923af.pth"
"""torchvision's file name of VGG-16's ImageNet weights in torch hub's cache."""


def psnr(rendered: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """Return the peak signal-to-noise ratio, dB, of images [H, W, 3] in 0..1.

    Equal images give infinity.
    """
    _check(rendered, target)
    error = np.mean((rendered.astype(np.float64) - target.astype(np.float64)) ** 2)
    return float(-10.0 * np.log10(error)) if error > 0 else math.inf


def ssim(rendered: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """Return the structural similarity of images [H, W, 3] in 0..1, by the training loss's code."""
    from gradiseg_core.losses import photometric

    _check(rendered, target)
    images = [
        torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
        for image in (rendered, target)
    ]
    return float(photometric.ssim(*images))


class Lpips:
    """LPIPS with VGG-16, or the reason why it is not available.

    Nothing is ever downloaded: the metric needs VGG-16's ImageNet weights in torch hub's cache and
    one of the packages ``torchmetrics`` and ``lpips``, which bring the linear layers.

    Attributes:
        why: None when available, else what is missing and how to get it.
    """

    def __init__(self, value_range: Literal["3dgs", "authors"] = "3dgs") -> None:
        self.value_range = value_range
        self.why: str | None = None
        self._metric: Any = None
        weights = Path(torch.hub.get_dir()) / "checkpoints" / VGG_WEIGHTS
        if not weights.is_file():
            self.why = (
                f"VGG-16 weights ({VGG_WEIGHTS}) are not in torch hub's cache, and nothing is "
                "downloaded; torchvision.models.vgg16(weights='IMAGENET1K_V1') puts them there"
            )
            return
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            self._metric = LearnedPerceptualImagePatchSimilarity(net_type="vgg", normalize=False)
        except (ImportError, ModuleNotFoundError) as torchmetrics_error:
            try:
                import lpips

                self._metric = lpips.LPIPS(net="vgg", verbose=False)
            except ImportError:
                self.why = f"neither torchmetrics ({torchmetrics_error}) nor lpips is installed"
                return
        self._metric.eval()

    @torch.no_grad()
    def __call__(self, rendered: NDArray[np.floating], target: NDArray[np.floating]) -> float:
        """Return LPIPS of images [H, W, 3] in 0..1.

        Raises:
            RuntimeError: If the metric is not available.
        """
        if self._metric is None:
            raise RuntimeError(f"LPIPS is not available: {self.why}")
        _check(rendered, target)
        images = []
        for image in (rendered, target):
            tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
            tensor = tensor.permute(2, 0, 1)[None]
            images.append(tensor if self.value_range == "3dgs" else 2.0 * tensor - 1.0)
        return float(self._metric(*images))

    def describe(self) -> dict[str, Any]:
        """Return ``available`` and why not, or the network and the input range."""
        if self.why is not None:
            return {"available": False, "why": self.why}
        low = "0..1 (as 3DGS)" if self.value_range == "3dgs" else "-1..1 (as the LPIPS authors)"
        return {"available": True, "network": "VGG-16", "input_range": low}


def _check(rendered: NDArray, target: NDArray) -> None:
    if rendered.shape != target.shape or rendered.ndim != 3:
        raise ValueError(
            f"images must be [H, W, 3] of one size, got {rendered.shape} and {target.shape}"
        )
