"""The paper's schedule, scaled to the length of a run."""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE_ITERATIONS = 30_000


@dataclass(frozen=True)
class Schedule:
    """Maps iteration numbers of the paper's 30,000 to a run of ``iterations``.

    Comparisons are made in integers (step x 30,000 against number x iterations), so a run of 30,000
    follows the paper exactly and any other has its events at the same fractions. Steps count
    from 1.

    Attributes:
        iterations: Length of the run.
        views: Number of training views. Densification and IGD decide by means and sums over views.
            In short runs their intervals are therefore at least one pass over the views, or the
            paper's own interval where that is shorter.
    """

    iterations: int
    views: int = 1

    def after(self, step: int, number: int) -> bool:
        """Whether ``step`` lies after the paper's iteration ``number``."""
        return step * REFERENCE_ITERATIONS > number * self.iterations

    def before(self, step: int, number: int) -> bool:
        """Whether ``step`` lies before the paper's iteration ``number``."""
        return step * REFERENCE_ITERATIONS < number * self.iterations

    def count(self, step: int, every: int) -> int:
        """How many events of an interval of ``every`` paper iterations are due up to ``step``."""
        return step * REFERENCE_ITERATIONS // (every * self.iterations)

    def steps(self, number: int) -> int:
        """The first step that does not lie before the paper's iteration ``number``."""
        return -(-number * self.iterations // REFERENCE_ITERATIONS)

    def due(self, step: int, every: int) -> bool:
        """Whether at least one event of that interval falls on ``step``."""
        interval = max(every * self.iterations, min(every, self.views) * REFERENCE_ITERATIONS)
        return (
            step * REFERENCE_ITERATIONS // interval > (step - 1) * REFERENCE_ITERATIONS // interval
        )
