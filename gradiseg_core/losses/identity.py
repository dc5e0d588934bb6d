"""The identity head: a linear classifier of encodings and its cross-entropy (L_2d of Eq. 5).

Notation: encodings x [..., D], weight W [C, D], bias b [C], logits z = W x + b [..., C],
F(x) = softmax(z). The same head serves pixels (blended encodings) and single Gaussians. Gaussian
Grouping uses a 1x1 convolution from 16 to 256; the class of an ID is the ID itself, 0 (background)
included.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

BACKENDS = ("cpu", "torch")
FUSED_DIMS = (8, 16, 32)  # encoding sizes that the fused kernels are compiled for
_CHUNK = 65536  # encodings classified at once by the plain-PyTorch inference


class IdentityClassifier(nn.Module):
    """F: encodings to classes, one linear layer (a 1x1 convolution over pixels).

    Attributes:
        weight: [C, D].
        bias: [C].
    """

    def __init__(
        self,
        num_classes: int,
        dim: int = 16,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Initialise as torch's 1x1 ``Conv2d`` does: uniform in +-1/sqrt(dim).

        Args:
            num_classes: C, at least 2 (background is one).
            dim: D, length of an encoding.
            generator: Source of randomness; None is torch's global one.

        Raises:
            ValueError: If there are fewer than two classes or no dimension.
        """
        super().__init__()
        if num_classes < 2 or dim < 1:
            raise ValueError(
                f"a classifier needs at least 2 classes and 1 dimension, got {num_classes}, {dim}"
            )
        bound = 1.0 / math.sqrt(dim)
        self.weight = nn.Parameter(torch.empty(num_classes, dim))
        self.bias = nn.Parameter(torch.empty(num_classes))
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    @property
    def num_classes(self) -> int:
        """Number of classes C, background included."""
        return self.weight.shape[0]

    @property
    def dim(self) -> int:
        """Length D of an encoding."""
        return self.weight.shape[1]

    def forward(self, encodings: Tensor) -> Tensor:
        """Return logits, [..., D] to [..., C] (materialised: for few encodings)."""
        return functional.linear(encodings, self.weight, self.bias)


def identity_loss(
    features: Tensor,  # [H, W, D]
    labels: Tensor,  # [H, W]
    classifier: IdentityClassifier,
    *,
    pixel_weights: Tensor | None = None,  # [H, W]
    backend: str = "cpu",
) -> Tensor:
    """Return L_2d: cross-entropy of the blended encodings against the masks' IDs.

    The mean over pixels is divided by ln(C), as Gaussian Grouping does, so that a classifier that
    knows nothing scores 1 whatever the number of classes.

    Args:
        features: [H, W, D] blended encodings (any leading shape that ``labels`` has as well).
        labels: [H, W] integers in 0..C-1.
        classifier: F.
        pixel_weights: [H, W] not negative; the mean becomes the weighted one (0 where all are 0).
        backend: "cpu" (fused kernel, float32) or "torch" (plain PyTorch, any precision).

    Returns:
        Scalar, differentiable with respect to features, weight and bias.

    Raises:
        ValueError: If shapes disagree, a label has no class or the backend is unknown.
        TypeError: If labels are not integers, or the "cpu" backend is given anything but float32.
    """
    _check_features(features, classifier)
    _check_labels(features, labels, classifier.num_classes)
    if pixel_weights is not None and pixel_weights.shape != labels.shape:
        raise ValueError(
            f"pixel_weights {tuple(pixel_weights.shape)} and labels {tuple(labels.shape)} differ"
        )
    if backend == "torch":
        return _plain_loss(features, labels, classifier, pixel_weights)
    if backend != "cpu":
        raise ValueError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    _check_fused(features, classifier)
    return _Fused.apply(features, labels, classifier.weight, classifier.bias, pixel_weights)


def label_map(features: Tensor, classifier: IdentityClassifier) -> Tensor:
    """Return each encoding's most probable class, without the [..., C] logits.

    Args:
        features: [..., D] encodings of pixels or Gaussians.
        classifier: F.

    Returns:
        [...] int64; the smallest class among equals.

    Raises:
        ValueError: If the encodings' length is not the classifier's.
    """
    _check_features(features, classifier)
    flat = features.detach().reshape(-1, classifier.dim)
    if _can_fuse(features, classifier):
        from gradiseg_core.losses import _identity_kernels as kernels

        best = torch.from_numpy(kernels.argmax(*_arrays(flat, classifier)))
    else:
        with torch.no_grad():
            best = torch.cat([classifier(part).argmax(-1) for part in flat.split(_CHUNK)])
    return best.reshape(features.shape[:-1])


def probabilities(features: Tensor, classifier: IdentityClassifier, ids: Tensor) -> Tensor:
    """Return F at chosen classes, without the [..., C] probabilities.

    Args:
        features: [..., D] encodings of pixels or Gaussians.
        classifier: F.
        ids: [I] integers (or a list of them) in 0..C-1.

    Returns:
        [..., I], the probabilities of ``ids`` among all C classes.

    Raises:
        ValueError: If an ID has no class, or the encodings' length is not the classifier's.
    """
    _check_features(features, classifier)
    ids = torch.as_tensor(ids, dtype=torch.int64, device=features.device).reshape(-1)
    _check_range(ids, classifier.num_classes)
    flat = features.detach().reshape(-1, classifier.dim)
    if _can_fuse(features, classifier):
        from gradiseg_core.losses import _identity_kernels as kernels

        chosen = torch.from_numpy(kernels.softmax_at(*_arrays(flat, classifier), ids.numpy()))
    else:
        with torch.no_grad():
            parts = [classifier(part).softmax(-1)[:, ids] for part in flat.split(_CHUNK)]
        chosen = torch.cat(parts)
    return chosen.reshape(*features.shape[:-1], len(ids))


