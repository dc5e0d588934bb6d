"""Rendered arrays that later stages read: encodings, and probabilities of IDs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.splatting.labels import KEPT


def load_features(render_dir: Path, stem: str) -> NDArray[np.float32]:
    """Read back a view's blended encodings, [H, W, D] float32.

    Raises:
        InputError: If the view was not rendered.
    """
    path = render_dir / "features" / f"{stem}.npz"
    if not path.is_file():
        raise InputError(f"{path} not found; run the render stage again")
    with np.load(path) as file:
        return file["features"].astype(np.float32)


@dataclass(frozen=True)
class Probabilities:
    """The most probable classes of a view's pixels.

    Attributes:
        classes: [H, W, K] integers, the most probable first.
        values: [H, W, K] their probabilities.
    """

    classes: NDArray[np.integer]
    values: NDArray[np.floating]

    def save(self, path: Path) -> None:
        """Write an archive of uint16 classes and float16 values."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path, classes=self.classes.astype(np.uint16), values=self.values.astype(np.float16)
        )

    @classmethod
    def load(cls, path: Path) -> Probabilities:
        """Read :meth:`save`'s file.

        Raises:
            InputError: If it is missing.
        """
        if not path.is_file():
            raise InputError(f"{path} not found; run the render stage again")
        with np.load(path) as file:
            return cls(file["classes"].astype(np.int64), file["values"].astype(np.float32))

    def above(self, selected: list[int], threshold: float) -> NDArray[np.bool_]:
        """Return where any selected class is more probable than a threshold, [H, W].

        Raises:
            InputError: If the threshold is so low that classes may exceed it that were not kept.
        """
        least = 1.0 / (KEPT + 1)
        if threshold < least:
            raise InputError(
                f"grounding.probability_threshold: {threshold:g} is too low for labels from "
                f"blended probabilities, of which {KEPT} a pixel are kept: take at least "
                f"{least:g}, or set render.labels to 'encodings'"
            )
        chosen = np.isin(self.classes, selected) & (self.values > threshold)
        return np.asarray(chosen.any(axis=-1))
