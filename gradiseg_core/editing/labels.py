"""What single Gaussians are: F(e_i) of every Gaussian, without the [N, C] table of it."""

from __future__ import annotations

import torch
from torch import Tensor

from gradiseg_core.files.trained import TrainedScene
from gradiseg_core.splatting.losses.identity import probabilities

_CHUNK = 65536  # Gaussians classified at once


@torch.no_grad()
def most_probable(trained: TrainedScene) -> tuple[Tensor, Tensor]:
    """Return every Gaussian's most probable ID, [N] int64, and its probability, [N] float32."""
    ids, certainty = [], []
    for part in trained.identities.split(_CHUNK):
        logits = trained.classifier(part)
        best = logits.max(dim=1)
        ids.append(best.indices)
        certainty.append((best.values - logits.logsumexp(dim=1)).exp())
    if not ids:
        device = trained.identities.device
        return torch.empty(0, dtype=torch.int64, device=device), torch.empty(0, device=device)
    return torch.cat(ids), torch.cat(certainty)


def probability_of(trained: TrainedScene, ids: list[int]) -> Tensor:
    """Return the probability that a Gaussian is any of some IDs, [N] float32.

    Raises:
        ValueError: If an ID has no class.
    """
    return probabilities(trained.identities, trained.classifier, torch.tensor(ids)).sum(dim=1)
