"""Image quality of a rendering: PSNR, SSIM and, if its weights are present, LPIPS.

Definitions are those of 3DGS's ``metrics.py``, which the paper's Table 3 follows:

* PSNR from the mean squared error over all pixels and channels of one image (3DGS's *training* log
  averages per-channel PSNRs instead; Jensen's inequality makes that number differ);
* SSIM with an 11 x 11 Gaussian window of sigma 1.5 and zeros around the image, averaged over the
  whole image. torchmetrics reflects the image at its border instead (older versions leave the
  border out of the mean), so the two agree where the window lies inside the image;
* LPIPS (VGG) on images in 0..1. Its authors define it on -1..1, and the numbers differ: both are
  computed, and the configuration says which is the headline.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.models.weights import load_checkpoint

VGG_WEIGHTS = "vgg16-397923af.pth"
"""torchvision's file name of VGG-16's ImageNet weights in torch hub's cache."""

_KEY = "metrics.lpips_weights"

LpipsRange = Literal["3dgs", "authors"]


def psnr(rendered: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """Return the peak signal-to-noise ratio, dB, of images [H, W, 3] in 0..1.

    Equal images give infinity.
    """
    _check(rendered, target)
    error = np.mean((rendered.astype(np.float64) - target.astype(np.float64)) ** 2)
    return float(-10.0 * np.log10(error)) if error > 0 else math.inf


def ssim(rendered: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """Return the structural similarity of images [H, W, 3] in 0..1, by the training loss's code."""
    from gradiseg_core.splatting.losses import photometric

    _check(rendered, target)
    images = [
        torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
        for image in (rendered, target)
    ]
    return float(photometric.ssim(*images))


class Lpips:
    """LPIPS with VGG-16, or the reason why it is not available.

    The calibration comes with the package ``lpips``; the ImageNet weights of the network are a
    file. Nothing is downloaded here.

    Args:
        weights: torchvision's file of VGG-16; None looks into torch hub's cache.

    Attributes:
        why: None when available, else what is missing and how to get it.

    Raises:
        InputError: If a file that was given is missing or holds other weights.
    """

    def __init__(self, weights: Path | None = None) -> None:
        self.why: str | None = None
        self._metric: Any = None
        path = weights or Path(torch.hub.get_dir()) / "checkpoints" / VGG_WEIGHTS
        if weights is None and not path.is_file():
            self.why = (
                f"VGG-16 weights ({VGG_WEIGHTS}) are not in torch hub's cache, and nothing is "
                f"downloaded unless {_KEY} says so: set it to `download`, or to the path of that "
                "file"
            )
            return
        try:
            import lpips
        except ImportError as error:
            self.why = f"the package lpips is not installed ({error})"
            return
        metric = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        _load_vgg(metric.net, path)
        self._metric = metric.eval()

    @torch.no_grad()
    def __call__(
        self,
        rendered: NDArray[np.floating],
        target: NDArray[np.floating],
        value_range: LpipsRange = "3dgs",
    ) -> float:
        """Return LPIPS of images [H, W, 3] in 0..1.

        Args:
            rendered: The rendering.
            target: The photograph.
            value_range: ``3dgs`` passes the images in 0..1, ``authors`` in -1..1.

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
            images.append(tensor if value_range == "3dgs" else 2.0 * tensor - 1.0)
        return float(self._metric(*images))

    def describe(self) -> dict[str, Any]:
        """Return ``available`` and why not, or the network and the input ranges."""
        if self.why is not None:
            return {"available": False, "why": self.why}
        return {
            "available": True,
            "network": "VGG-16",
            "input_ranges": {
                "lpips_3dgs": "0..1 (as 3DGS)",
                "lpips_authors": "-1..1 (as the LPIPS authors)",
            },
        }


def _load_vgg(network: torch.nn.Module, path: Path) -> None:
    """Load torchvision's file into LPIPS's network, whose layers keep torchvision's numbers."""
    state = load_checkpoint(path, key=_KEY)
    try:
        network.load_state_dict(
            {
                name: state["features." + name.partition(".")[2]]
                for name in network.state_dict()  # sliceK.N.weight is features.N.weight
            }
        )
    except (KeyError, RuntimeError) as error:  # a tensor is missing or has another shape
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{_KEY}: {path} does not fit torchvision's VGG-16 ({type(error).__name__}: {reason}); "
            f"it must be {VGG_WEIGHTS}"
        ) from error


def _check(rendered: NDArray, target: NDArray) -> None:
    if rendered.shape != target.shape or rendered.ndim != 3:
        raise ValueError(
            f"images must be [H, W, 3] of one size, got {rendered.shape} and {target.shape}"
        )
