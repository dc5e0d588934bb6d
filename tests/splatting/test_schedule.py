from __future__ import annotations

import pytest

from gradiseg_core.splatting.parts import Schedule


def test_thirty_thousand_is_the_paper() -> None:
    schedule = Schedule(30_000)
    due = [step for step in range(1, 30_001) if schedule.due(step, 100)]
    assert due == list(range(100, 30_001, 100))
    assert not schedule.after(12_000, 12_000)
    assert schedule.after(12_001, 12_000)
    assert schedule.before(11_999, 12_000)
    assert not schedule.before(12_000, 12_000)


@pytest.mark.parametrize("iterations", [300, 2000, 7001, 60_000])
def test_other_lengths_have_the_same_number_of_events(iterations: int) -> None:
    schedule = Schedule(iterations)
    # Intervals of 3,000: ten events in any run, the last at its end.
    due = [step for step in range(1, iterations + 1) if schedule.due(step, 3000)]
    assert len(due) == 10
    assert due[-1] == iterations
    share = sum(schedule.before(step, 12_000) for step in range(1, iterations + 1)) / iterations
    assert share == pytest.approx(0.4, abs=1.0 / iterations + 1e-9)


def test_short_runs_keep_intervals_of_one_pass_over_the_views() -> None:
    # 100 of 30,000 is every 6.7th of 2,000, but 40 views must have been seen in between.
    due = [step for step in range(1, 2001) if Schedule(2000, views=40).due(step, 100)]
    assert due == list(range(40, 2001, 40))
    # However many views there are, 30,000 iterations follow the paper.
    due = [step for step in range(1, 1001) if Schedule(30_000, views=300).due(step, 100)]
    assert due == list(range(100, 1001, 100))


@pytest.mark.parametrize("iterations", [1, 700, 7_000, 30_000, 45_000])
@pytest.mark.parametrize("number", [0, 1, 500, 12_001, 30_000])
def test_steps_is_the_first_that_is_not_before(iterations: int, number: int) -> None:
    schedule = Schedule(iterations)
    step = schedule.steps(number)
    assert not schedule.before(step, number)
    assert schedule.before(step - 1, number)
    assert Schedule(15_000).steps(500) == 250
