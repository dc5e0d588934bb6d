"""Training of many variants of one scene and seed; iterations that they share run once.

IGD, LA-KNN and the options beyond the paper start at some iteration. Until then variants that
differ only in them are equal. So one run, the trunk, trains with all of them off, and each variant
continues from a copy of its state. On a CPU the results equal those of separate runs bit for bit.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradiseg_core.config.parts import Igd, NearPruning
from gradiseg_core.config.train import LaKnn, TrainConfig
from gradiseg_core.splatting.parts import REFERENCE_ITERATIONS
from gradiseg_core.splatting.trainer import Trainer
from gradiseg_core.splatting.views import TrainingData

logger = logging.getLogger(__name__)

_NEVER = 10**9  # an iteration that no run reaches


@dataclass(frozen=True)
class Branch:
    """One variant.

    Attributes:
        name: Its name.
        config: Its training parameters.
    """

    name: str
    config: TrainConfig

    @property
    def trunk(self) -> TrainConfig:
        """The parameters of its trunk, which trains the same up to :attr:`start`."""
        losses, la_knn = self.config.losses, self.config.la_knn
        direction = "first_moment" if la_knn is None else la_knn.direction
        return self.config.model_copy(
            update={
                "igd": Igd(start=_NEVER, until=_NEVER),
                # `last` keeps gradients from the first iteration on.
                "la_knn": LaKnn(start=_NEVER, direction=direction),
                "near_pruning": NearPruning(),
                "losses": losses.model_copy(
                    update={
                        "robustness": 0.0,
                        "robust_start": 0,
                        "disagreement_width": 0.0,
                        "identity_geometry_start": _NEVER if losses.identity_geometry_start else 0,
                    }
                ),
                "labels": "encodings",  # read from the result; training does not depend on it
            }
        )

    @property
    def start(self) -> int:
        """Last iteration, of the paper's 30,000, at which it equals its trunk."""
        losses, igd, la_knn = self.config.losses, self.config.igd, self.config.la_knn
        starts = [
            _NEVER if igd is None else igd.start,
            _NEVER if la_knn is None else la_knn.start,
            losses.robust_start if losses.robustness or losses.disagreement_width else _NEVER,
            losses.identity_geometry_start or _NEVER,
            _NEVER if self.config.near_pruning.ratio is None else self.config.near_pruning.start,
        ]
        return min(starts)


def train_branches(
    load: Callable[[TrainConfig], TrainingData],
    branches: Sequence[Branch],
    seed: int,
    device: torch.device,
) -> Iterator[tuple[Branch, Trainer]]:
    """Train every branch; yield each with its trainer at the end of its run.

    Args:
        load: Reads the scene for a configuration.
        branches: In any order; they are yielded trunk by trunk, the earliest start first.
        seed: Seed of all of them.
        device: Where they train.
    """
    trunks: list[tuple[TrainConfig, list[Branch]]] = []
    for branch in branches:
        mates = next((found for trunk, found in trunks if trunk == branch.trunk), None)
        if mates is None:
            trunks.append((branch.trunk, [branch]))
        else:
            mates.append(branch)
    for config, members in trunks:
        data = load(config)
        trunk = Trainer(data, config, seed, device=device)
        for branch in sorted(members, key=lambda member: member.start):
            shared = min(
                branch.start * config.iterations // REFERENCE_ITERATIONS, config.iterations
            )
            _advance(trunk, shared)
            logger.info(
                "%s: branches off at iteration %d of %d", branch.name, shared, config.iterations
            )
            trainer = Trainer(data, branch.config, seed, device=device)
            trainer.load_state_dict(copy.deepcopy(trunk.state_dict()))
            _advance(trainer, config.iterations)
            trainer.prefetcher.close()
            yield branch, trainer
        trunk.prefetcher.close()


def _advance(trainer: Trainer, step: int) -> None:
    while trainer.step < step:
        trainer.iterate()
    trainer.watch.check(trainer.step)


def fingerprint(branch: Branch) -> dict[str, Any]:
    """Return, as JSON data, all that may differ between branches of one scene and seed."""
    return {"train": branch.config.model_dump(mode="json")}