def _plain_loss(
    features: Tensor,
    labels: Tensor,
    classifier: IdentityClassifier,
    pixel_weights: Tensor | None,
) -> Tensor:
    """Return the loss by PyTorch's own operations."""
    logits = classifier(features.reshape(-1, classifier.dim))
    target = labels.reshape(-1).long()
    scale = 1.0 / math.log(classifier.num_classes)
    if pixel_weights is None:
        return functional.cross_entropy(logits, target) * scale
    weights = pixel_weights.reshape(-1).to(logits.dtype)
    losses = functional.cross_entropy(logits, target, reduction="none")
    return (losses * weights).sum() / _weight_sum(weights) * scale


def _weight_sum(weights: Tensor) -> float:
    """Return the sum of weights, 1 where it is 0 (the loss is then 0)."""
    total = float(weights.sum(dtype=torch.float64))
    return total if total > 0.0 else 1.0


class _Fused(torch.autograd.Function):
    """The loss and all its gradients in one go; backward only scales them."""

    @staticmethod
    def forward(ctx, features, labels, weight, bias, pixel_weights):
        from gradiseg_core.losses import _identity_kernels as kernels

        num_classes, dim = weight.shape
        norm = float(labels.numel())
        weights = None
        if pixel_weights is not None:
            weights = pixel_weights.detach().reshape(-1).to(torch.float32).contiguous().numpy()
            norm = _weight_sum(pixel_weights)
        loss, gradients = kernels.cross_entropy(
            features.detach().reshape(-1, dim).contiguous().numpy(),
            labels.detach().reshape(-1).to(torch.int32).contiguous().numpy(),
            weight.detach().contiguous().numpy(),
            bias.detach().contiguous().numpy(),
            weights,
            scale=1.0 / (norm * math.log(num_classes)),
            with_gradient=any(ctx.needs_input_grad),
        )
        if gradients is not None:
            for_features, for_weight, for_bias = (torch.from_numpy(array) for array in gradients)
            ctx.save_for_backward(for_features.view(features.shape), for_weight, for_bias)
        return torch.tensor(loss, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        for_features, for_weight, for_bias = ctx.saved_tensors
        if grad.item() != 1.0:
            for_features, for_weight, for_bias = (
                gradient * grad for gradient in (for_features, for_weight, for_bias)
            )
        return for_features, None, for_weight, for_bias, None


def _arrays(
    flat: Tensor, classifier: IdentityClassifier
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return encodings, weight and bias as contiguous arrays."""
    weight, bias = classifier.weight.detach(), classifier.bias.detach()
    return flat.contiguous().numpy(), weight.contiguous().numpy(), bias.contiguous().numpy()


def _can_fuse(features: Tensor, classifier: IdentityClassifier) -> bool:
    """Tell whether the fused kernels take these encodings."""
    return classifier.dim in FUSED_DIMS and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu"
        for tensor in (features, classifier.weight, classifier.bias)
    )


def _check_fused(features: Tensor, classifier: IdentityClassifier) -> None:
    """Raise unless the fused kernels take these encodings."""
    if classifier.dim not in FUSED_DIMS:
        raise ValueError(
            f'backend "cpu" takes encodings of length {", ".join(map(str, FUSED_DIMS))}, got '
            f'{classifier.dim} (backend "torch" takes any)'
        )
    if not _can_fuse(features, classifier):
        raise TypeError(
            f'backend "cpu" takes float32 on the CPU; features are {features.dtype} on '
            f"{features.device}, the classifier {classifier.weight.dtype} on "
            f'{classifier.weight.device} (backend "torch" takes any)'
        )


def _check_features(features: Tensor, classifier: IdentityClassifier) -> None:
    """Raise unless the encodings fit the classifier."""
    if features.dim() < 1 or features.shape[-1] != classifier.dim:
        raise ValueError(
            f"expected encodings of length {classifier.dim} last, got {tuple(features.shape)}"
        )


def _check_labels(features: Tensor, labels: Tensor, num_classes: int) -> None:
    """Raise unless there is one valid integer label for each encoding."""
    if labels.dtype.is_floating_point or labels.dtype in (torch.bool, torch.complex64):
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != features.shape[:-1] or labels.numel() == 0:
        raise ValueError(
            f"expected one label for each of the encodings {tuple(features.shape[:-1])}, "
            f"got {tuple(labels.shape)}"
        )
    _check_range(labels, num_classes)


def _check_range(ids: Tensor, num_classes: int) -> None:
    """Raise if an ID has no class; an ID is never wrapped around."""
    if ids.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(ids))
    if low < 0 or high >= num_classes:
        offending = low if low < 0 else high
        raise ValueError(
            f"ID {offending} has no class: the classifier knows 0..{num_classes - 1}. Give it at "
            "least as many classes as the largest ID plus one, or merge IDs when tracking"
        )
