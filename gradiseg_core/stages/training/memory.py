"""An estimate of the GPU memory that a training takes, before it starts.

An upper estimate, in bytes: a sum over Gaussians, a sum over pixels of one view, and what does not
depend on either. Each number counts tensors that are alive together at the worst moment: of an
iteration (sorting, blending padded channels, or the backward pass through the colours), or of a
densification. ``tests/stages/training/test_memory.py`` compares with what PyTorch's allocator says
on a CPU; what gsplat's kernels allocate is read from their source (table: studies/cuda_core.md).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import ceil

import torch

from gradiseg_core.compute.placement import LossBackends, loss_backends
from gradiseg_core.config.parts import MCMC_BUDGET
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.errors import BackendUnavailableError
from gradiseg_core.splatting.losses.blended import GROUP, PADDED
from gradiseg_core.splatting.views import TrainingData

logger = logging.getLogger(__name__)

_F = 4  # bytes of a float32 or an int32
_COLOUR = 48  # harmonics of degree 3, three channels
_GEOMETRY = 3 + 4 + 3 + 1  # centre, rotation, scales, opacity

#: Statistics of densification (2) and IGD (1), last gradients of positions (3), positions that the
#: neighbours are searched in, twice (6).
_STATISTICS = 12
#: Activated scales and opacity (4); radii in two axes and one (3), centre in the image (2), depth,
#: conic (3); directions of sight (3).
_SEEN = 4 + 3 + 2 + 1 + 3 + 3
_COLOURS = 9  # before and after their floor, and clamped
_TILE_COUNTS = 3  # tiles of each Gaussian, and their running sum in int64
_PADDED = 32  # channels that gsplat blends colour and identity in at once

TILES = 8  # that a Gaussian meets on average; an assumption, scenes differ
_PAIR = 3  # of Gaussian and tile: a key of 8 bytes and an index; twice while they are sorted

_PHOTOMETRIC_TORCH = 336  # bytes a pixel at the peak of the PyTorch version, measured
_PHOTOMETRIC_FUSED = 84  # of ours: four blurred pictures and three of partial derivatives
#: Bytes a pixel of a term that holds depth to a surface: blended and divided by opacity, compared,
#: the surface of this view and the next, gradients; measured. And floats a Gaussian, its gradient.
_DEPTH_PX, _DEPTH = 43, 2
_BLENDED_LOSS = (12, 8)  # bytes a pixel, and a pixel and ID, measured
_HEAD_TORCH = 3 * _F  # a class and pixel: logits, their softmax, one of their gradients

_CONTEXT = 700_000_000  # CUDA's context and the kernels' code; an assumption
_FRAGMENTS = 1.1  # of PyTorch's allocator, whose blocks are larger than what is asked for


@dataclass(frozen=True)
class MemoryModel:
    """Bytes that training takes.

    Attributes:
        state: A Gaussian: value, both moments of Adam, statistics.
        iteration: A Gaussian, on top during an iteration.
        densification: A Gaussian, on top while their number changes.
        view: The pictures of one view, rendered, compared and differentiated.
        resident: Views that stay on the device.
    """

    state: float
    iteration: float
    densification: float
    view: float
    resident: float

    @property
    def per_gaussian(self) -> float:
        """Bytes that one more Gaussian takes."""
        return _FRAGMENTS * (self.state + max(self.iteration, self.densification))

    def peak(self, count: int) -> float:
        """Return the bytes that ``count`` Gaussians take."""
        return _CONTEXT + _FRAGMENTS * (self.view + self.resident) + count * self.per_gaussian

    def most(self, room: float) -> int:
        """Return how many Gaussians fit in ``room`` bytes, at least 0."""
        return max(0, int((room - self.peak(0)) / self.per_gaussian))


def memory_model(
    config: TrainConfig, losses: LossBackends, *, classes: int, pixels: int, views_bytes: float
) -> MemoryModel:
    """Return the model of a training.

    Args:
        config: Its parameters.
        losses: What computes the losses; PyTorch's own versions take far more.
        classes: Of the classifier.
        pixels: Of the largest view.
        views_bytes: Of all views together.
    """
    dims = config.identity_dim
    floats = _GEOMETRY + _COLOUR + dims
    blends = config.losses.blended == "probabilities"
    # Logits, probabilities and their gradient, from the forward pass to the backward pass.
    probable = 3 * classes if blends else 0
    # With the coefficients joined, kept for the backward pass.
    rendered = probable + _SEEN + _COLOUR + _COLOURS + (_DEPTH if config.needs_geometry else 0)
    sorting = rendered + _TILE_COUNTS + 2 * _PAIR * TILES
    # Joined, the zeros beside it, both joined again.
    blending = rendered + TILES + (2 * _PADDED if config.gsplat.channels == "padded" else 0)
    # Gradients of identities, centre in the image, conic, opacity, colour, direction; coefficients.
    colours = rendered - _COLOURS + dims + (2 + 3 + 1 + 3 + 3) + _COLOUR
    view = _blended_view(classes) if blends else _view(dims, classes, losses)
    view += 3 * _F + 2 * 5 + 8  # the photograph as floats, this view and the next, labels as int64
    view += _DEPTH_PX if config.needs_geometry else 0
    view += _PHOTOMETRIC_TORCH if losses.photometric == "torch" else _PHOTOMETRIC_FUSED
    # The widest parameter beside its old self, and what is kept and then all of its moment. A
    # tenth is new, made from copies of its parents. Which are kept, as numbers in int64.
    densification = 3 * (_COLOUR - 3) + 0.15 * floats + 2
    return MemoryModel(
        state=_F * (3 * floats + _STATISTICS),
        iteration=_F * max(sorting, blending, colours),
        densification=_F * densification,
        view=view * pixels,
        resident=min(views_bytes, config.gpu_views_gb * 1e9),
    )


def _view(dims: int, classes: int, losses: LossBackends) -> float:
    """Return the bytes a pixel of blended encodings and the identity head."""
    # Rendered, its gradient; coverage and last index of each call, and its gradient.
    blended = _F * (2 * (3 + dims) + 2 * 2 + 2)
    return blended + (_HEAD_TORCH * classes if losses.identity == "torch" else _F * (dims + 4))


def _blended_view(classes: int) -> float:
    """Return the bytes a pixel of blended probabilities, should a view show every class."""
    groups = ceil(classes / GROUP)
    padded = classes + -classes % PADDED
    # Of every group: colour and its gradient, coverage and last index; identities.
    blended = _F * (2 * 3 * groups + 4 * groups + 2 + padded)
    joined = _F * classes if groups > 1 else 0
    constant, per_id = _BLENDED_LOSS
    # The loss's own, or gradients of the identities joined and apart, which follow it.
    return blended + joined + max(constant + per_id * classes, _F * (classes + padded))


def model_of(data: TrainingData, config: TrainConfig, device: torch.device) -> MemoryModel:
    """Return the model of a training on a device."""
    pixels = [camera.width * camera.height for camera in data.train.cameras]
    first = data.train[0]  # others have the same tensors
    return memory_model(
        config,
        loss_backends(device),
        classes=data.num_classes,
        pixels=max(pixels),
        views_bytes=first.bytes / pixels[0] * sum(pixels),
    )


def room_on(device: torch.device) -> int:
    """Return the bytes of a GPU that this process has or may still take."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


