"""The 3D identity term L_3d (Eq. 3): neighbours should have the same identity.

Neighbours are the nearest Gaussians first, and later those of LA-KNN.

Notation: samples i [M], their neighbours j [M, K], classifier F. Eq. 3 sums the Kullback-Leibler
divergence ``sum_c F(e_i)_c log(F(e_i)_c / F(e_j)_c)`` over all pairs; like Gaussian Grouping we
take its mean over the pairs and divide by the number of classes. Gradients flow to both encodings
and to F. Gaussian Grouping counts each sample as its own first neighbour (a pair that is always 0);
the neighbour searches of this project leave it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from gradiseg_core.config.train import LaKnn, Losses
from gradiseg_core.splatting.gaussians import Gaussians
from gradiseg_core.splatting.losses.identity import IdentityClassifier
from gradiseg_core.splatting.neighbours.knn import make_knn, neighbours_ahead, searches_a_tree
from gradiseg_core.splatting.parts import Iteration, LossTerm, Run, Schedule
from gradiseg_core.splatting.rasterization.interface import Rendering

if TYPE_CHECKING:
    from gradiseg_core.splatting.neighbours.la_knn import Knn

_LAST = "position_gradient"
#: Iterations after which the search tree is built anew, as it is whenever Gaussians come or go.
REFRESH_EVERY = 100


class SpatialTerm(LossTerm):
    """Eq. 3 over M sampled Gaussians and their K neighbours.

    The direction of Eq. 4 is minus the gradient of the loss with respect to a Gaussian's position.
    One view gives a gradient to the Gaussians that it sees only. The default therefore takes Adam's
    first moment, which every Gaussian has that was ever seen; ``last`` keeps the gradient of the
    last view that saw it. Gaussians without a gradient so far are not sampled.
    """

    def __init__(
        self,
        losses: Losses,
        adaptive: LaKnn | None,
        schedule: Schedule,
        generator: torch.Generator,
    ) -> None:
        """Set up.

        Args:
            losses: M, K, interval.
            adaptive: LA-KNN's parameters, or None for global KNN throughout (baseline).
            schedule: Scales iteration numbers.
            generator: Source of the samples, on the device of the Gaussians.
        """
        super().__init__("spatial", losses.beta)
        self.losses, self.adaptive, self.schedule = losses, adaptive, schedule
        self.generator = generator
        self.device = generator.device
        self._knn = make_knn(self.device)
        # The positions that the tree was built from. They grow stale on purpose, so a checkpoint
        # must hold them.
        self._tree_means: Tensor | None = None
        self._tree_step = 0

    def value(self, now: Iteration) -> Tensor | None:
        """Return the unweighted loss, or None where it is left out of this iteration."""
        step, gaussians = now.step, now.gaussians
        if self.losses.beta == 0 or step % self.losses.spatial_every or len(gaussians) < 2:
            return None
        k = min(self.losses.neighbours, len(gaussians) - 1)
        if self.adaptive is not None and self.schedule.after(step, self.adaptive.start):
            sample, neighbours = self._adaptive(step, gaussians, self.adaptive, k)
        else:
            sample, _ = self._sample(len(gaussians))
            neighbours = self._tree(step, gaussians).query(sample, k)
        if sample.numel() == 0:
            return None
        return neighbour_kl(
            gaussians.params["identities"],
            now.classifier,
            sample,
            neighbours,
            stop_target=self.losses.stop_target,
        )

    def step_post_backward(self, gaussians: Gaussians, rendering: Rendering) -> None:
        """Keep the position gradients of the Gaussians in view."""
        if self.adaptive is None or self.adaptive.direction != "last":
            return
        gradient = gaussians.params["means"].grad
        assert gradient is not None
        kept = gaussians.statistics.setdefault(_LAST, torch.zeros_like(gradient))
        gaussians.statistics[_LAST] = torch.where((rendering.radii > 0)[:, None], gradient, kept)

    def gaussians_changed(self) -> None:
        """Drop the tree, whose indices are no longer theirs."""
        self._tree_means = None

    def _adaptive(
        self, step: int, gaussians: Gaussians, config: LaKnn, k: int
    ) -> tuple[Tensor, Tensor]:
        gradient = (
            gaussians.first_moment("means")
            if config.direction == "first_moment"
            else gaussians.statistics.get(_LAST)
        )
        if gradient is None:
            empty = torch.zeros(0, dtype=torch.int64, device=self.device)
            return empty, empty.reshape(0, k)
        norm = gradient.norm(dim=1)
        sample, valid = self._sample(len(gaussians), norm > 0)
        directions = -gradient[sample] / norm[sample, None]
        local = searches_a_tree(self.device, config.candidates)
        neighbours = neighbours_ahead(
            gaussians.params["means"].detach(),
            sample,
            directions,
            k,
            candidates=config.candidates,
            knn=self._tree(step, gaussians) if local else self._knn,
        )
        if valid is not None:
            neighbours = neighbours.masked_fill(~valid[:, None], -1)
        return sample, neighbours

    def _sample(self, count: int, eligible: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Draw Gaussians without replacement.

        Args:
            count: N.
            eligible: [N] bool; None takes all.

        Returns:
            [M] int64, and [M] bool, whether each is eligible. In main memory all drawn are, and
            the second is None. On a GPU their number stays unknown to the host, which would have
            to wait for it: there the first M in a random order that has the eligible ones first.
        """
        if self.device.type == "cpu":
            drawn = torch.arange(count) if eligible is None else eligible.nonzero().squeeze(1)
            order = torch.randperm(drawn.numel(), generator=self.generator)
            return drawn[order[: self.losses.samples]], None
        return self._sample_without_waiting(count, eligible)

    def _sample_without_waiting(
        self, count: int, eligible: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        keys = torch.rand(count, generator=self.generator, device=self.device)
        if eligible is not None:
            keys = torch.where(eligible, keys, -1.0)
        values, sample = keys.topk(min(self.losses.samples, count))
        return sample, None if eligible is None else values >= 0

    def _tree(self, step: int, gaussians: Gaussians) -> Knn:
        stale = self._tree_means is None or step - self._tree_step >= REFRESH_EVERY
        if stale:
            self._tree_means = gaussians.params["means"].detach().clone()
            self._tree_step = step
            self._knn.update(self._tree_means)
        return self._knn

    def state_dict(self) -> dict[str, Any]:
        """The tree's positions and age."""
        return {"tree_means": self._tree_means, "tree_step": self._tree_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._tree_means, self._tree_step = state["tree_means"], state["tree_step"]
        if self._tree_means is not None:
            self._tree_means = self._tree_means.to(self.device)
            self._knn.update(self._tree_means)


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


def make(options: Losses, run: Run) -> LossTerm:
    """Return the term for a training."""
    config = run.config
    return SpatialTerm(options, config.la_knn, run.schedule, run.device_generator)
