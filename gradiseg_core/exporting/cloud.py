"""Gaussians as arrays on their way into a file, and the two systems of axes that files have.

Everything here is in the axes and units of the user's COLMAP model ("RDF" to splat programs: the
first camera of a model often looks along z, with y down). Where training shifted the world, means
are less the shift, which float32 could not hold (:class:`gradiseg_core.cameras.Frame`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gradiseg_core.cameras import Frame
from gradiseg_core.files.trained import TrainedScene

Floats = NDArray[np.float32]

#: What half a turn about x does to every harmonic of degrees 1 to 3, in 3DGS's order: y and z
#: change their signs, and with them each polynomial in which they have an odd power together.
_TURNED = np.array([-1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], np.float32)
_REST_OF_DEGREE = (0, 3, 8, 15)


@dataclass(frozen=True)
class Cloud:
    """N Gaussians.

    Attributes:
        means: [N, 3] float32, user's axes and units, less ``offset``.
        quats: [N, 4] float32 wxyz, of any length.
        scales: [N, 3] float32, log.
        opacities: [N] float32, logit.
        sh0: [N, 3] float32.
        shN: [N, 15, 3] float32.
        degree: Of the spherical harmonics that were trained; above it ``shN`` is zero.
        ids: [N] int32, most probable ID of each.
        certainty: [N] float32, its probability.
        identities: [N, D] float32 encodings.
        offset: [3] float64, to be added to ``means`` for the user's world.
    """

    means: Floats
    quats: Floats
    scales: Floats
    opacities: Floats
    sh0: Floats
    shN: Floats  # noqa: N815
    degree: int
    ids: NDArray[np.int32]
    certainty: Floats
    identities: Floats
    offset: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.means)

    @property
    def used_shn(self) -> Floats:
        """Harmonics of the degrees that were trained, [N, 0, 3, 8 or 15, 3]."""
        return self.shN[:, : _REST_OF_DEGREE[self.degree]]

    def unit_quats(self) -> Floats:
        """Return rotations of length 1, [N, 4] wxyz; those of length 0 become the identity."""
        length = np.linalg.norm(self.quats, axis=1, keepdims=True)
        unit = (self.quats / np.where(length > 0, length, 1.0)).astype(np.float32)
        unit[length[:, 0] == 0] = (1.0, 0.0, 0.0, 0.0)
        return unit

    def take(self, rows: NDArray) -> Cloud:
        """Return some of the Gaussians, by a mask [N] or indices in the order wanted."""
        names = ("means", "quats", "scales", "opacities", "sh0", "shN", "ids", "certainty")
        values = {name: getattr(self, name)[rows] for name in (*names, "identities")}
        return replace(self, **values)

    def y_up(self) -> Cloud:
        """Return the Gaussians turned by half a turn about x: y up and z back, OpenGL's axes."""
        flip = np.array([1, -1, -1], np.float32)
        return replace(
            self,
            means=self.means * flip,
            # D R D instead of D R (D the half turn): the same Gaussian, whose own axes are turned
            # as well, and what splat programs do.
            quats=self.quats * np.array([1, 1, -1, -1], np.float32),
            shN=self.shN * _TURNED[:, None],
            offset=self.offset * flip,
        )


def cloud_of(
    trained: TrainedScene, frame: Frame, ids: NDArray[np.int64], certainty: NDArray[np.float32]
) -> Cloud:
    """Return the Gaussians of a trained scene in the user's axes and units.

    Args:
        trained: The scene, training frame.
        frame: From the user's world to the training frame.
        ids: [N], most probable ID of each.
        certainty: [N], its probability.
    """

    def array(value: torch.Tensor) -> Floats:
        array: Floats = value.detach().cpu().numpy()
        return array

    means, scales = array(trained.means), array(trained.scales)
    if frame.scale != 1.0:
        means = means / np.float32(frame.scale)  # a power of two: exact
        scales = (scales - math.log(frame.scale)).astype(np.float32)
    return Cloud(
        means=means,
        quats=array(trained.quats),
        scales=scales,
        opacities=array(trained.opacities),
        sh0=array(trained.sh0)[:, 0],
        shN=array(trained.shN),
        degree=int(trained.metadata.get("sh_degree", 3)),
        ids=ids.astype(np.int32),
        certainty=certainty.astype(np.float32),
        identities=array(trained.identities),
        offset=np.array(frame.offset),
    )


def activated_opacities(cloud: Cloud) -> Floats:
    """Return opacities in 0..1, [N]."""
    return (1.0 / (1.0 + np.exp(-cloud.opacities))).astype(np.float32)