def limit_of(config: TrainConfig) -> int | None:
    """Return the largest number of Gaussians that training may reach; None sets no limit."""
    own = config.densification.max_gaussians
    if own is None and config.densification.kind == "mcmc":
        own = MCMC_BUDGET
    # IGD grows beyond what densification stops at.
    growth = 0.0 if config.igd is None else config.igd.max_growth
    return None if own is None else round(own * (1 + growth))


def check_memory(model: MemoryModel, count: int, limit: int | None, room: float) -> None:
    """Log how many Gaussians fit; warn where training may outgrow the device.

    Args:
        model: Of the training.
        count: Gaussians at the start.
        limit: Gaussians that it may reach; None sets no limit.
        room: Bytes of the device.

    Raises:
        BackendUnavailableError: If not even those of the start fit.
    """
    most = model.most(room)
    advice = (
        "lower train.densification.max_gaussians or train.gpu_views_gb, or train on smaller images "
        "(train.downsample, train.longest_side)"
    )
    if count > most:
        raise BackendUnavailableError(
            f"{count:,} Gaussians of the start take about {model.peak(count) / 1e9:.1f} GB of the "
            f"GPU, which has {room / 1e9:.1f} GB free: {advice}, or free the GPU"
        )
    grown = count if limit is None else max(count, limit)
    logger.info(
        "GPU memory: %.1f GB free, about %.1f GB taken at %s Gaussians; about %s fit",
        room / 1e9,
        model.peak(grown) / 1e9,
        f"{grown:,}",
        _round(most),
    )
    if grown > most:
        logger.warning(
            "the configuration allows %s Gaussians, but only about %s fit the GPU; %s",
            f"{grown:,}",
            _round(most),
            advice,
        )


def _round(count: int) -> str:
    return f"{count / 1e6:.1f} million" if count >= 1e6 else f"{count:,}"
