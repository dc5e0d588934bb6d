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

BACKENDS = ("cpu", "torch", "triton")
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

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> IdentityClassifier:
        """Return the classifier of a weight [C, D] and a bias [C], which are copied."""
        classifier = cls(*weight.shape)
        with torch.no_grad():
            classifier.weight.copy_(weight)
            classifier.bias.copy_(bias)
        return classifier

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
    in_range: bool = False,
) -> Tensor:
    """Return L_2d: cross-entropy of the blended encodings against the masks' IDs.

    The mean over pixels is divided by ln(C), as Gaussian Grouping does, so that a classifier that
    knows nothing scores 1 whatever the number of classes.

    Args:
        features: [H, W, D] blended encodings (any leading shape that ``labels`` has as well).
        labels: [H, W] integers in 0..C-1.
        classifier: F.
        pixel_weights: [H, W] not negative; the mean becomes the weighted one (0 where all are 0).
        backend: "cpu" (fused kernel, float32), "triton" (fused kernels of a GPU, float32) or
            "torch" (plain PyTorch, any precision).
        in_range: Whether all labels are known to be in 0..C-1, as those of training's views are
            from :func:`.stages.training.data.load_training_data`; they are not looked at then.

    Returns:
        Scalar, differentiable with respect to features, weight and bias. NaN where a label that
        lies on a GPU has no class: looking for it would wait for the device.

    Raises:
        ValueError: If shapes disagree, a label in main memory has no class, or the backend is
            unknown.
        TypeError: If labels are not integers, or a backend is given a type or device that is not
            its own.
    """
    backend = checked(features, labels, classifier, backend, in_range=in_range)
    if pixel_weights is not None and pixel_weights.shape != labels.shape:
        raise ValueError(
            f"pixel_weights {tuple(pixel_weights.shape)} and labels {tuple(labels.shape)} differ"
        )
    if backend == "torch":
        return _plain_loss(features, labels, classifier, pixel_weights)
    if backend == "triton":
        return triton_loss(features, labels, classifier, pixel_weights)
    return _Fused.apply(features, labels, classifier.weight, classifier.bias, pixel_weights)


def triton_loss(
    features: Tensor,
    labels: Tensor,
    classifier: IdentityClassifier,
    pixel_weights: Tensor | None = None,
    exponent: float = 0.0,
) -> Tensor:
    """Return the identity loss by the kernels of a GPU; arguments are :func:`checked` before.

    Args:
        features: [H, W, D].
        labels: [H, W].
        classifier: F.
        pixel_weights: [H, W].
        exponent: q; multiplies each pixel's cross-entropy by the q-th power of its label's
            probability, which is constant to the gradient.
    """
    from gradiseg_core.splatting.losses import _identity_triton as kernels

    return kernels.cross_entropy(
        features, labels, classifier.weight, classifier.bias, pixel_weights, exponent
    )


def label_map(
    features: Tensor, classifier: IdentityClassifier, *, backend: str | None = None
) -> Tensor:
    """Return each encoding's most probable class, without the [..., C] logits.

    Args:
        features: [..., D] encodings of pixels or Gaussians.
        classifier: F.
        backend: As for :func:`identity_loss`; None takes the fastest that fits the encodings.

    Returns:
        [...] int64; the smallest class among equals.

    Raises:
        ValueError: If the encodings' length is not the classifier's.
    """
    _check_features(features, classifier)
    flat = features.detach().reshape(-1, classifier.dim)
    backend = _resolved(backend, features, classifier)
    if backend == "cpu":
        from gradiseg_core.splatting.losses import _identity_kernels as kernels

        best = torch.from_numpy(kernels.argmax(*_arrays(flat, classifier)))
    elif backend == "triton":
        from gradiseg_core.splatting.losses import _identity_triton

        best = _identity_triton.argmax(flat, *_parameters(classifier))
    else:
        with torch.no_grad():
            best = torch.cat([classifier(part).argmax(-1) for part in flat.split(_CHUNK)])
    return best.reshape(features.shape[:-1])


