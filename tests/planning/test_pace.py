"""What is left of a run follows how it goes, by the jobs that have ended in it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gradiseg_core.config.root import Settings, load
from gradiseg_core.planning import budgets, costs, estimate, reporting
from gradiseg_core.planning.costs import Job
from gradiseg_core.planning.pace import in_words, pace
from gradiseg_core.planning.rates import Rates
from gradiseg_core.stages.report.status import Job as Known
from tests.planning.photographs import photographs

STAGES = ("scene", "colmap", "geometry")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "photos", 20)
    raw = {"scenes": {"a": {"path": str(tmp_path / "photos")}}, "quality": "draft"}
    return load(raw, budget_of=budgets.budget_maker(2))


def known(settings: Settings, times: float, *, log: str = "", age: float = 0.0) -> list[Known]:
    """Jobs, of which the first took so many times as long as planned, except for the cameras."""
    scene = costs.scene_of(settings, "a")
    jobs = []
    for stage in STAGES:
        seconds = costs.wall(settings, Job(stage, "a"), scene, 2)
        seconds *= 1 if stage == "colmap" else times
        folder = Path("results/a")
        for path, text in ((f"benchmarks/{stage}.tsv", "s\n1\n"), (f"logs/{stage}.log", log)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
            os.utime(folder / path, (time.time() - age, time.time() - age))
        jobs.append(Known("a", None, None, stage, "done", folder / stage, None, seconds))
    train = Known("a", "gradiseg_plus", 0, "train", "missing", Path("train"))
    return [*jobs, train]


def test_what_is_to_come_takes_longer_where_what_ended_did(settings: Settings) -> None:
    begun = time.time() - 60
    slow, usual = known(settings, 3.0), known(settings, 1.0)
    assert pace(settings, usual, 2, Rates(), begun) == pytest.approx(1)
    found = pace(settings, slow, 2, Rates(), begun)
    assert 1.5 < found < 3
    planned = estimate.remaining(settings, slow, 2, Rates())
    assert estimate.remaining(settings, slow, 2, Rates(), found) == pytest.approx(found * planned)
    said = reporting.left(settings, slow, 2, Rates(), begun)
    assert said.startswith("3 of 4 jobs done, about ")
    assert said.endswith(f" (so far {found:.1f} times as long as planned)")
    assert "as planned" not in reporting.left(settings, usual, 2, Rates(), begun)


def test_what_says_nothing_of_this_run_does_not_count(settings: Settings) -> None:
    begun = time.time() - 60
    assert pace(settings, known(settings, 3.0, age=100), 2, Rates(), begun) == 1  # an earlier run
    compiled = known(settings, 3.0, log="compiling CPU kernels once\n")
    assert pace(settings, compiled, 2, Rates(), begun) == 1
    cameras = [job for job in known(settings, 1.0) if job.stage == "colmap"]
    assert pace(settings, cameras, 2, Rates(), begun) == 1
    assert pace(settings, known(settings, 100.0), 2, Rates(), begun) == 4
    assert (in_words(1.2), in_words(0.9)) == ("", "")
    assert in_words(0.5) == " (so far 0.5 times as long as planned)"
