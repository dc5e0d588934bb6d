"""Many variants of one scene and seed, sharing the iterations in which they are the same.

IGD, LA-KNN and the options beyond the paper act from some iteration on only. Variants that differ
in nothing else are equal until then, so one run, the trunk, goes ahead with all of them off, and
each variant goes on from a copy of its state. The results are those of separate runs, bit for bit
on a CPU.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradiseg_core.config.train import Igd, LaKnn, NearPruning, TrainConfig, Variant
from gradiseg_core.schedule import REFERENCE_ITERATIONS
from gradiseg_core.training.data import TrainingData
from gradiseg_core.training.trainer import Trainer

logger = logging.getLogger(__name__)

_NEVER = 10**9  # an iteration that no run reaches


@dataclass(frozen=True)
class Branch:
    """One variant.

    Attributes:
        name: What it is called.
        base: The built-in variant that it starts from.
        config: Its training parameters.
    """

    name: str
    base: Variant
    config: TrainConfig

    @property
    def trunk(self) -> tuple[Variant, TrainConfig]:
        """The base and the parameters of the run that it is equal to up to :attr:`start`."""
        losses = self.config.losses
        direction = self.config.la_knn.direction if self._uses_la_knn else "first_moment"
        quiet = self.config.model_copy(
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
                        "identity_geometry": 0.0
                        if losses.identity_geometry_start
                        else losses.identity_geometry,
                        "identity_geometry_start": 0,
                    }
                ),
                "labels": "encodings",  # are read from the result, however it was trained
            }
        )
        return ("baseline" if self.base == "baseline" else "gradiseg"), quiet

    @property
    def start(self) -> int:
        """Iteration of the paper's 30,000 up to which it equals its trunk."""
        losses = self.config.losses
        starts = [
            self.config.igd.start if self.base in ("igd", "gradiseg") else _NEVER,
            self.config.la_knn.start if self._uses_la_knn else _NEVER,
            losses.robust_start if losses.robustness or losses.disagreement_width else _NEVER,
            losses.identity_geometry_start or _NEVER,
            _NEVER if self.config.near_pruning.ratio is None else self.config.near_pruning.start,
        ]
        return min(starts)

    @property
    def _uses_la_knn(self) -> bool:
        return self.base in ("la_knn", "gradiseg")


def train_branches(
    load: Callable[[TrainConfig], TrainingData],
    branches: Sequence[Branch],
    seed: int,
    device: torch.device,
) -> Iterator[tuple[Branch, Trainer]]:
    """Train every branch; yield each with its trainer at the end of its run.

    Args:
        load: Reads the scene for a configuration.
        branches: In any order; they come out trunk by trunk, the earliest start first.
        seed: Seed of all of them.
        device: Where they train.
    """
    trunks: list[tuple[tuple[Variant, TrainConfig], list[Branch]]] = []
    for branch in branches:
        mates = next((found for trunk, found in trunks if trunk == branch.trunk), None)
        if mates is None:
            trunks.append((branch.trunk, [branch]))
        else:
            mates.append(branch)
    for (base, config), members in trunks:
        data = load(config)
        trunk = Trainer(data, config, base, seed, device=device)
        for branch in sorted(members, key=lambda member: member.start):
            shared = min(
                branch.start * config.iterations // REFERENCE_ITERATIONS, config.iterations
            )
            _advance(trunk, shared)
            logger.info(
                "%s: from iteration %d on its own, of %d", branch.name, shared, config.iterations
            )
            trainer = Trainer(data, branch.config, branch.base, seed, device=device)
            trainer.load_state_dict(copy.deepcopy(trunk.state_dict()))
            _advance(trainer, config.iterations)
            trainer.feed.close()
            yield branch, trainer
        trunk.feed.close()


def _advance(trainer: Trainer, step: int) -> None:
    while trainer.step < step:
        trainer.iterate()
    trainer.watch.check(trainer.step)


def fingerprint(branch: Branch) -> dict[str, Any]:
    """Return what tells a branch's result from another's of the same scene and seed, as JSON."""
    return {"base": branch.base, "train": branch.config.model_dump(mode="json")}