def probabilities(
    features: Tensor,
    classifier: IdentityClassifier,
    ids: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Return F at chosen classes, without the [..., C] probabilities.

    Args:
        features: [..., D] encodings of pixels or Gaussians.
        classifier: F.
        ids: [I] integers (or a list of them) in 0..C-1.
        backend: As for :func:`identity_loss`; None takes the fastest that fits the encodings.

    Returns:
        [..., I], the probabilities of ``ids`` among all C classes.

    Raises:
        ValueError: If an ID has no class, or the encodings' length is not the classifier's.
    """
    _check_features(features, classifier)
    ids = torch.as_tensor(ids, dtype=torch.int64).reshape(-1)
    _check_range(ids, classifier.num_classes)  # where they are: main memory waits for nothing
    ids = ids.to(features.device)
    flat = features.detach().reshape(-1, classifier.dim)
    backend = _resolved(backend, features, classifier)
    if backend == "cpu":
        from gradiseg_core.splatting.losses import _identity_kernels as kernels

        chosen = torch.from_numpy(kernels.softmax_at(*_arrays(flat, classifier), ids.numpy()))
    elif backend == "triton":
        from gradiseg_core.splatting.losses import _identity_triton

        chosen = _identity_triton.softmax_at(flat, *_parameters(classifier), ids)
    else:
        with torch.no_grad():
            parts = [classifier(part).softmax(-1)[:, ids] for part in flat.split(_CHUNK)]
        chosen = torch.cat(parts)
    return chosen.reshape(*features.shape[:-1], len(ids))


@torch.no_grad()
def label_probabilities(
    features: Tensor,  # [H, W, D]
    labels: Tensor,  # [H, W]
    classifier: IdentityClassifier,
    *,
    backend: str | None = None,
    in_range: bool = False,
) -> Tensor:
    """Return F at every encoding's own label, without the [..., C] probabilities.

    Args:
        features: [H, W, D] encodings (any leading shape that ``labels`` has as well).
        labels: [H, W] integers in 0..C-1.
        classifier: F.
        backend: As for :func:`identity_loss`; None takes the fastest that fits the encodings.
        in_range: As for :func:`identity_loss`.

    Returns:
        [H, W]; NaN where a label that lies on a GPU has no class.

    Raises:
        ValueError: As :func:`identity_loss`.
        TypeError: As :func:`identity_loss`.
    """
    backend = checked(features, labels, classifier, backend, in_range=in_range)
    flat, own = features.detach().reshape(-1, classifier.dim), labels.reshape(-1)
    if backend == "triton":
        from gradiseg_core.splatting.losses import _identity_triton

        chosen = _identity_triton.softmax_of_own(flat, *_parameters(classifier), own)
    elif backend == "cpu":
        present = torch.bincount(own).nonzero().squeeze(1)  # [I] IDs of this view
        place = torch.zeros(int(present[-1]) + 1, dtype=torch.int64)
        place[present] = torch.arange(len(present))
        probs = probabilities(flat, classifier, present, backend=backend)  # [P, I]
        chosen = probs.gather(-1, place[own.long()][:, None]).squeeze(-1)
    else:
        target = own.long().clamp(0, classifier.num_classes - 1)[:, None]
        pairs = zip(flat.split(_CHUNK), target.split(_CHUNK), strict=True)
        parts = [classifier(part).softmax(-1).gather(-1, ids) for part, ids in pairs]
        chosen = _nan_without_class(torch.cat(parts).squeeze(-1), own, classifier.num_classes)
    return chosen.reshape(labels.shape)


def _plain_loss(
    features: Tensor,
    labels: Tensor,
    classifier: IdentityClassifier,
    pixel_weights: Tensor | None,
) -> Tensor:
    """Return the loss by PyTorch's own operations."""
    num_classes = classifier.num_classes
    logits = classifier(features.reshape(-1, classifier.dim))
    target = labels.reshape(-1).long()
    scale = 1.0 / math.log(num_classes)
    on_device = labels.device.type != "cpu"  # its labels were not checked
    if pixel_weights is None and not on_device:
        return functional.cross_entropy(logits, target) * scale
    losses = functional.cross_entropy(logits, target.clamp(0, num_classes - 1), reduction="none")
    if on_device:
        losses = _nan_without_class(losses, target, num_classes)
    if pixel_weights is None:
        return losses.mean() * scale
    weights = pixel_weights.reshape(-1).to(logits.dtype)
    return (losses * weights).sum() / _weight_sum(weights).to(losses.dtype) * scale


def _weight_sum(weights: Tensor) -> Tensor:
    """Return the sum of weights, 1 where it is 0 (the loss is then 0)."""
    total = weights.detach().sum(dtype=torch.float64)
    return torch.where(total > 0.0, total, 1.0)


def _nan_without_class(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Return the values, NaN where the label has no class."""
    return torch.where((labels >= 0) & (labels < num_classes), values, math.nan)


class _Fused(torch.autograd.Function):
    """The loss and all its gradients in one go; backward only scales them."""

    @staticmethod
    def forward(ctx, features, labels, weight, bias, pixel_weights):
        from gradiseg_core.splatting.losses import _identity_kernels as kernels

        num_classes, dim = weight.shape
        norm = float(labels.numel())
        weights = None
        if pixel_weights is not None:
            weights = pixel_weights.detach().reshape(-1).to(torch.float32).contiguous().numpy()
            norm = float(_weight_sum(pixel_weights))
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


def checked(
    features: Tensor,
    labels: Tensor,
    classifier: IdentityClassifier,
    backend: str | None,
    *,
    in_range: bool = False,
) -> str:
    """Return the backend to use, after a look at what it will be given.

    Raises:
        ValueError: As :func:`identity_loss`.
        TypeError: As :func:`identity_loss`.
    """
    _check_features(features, classifier)
    _check_labels(features, labels)
    if not in_range and labels.device.type == "cpu":
        _check_range(labels, classifier.num_classes)
    return _resolved(backend, features, classifier)


def _parameters(classifier: IdentityClassifier) -> tuple[Tensor, Tensor]:
    return classifier.weight.detach(), classifier.bias.detach()


def _resolved(backend: str | None, features: Tensor, classifier: IdentityClassifier) -> str:
    """Return the backend that was asked for, or the fastest that takes these encodings.

    Raises:
        ValueError: If the backend is unknown, or not for encodings of this length.
        TypeError: If it is not for their type or device.
    """
    fitting = "triton" if features.device.type == "cuda" else "cpu"
    if backend is None:
        return fitting if _takes(fitting, features, classifier) else "torch"
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; there are {', '.join(BACKENDS)}")
    if backend == "torch" or _takes(backend, features, classifier):
        return backend
    if classifier.dim not in FUSED_DIMS:
        raise ValueError(
            f'backend "{backend}" takes encodings of length {", ".join(map(str, FUSED_DIMS))}, got '
            f'{classifier.dim} (backend "torch" takes any)'
        )
    where = "the CPU" if backend == "cpu" else "a GPU that Triton compiles for"
    raise TypeError(
        f'backend "{backend}" takes float32 on {where}; features are {features.dtype} on '
        f"{features.device}, the classifier {classifier.weight.dtype} on "
        f'{classifier.weight.device} (backend "torch" takes any)'
    )


def _takes(backend: str, features: Tensor, classifier: IdentityClassifier) -> bool:
    """Tell whether the fused kernels of a backend take these encodings."""
    tensors = (features, classifier.weight, classifier.bias)
    if classifier.dim not in FUSED_DIMS or any(t.dtype != torch.float32 for t in tensors):
        return False
    if any(t.device != features.device for t in tensors):
        return False
    if backend == "cpu":
        return features.device.type == "cpu"
    from gradiseg_core.compute.triton_runtime import runs_on

    return runs_on(features.device)


def _check_features(features: Tensor, classifier: IdentityClassifier) -> None:
    """Raise unless the encodings fit the classifier."""
    if features.dim() < 1 or features.shape[-1] != classifier.dim:
        raise ValueError(
            f"expected encodings of length {classifier.dim} last, got {tuple(features.shape)}"
        )


def _check_labels(features: Tensor, labels: Tensor) -> None:
    """Raise unless there is one integer label for each encoding."""
    if labels.dtype.is_floating_point or labels.dtype in (torch.bool, torch.complex64):
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.shape != features.shape[:-1] or labels.numel() == 0:
        raise ValueError(
            f"expected one label for each of the encodings {tuple(features.shape[:-1])}, "
            f"got {tuple(labels.shape)}"
        )


def _check_range(ids: Tensor, num_classes: int) -> None:
    """Raise if an ID has no class; an ID is never wrapped around.

    Not asked of labels on a GPU, which would have to be waited for: without a class they make NaN.
    """
    if ids.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(ids))
    if low < 0 or high >= num_classes:
        offending = low if low < 0 else high
        raise ValueError(
            f"ID {offending} has no class: the classifier knows 0..{num_classes - 1}. Give it at "
            "least as many classes as the largest ID plus one, or merge IDs when tracking"
        )
