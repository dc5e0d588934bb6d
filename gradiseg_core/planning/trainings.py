"""What a training takes: a cheaper part, and a dearer one once all of its losses are on.

Formulas were measured on two cores (AMD EPYC, AVX-512) at commit fc0f4c6: the made scene of
:mod:`.probe`, and three captures of tables and a shelf.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradiseg_core.config.train import TrainConfig

_PAPER = 30_000  # iterations, in which a schedule is written
#: Reading the views, PSNR of the test views now and then, writing the scene: seconds of one core.
_AROUND_S = 6.0
#: What IGD adds in the end, as a share of the Gaussians at its start: 0.05 to 0.22 were measured.
_ADDED_BY_IGD = 0.1


@dataclass(frozen=True)
class Iterations:
    """What an iteration takes, seconds.

    Attributes:
        early: Before all losses are on.
        late: After that.
    """

    early: float
    late: float

    def mean(self, config: TrainConfig) -> float:
        """Return the mean over a whole training."""
        share = late_from(config)
        return share * self.early + (1 - share) * self.late


def late_from(config: TrainConfig) -> float:
    """Return the share of a training after which nothing is added to its losses; 1: never."""
    losses = config.losses
    starts = [
        losses.robust_start if losses.robustness or losses.disagreement_width else 0,
        losses.identity_geometry_start,
        config.la_knn.start if config.la_knn is not None else 0,
    ]
    return min(1.0, max(starts) / _PAPER) or 1.0


def grown(config: TrainConfig, count: float) -> float:
    """Return how many Gaussians there are after IGD, as trainings usually go.

    Args:
        config: Of the training.
        count: Gaussians after densification.
    """
    return count * (1 + (0 if config.igd is None else min(_ADDED_BY_IGD, config.igd.max_growth)))


def at_most(config: TrainConfig, count: float) -> float:
    """Return how many Gaussians there may be after IGD.

    Args:
        config: Of the training.
        count: Gaussians after densification.
    """
    if config.igd is None:
        return count
    return count * (1 + config.igd.max_growth)


def by_formula(
    config: TrainConfig, size: tuple[int, int], count: float, *, gpu: bool
) -> Iterations:
    """Return what iterations take, in seconds of one core or of a GPU.

    Args:
        config: Of the training.
        size: Width and height of its images, px.
        count: Gaussians after densification.
        gpu: Whether a GPU trains; that formula was not measured.
    """
    megapixels, losses = size[0] * size[1] / 1e6, config.losses
    if gpu:
        each = [5 + 10 * megapixels + 6 * number / 1e6 for number in (count, grown(config, count))]
        return Iterations(each[0] / 1000, each[1] / 1000)
    all_on = losses.robustness or losses.disagreement_width or losses.identity_geometry_start
    early = 1 + 230 * megapixels + 0.75 * count / 1000
    late = 1 + (370 if all_on else 230) * megapixels + 0.8 * grown(config, count) / 1000
    return Iterations(early / 1000, late / 1000)


def core_seconds(
    config: TrainConfig, size: tuple[int, int], count: float, done: float, *, gpu: bool
) -> float:
    """Return what a training takes, as :func:`by_formula`.

    Args:
        config: Of the training.
        size: Width and height of its images, px.
        count: Gaussians after densification.
        done: Share of its iterations that were done before.
        gpu: Whether a GPU trains.
    """
    each, late = by_formula(config, size, count, gpu=gpu), late_from(config)
    rest = max(0.0, late - done) * each.early + (1 - max(late, done)) * each.late
    return config.iterations * rest + _AROUND_S


def rest_of(config: TrainConfig, each: Iterations, done: float, said: float) -> float:
    """Return how long a training will still run, where the speed so far would give a time.

    Args:
        config: Of the training.
        each: What its iterations take, in any unit.
        done: Share of its iterations that are done.
        said: What is left at the present speed, seconds.
    """
    late = late_from(config)
    if done >= late:
        return said
    return said * ((late - done) + (1 - late) * each.late / each.early) / (1 - done)
