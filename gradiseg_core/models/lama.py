"""Loads and runs LaMa, a network that paints what a picture does not show.

Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (WACV 2022). It
comes as a file of TorchScript, which holds network and weights: from image [1, 3, H, W] and mask
[1, 1, H, W], both 0..1, H and W multiples of 8, to an image [1, 3, H, W].
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.filling import LAMA
from gradiseg_core.errors import InputError

#: The network halves its picture three times.
_MULTIPLE = 8
#: Its innermost layers reflect their borders, so they need some pixels.
_LEAST = 64


class Lama:
    """The network, ready to paint.

    Attributes:
        path: Its file.
    """

    def __init__(self, path: Path, module: Any) -> None:
        """Wrap a loaded module; :func:`load_lama` reads it."""
        self.path, self._module = path, module

    def __call__(
        self, image: NDArray[np.float64], wanted: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return an image [H, W, 3], 0..1, in which the wanted pixels [H, W] are painted.

        Raises:
            InputError: If the file is another program.
        """
        import torch

        height, width = wanted.shape
        pad = [(0, max(_LEAST, -(-side // _MULTIPLE) * _MULTIPLE) - side) for side in wanted.shape]
        # Mirrored as IOPaint does it, so that borders are no edges.
        picture = np.pad(np.clip(image, 0.0, 1.0), [*pad, (0, 0)], mode="symmetric")
        hole = np.pad(wanted, pad, mode="symmetric")
        given = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))[None]
        mask = torch.from_numpy(hole.astype(np.float32))[None, None]
        try:
            with torch.inference_mode():
                painted = self._module(given, mask)
            if painted.shape != given.shape or not bool(painted.isfinite().all()):
                raise ValueError(f"it makes {list(painted.shape)} of {list(given.shape)}")
        except Exception as error:  # whatever another program raises
            raise InputError(
                f"{self.path} does not take and return pictures as LaMa does ({_short(error)}); "
                f"take the file at {LAMA.url}"
            ) from error
        result = painted[0].clamp(0.0, 1.0).permute(1, 2, 0).numpy()[:height, :width]
        return np.where(wanted[..., None], result.astype(np.float64), image)


def load_lama(path: Path, *, key: str) -> Lama:
    """Return LaMa of a file, on the CPU.

    Args:
        path: A file of TorchScript.
        key: Key of the configuration that names it, for messages.

    Raises:
        InputError: If the file is missing, damaged, or no TorchScript.
    """
    if not path.is_file():
        raise InputError(
            f"{key}: LaMa's file {path} is not there; fetch {LAMA.url} "
            f"({(LAMA.size or 0) // 2**20} MB) to that place, or name your copy: "
            "`fill: {backend: lama, checkpoint: FILE}`"
        )
    status = path.stat()
    return _loaded(path, key, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)  # an edit checks the file before its operations, and then uses it
def _loaded(path: Path, key: str, size: int, time_ns: int) -> Lama:
    import torch

    try:
        with warnings.catch_warnings():  # PyTorch has no other reader of such files
            warnings.simplefilter("ignore", FutureWarning)
            module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # a damaged file can raise anything
        raise InputError(
            f"{key}: {path} ({size} bytes) cannot be read as a program of TorchScript "
            f"({_short(error)}); fetch {LAMA.url} again ({LAMA.size} bytes)"
        ) from error
    return Lama(path, module.eval())


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
