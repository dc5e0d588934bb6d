"""Gaussians of another trainer that identities are trained on: `train.init_from`."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import torch

from gradiseg_core.cameras import Frame
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.editing.transforms import transformed
from gradiseg_core.errors import InputError
from gradiseg_core.files.splats import read_nerfstudio_transform, read_splats
from gradiseg_core.splatting.gaussians import GivenGaussians
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.splatting.views import of_one_colour

logger = logging.getLogger(__name__)

_LOOKED_AT = 5  # training views that are rendered before training
#: How much nearer to a photograph a rendering must be than the photograph's mean colour, dB.
_LEAST_GAIN = 1.0


def load_given(config: TrainConfig, frame: Frame) -> GivenGaussians:
    """Read the Gaussians that ``config.init_from`` names, in the training frame.

    Args:
        config: Training parameters.
        frame: From the user's world to that of training.

    Raises:
        InputError: If the file is not a PLY of Gaussians, or nerfstudio's and ``init_transform`` is
            missing or damaged.
    """
    path = config.init_from
    assert path is not None
    splats = read_splats(path)
    rotation, scale, shift = np.eye(3), 1.0, np.zeros(3)
    if config.init_transform is not None:
        # x_nerfstudio = s (R x + t), so x = R^T x_nerfstudio / s - R^T t.
        moved = read_nerfstudio_transform(config.init_transform)
        rotation, scale = moved.rotation.T, 1.0 / moved.scale
        shift = -moved.rotation.T @ moved.translation
    elif any("nerfstudio" in comment.lower() for comment in splats.comments):
        raise InputError(
            f"{path} was written by nerfstudio, which moves, turns and scales scenes; name the "
            "file dataparser_transforms.json beside the run's config.yml in train.init_transform"
        )
    values = transformed(
        splats.values,
        rotation=None if np.array_equal(rotation, np.eye(3)) else rotation,
        scale=frame.scale * scale,
        shift=frame.scale * (shift - np.array(frame.offset)),
    )
    logger.info(
        "%d Gaussians of %s, harmonics of degree %d; they are held: no densification, pruning or "
        "IGD, only identities are trained",
        len(splats.values["means"]),
        path,
        splats.degree,
    )
    return GivenGaussians(values, splats.degree)


def check_looks(trainer: Trainer, path: Path) -> None:
    """Render a few training views, and compare them with their photographs.

    Raises:
        InputError: If the photographs' mean colours are as near as the renderings: the Gaussians
            are not where the cameras are.
    """
    gains, rendered_psnr = [], []
    count = len(trainer.data.train)
    for index in sorted({round(i) for i in np.linspace(0, count - 1, _LOOKED_AT)}):
        view = trainer.data.train[index]
        if of_one_colour(view.image.numpy()):
            continue
        view = view.to(trainer.device)
        photograph = view.image.to(torch.float32) / 255.0
        with torch.no_grad():
            rendering = trainer.render(view).color.clamp(0.0, 1.0)
        if view.ignored is not None:
            if bool(view.ignored.all()):
                continue
            photograph, rendering = photograph[~view.ignored][None], rendering[~view.ignored][None]
        ours = _psnr(rendering, photograph)
        gains.append(ours - _psnr(photograph.mean(dim=(0, 1)).expand_as(photograph), photograph))
        rendered_psnr.append(ours)
    if not gains:
        return
    if sum(gains) / len(gains) < _LEAST_GAIN:
        raise InputError(
            f"{path} does not look like the photographs (PSNR {np.mean(rendered_psnr):.1f} dB, "
            f"{np.mean(gains):+.1f} dB against one colour): its Gaussians are not in the "
            "coordinates of this scene's COLMAP model. Give the model that they were trained "
            "with (`sparse/` beside the photographs, docs/photographs.md); for Gaussians of "
            "nerfstudio also train.init_transform"
        )
    logger.info("the given Gaussians render training views at %.1f dB", np.mean(rendered_psnr))


def _psnr(picture: torch.Tensor, photograph: torch.Tensor) -> float:
    return -10.0 * math.log10(max(torch.mean((picture - photograph) ** 2).item(), 1e-10))
