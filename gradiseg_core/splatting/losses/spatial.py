"""The spatial loss L_3d (Eq. 3): neighbours should have the same identity.

Notation: samples i [M], their neighbours j [M, K], classifier F. Eq. 3 sums the Kullback-Leibler
divergence ``sum_c F(e_i)_c log(F(e_i)_c / F(e_j)_c)`` over all pairs; like Gaussian Grouping we
take its mean over the pairs and divide by the number of classes. Gradients flow to both encodings
and to F. Gaussian Grouping counts each sample as its own first neighbour (a pair that is always 0);
the neighbour searches of this project leave it out.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from gradiseg_core.splatting.losses.identity import IdentityClassifier


def neighbour_kl(
    identities: Tensor,  # [N, D]
    classifier: IdentityClassifier,
    sample: Tensor,  # [M]
    neighbours: Tensor,  # [M, K]
    *,
    stop_target: bool = False,
) -> Tensor:
    """Return Eq. 3 as the mean over valid pairs, divided by the number of classes.

    The divergence is computed from log-probabilities, so that a class of vanishing probability
    costs nothing instead of producing 0 * inf. Only the M * (K + 1) encodings that take part are
    classified.

    Args:
        identities: [N, D] encodings of all Gaussians.
        classifier: F.
        sample: [M] int64, indices of Gaussians.
        neighbours: [M, K] int64, indices of each sample's neighbours; -1 marks a missing one.
        stop_target: Let no gradient flow through F(e_j), the second argument of the divergence.

    Returns:
        Scalar, differentiable; 0 where there is no valid pair.

    Raises:
        ValueError: If ``neighbours`` has not one row a sample.
    """
    if sample.dim() != 1 or neighbours.dim() != 2 or len(neighbours) != len(sample):
        raise ValueError(
            "expected sample [M] and neighbours [M, K], "
            f"got {tuple(sample.shape)} and {tuple(neighbours.shape)}"
        )
    if identities.device.type != "cpu":
        return _without_waiting(identities, classifier, sample, neighbours, stop_target)
    row, column = (neighbours >= 0).nonzero(as_tuple=True)  # [P], the valid pairs
    # One gather, and by embedding: the gradient of indexing is summed by atomic additions in any
    # order on several threads, and a resumed run must repeat every bit.
    taking_part = torch.cat([sample, neighbours[row, column]])
    encodings = functional.embedding(taking_part, identities)
    logs = functional.log_softmax(classifier(encodings), dim=-1)  # [M + P, C]
    own, other = logs[: len(sample)], logs[len(sample) :]  # [M, C], [P, C]
    if stop_target:
        other = other.detach()
    own = functional.embedding(row, own)  # [P, C]
    divergence = (own.exp() * (own - other)).sum()
    return divergence / (max(len(row), 1) * classifier.num_classes)


def _without_waiting(
    identities: Tensor,
    classifier: IdentityClassifier,
    sample: Tensor,
    neighbours: Tensor,
    stop_target: bool,
) -> Tensor:
    """Compute the same with missing pairs weighted by 0, so that no host waits for their number."""
    there = neighbours >= 0  # [M, K]
    taking_part = torch.cat([sample, neighbours.clamp(min=0).reshape(-1)])
    logs = functional.log_softmax(classifier(functional.embedding(taking_part, identities)), dim=-1)
    own = logs[: len(sample), None]  # [M, 1, C]
    other = logs[len(sample) :].reshape(*neighbours.shape, -1)  # [M, K, C]
    if stop_target:
        other = other.detach()
    divergence = ((own.exp() * (own - other)).sum(dim=-1) * there).sum()
    return divergence / (there.sum().clamp(min=1) * classifier.num_classes)
