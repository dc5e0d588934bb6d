"""What a run will take: by formulas, by what this machine took before, by a timed training."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from gradiseg_core import cli
from gradiseg_core.compute import machine
from gradiseg_core.config.root import Settings, load
from gradiseg_core.config.train import TrainConfig
from gradiseg_core.config.variants import with_variant
from gradiseg_core.errors import InputError
from gradiseg_core.planning import costs, estimate, probe, rates, reporting, trainings
from gradiseg_core.planning.budgets import budget_maker
from gradiseg_core.planning.costs import Job, Scene
from gradiseg_core.planning.estimate import Estimate
from gradiseg_core.planning.rates import Rates
from gradiseg_core.planning.trainings import Iterations
from gradiseg_core.stages.report.status import Job as Known
from gradiseg_core.stages.training.progress import save_checkpoint


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(rates.FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv(reporting.PLANNED, raising=False)
    monkeypatch.chdir(tmp_path)


def settings(tmp_path: Path, count: int = 36, **keys: Any) -> Settings:
    folder = tmp_path / "photos"
    if not folder.exists():
        folder.mkdir()
        for number in range(count):
            Image.new("RGB", (400, 300)).save(folder / f"{number}.jpg")
    raw = {"scenes": {"a": {"path": "photos"}}, "quality": "draft"} | keys
    return load(raw, budget_of=budget_maker(2))


def test_the_plan_is_one_line_of_all_stages(tmp_path: Path) -> None:
    made = settings(tmp_path)
    jobs = estimate.jobs_to_do(made, views=True)
    assert {job.stage for job in jobs} == {
        *("scene", "colmap", "geometry", "tracking", "train", "render", "grounding", "metrics"),
        *("view", "curves", "comparison", "scene_report", "tables", "quality"),
    }
    whole = estimate.estimate(made, jobs, 2, Rates())
    assert list(whole.seconds) == [
        *("photographs", "cameras", "objects", "training", "pictures and scores")
    ]
    assert 2 * 60 < whole.total < 9 * 60  # `draft` of a small scene, for about 8 minutes
    assert whole.line.startswith(f"about {whole.total / 60:.0f} min on 2 cores (by another")
    assert ": photographs 10 s, cameras 10 s, objects 50 s, training" in whole.line
    assert "; memory 1." in whole.line
    assert whole.total == pytest.approx(sum(whole.seconds.values()))


def test_standard_of_photographs_of_a_phone_takes_what_it_promises(tmp_path: Path) -> None:
    made = settings(tmp_path, quality="standard", train={"longest_side": 736})
    phone = Scene(views=40, size=(4000, 3000))
    jobs = estimate.jobs_to_do(made, views=True)
    total = sum(costs.wall(made, job, phone, 2) for job in jobs)
    assert 22 * 60 < total < 36 * 60


def test_trainings_run_side_by_side(tmp_path: Path) -> None:
    two = settings(tmp_path, seeds=[0, 1])
    jobs = [Job("train", "a", "gradiseg_plus", seed) for seed in (0, 1)]
    one = estimate.estimate(two, jobs[:1], 2, Rates())
    both = estimate.estimate(two, jobs, 2, Rates())
    assert both.total == pytest.approx(one.total)  # one core for each
    assert both.memory == pytest.approx(2 * one.memory)
    assert estimate.estimate(two, jobs, 1, Rates()).total == pytest.approx(2 * one.total)


def test_this_machine_is_learned_from(tmp_path: Path) -> None:
    made = settings(tmp_path)
    job = Job("geometry", "a")
    usual = costs.wall(made, job, costs.scene_of(made, "a"), 2)
    known = Rates()
    known.time("cpu", 2.0)
    assert known.factor("geometry", "cpu") == 2.0
    assert known.factor("geometry", "cuda") == 1.0
    known.save()
    folder = tmp_path / "results" / "a" / "benchmarks"
    folder.mkdir(parents=True)
    for seconds in (6 * usual, 3 * usual, 3 * usual):
        (folder / "geometry.tsv").write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0\t900\n")
        rates.learn_from(made, [job, Job("train", "a", "gradiseg_plus", 0)], 2, since=0.0)
    learned = rates.load()
    assert learned.stages == {"geometry cpu": [3.0, 1.5, 1.5]}
    assert learned.factor("geometry", "cpu") == pytest.approx(3.0)  # of 1, 1.5, 1.5, 3
    assert learned.measured("train", "cpu")  # by the timed training
    said = estimate.estimate(made, [job], 2, learned)
    assert said.total == pytest.approx(3 * usual, rel=1e-3)
    assert "another machine" not in said.line
    rates.learn_from(made, [job], 2, since=time.time() + 10)  # of an older run
    (folder / "geometry.tsv").write_text("s\th:m:s\tmax_rss\n1.0\t0\t-\n")  # nothing but a start
    rates.learn_from(made, [job], 2, since=0.0)
    assert rates.load().stages == learned.stages
    (folder / "geometry.tsv").write_text(f"s\th:m:s\tmax_rss\n{9 * usual}\t0\t900\n")
    log = folder.parent / "logs" / "geometry.log"
    log.parent.mkdir()
    log.write_text("2026 WARNING x: compiling CPU kernels, once on this machine, about 20 s\n")
    rates.learn_from(made, [job], 2, since=0.0)  # which says little of the next time
    assert rates.load().stages == learned.stages
    log.write_text("2026 INFO x: 36 views\n")
    rates.learn_from(made, [job], 2, since=0.0)
    assert rates.load().stages != learned.stages


def test_few_jobs_are_remembered_and_mistakes_are_bounded() -> None:
    known = Rates()
    for factor in (1.0, 2.0, 3.0, 4.0, 5.0, 1e9):
        known.learn("train", "cpu", factor)
    assert known.stages["train cpu"] == [2.0, 3.0, 4.0, 5.0, 50.0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "machine": 3}', '{"version": 0}'])
def test_a_file_of_no_use_is_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rates.json").write_text(text)
    assert rates.load() == Rates()


def test_a_single_job_is_half_of_what_is_known() -> None:
    known = Rates()
    known.learn("colmap", "cpu", 3.0)
    assert known.factor("colmap", "cpu") == pytest.approx(2.0)


def test_more_to_compute_takes_longer() -> None:
    """Measured: the made scene is a training, whose time follows pixels and Gaussians."""
    config = with_variant(TrainConfig(iterations=1000), "gradiseg_plus")
    small = probe.time_iterations(config, (64, 48), 300, 1)
    large = probe.time_iterations(config, (320, 240), 4000, 1)
    assert large.early > 2 * small.early > 0
    assert large.late > large.early
    plain = with_variant(TrainConfig(iterations=1000), "baseline")
    found = probe.time_iterations(plain, (64, 48), 300, 1)
    assert found.late == found.early


def test_a_training_is_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(tmp_path)
    asked = []

    def timed(config: TrainConfig, size: tuple[int, int], count: int, *rest: Any) -> Iterations:
        asked.append((config, size, count, *rest))
        usual = trainings.by_formula(config, size, count, gpu=False)
        return Iterations(3 * usual.early / 1.75, 3 * usual.late / 1.75)

    monkeypatch.setattr(probe, "time_iterations", timed)
    jobs = estimate.jobs_to_do(made, views=False)
    known = Rates()
    assert estimate.time_training(made, jobs, 2, known) is None
    ((config, size, count, threads, device),) = asked
    assert (config.iterations, size, count, threads) == (3000, (400, 300), 20_000, 2)
    assert device == torch.device("cpu")
    assert known.machine == {"cpu": pytest.approx(3.0)}
    assert estimate.time_training(made, jobs, 2, known) is None
    assert len(asked) == 1
    assert estimate.time_training(made, [Job("render", "a")], 2, Rates()) is None
    assert len(asked) == 1


def test_kernels_that_are_new_take_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings(tmp_path)
    monkeypatch.setattr(probe, "is_cold", lambda kernel: True)
    jobs = [Job("geometry", "a"), Job("render", "a", "gradiseg_plus", 0)]
    new = estimate.to_compile(jobs)
    assert new == {"geometry": 9.0}
    usual = estimate.estimate(made, jobs, 2, Rates())
    first = estimate.estimate(made, jobs, 2, Rates(), new)
    assert first.seconds["objects"] == pytest.approx(usual.seconds["objects"] + 9)
    assert first.total == pytest.approx(usual.total + 9)
    monkeypatch.setattr(probe, "is_cold", lambda kernel: False)
    assert estimate.to_compile(jobs) == {}
    assert estimate.to_compile([Job("render", "a")]) == {}


def test_the_rest_of_a_training_that_was_stopped(tmp_path: Path) -> None:
    made = settings(tmp_path)
    job = Job("train", "a", "gradiseg_plus", 0)
    config = made.section("a", "train", "gradiseg_plus")
    assert isinstance(config, TrainConfig)
    whole = estimate.estimate(made, [job], 2, Rates()).total
    work = tmp_path / "results" / "a" / ".work" / "gradiseg_plus" / "0" / "checkpoints"
    save_checkpoint(work, {}, {"iteration": 2700, "digest": config.digest(0)})
    assert costs.done_before(made, job) == pytest.approx(0.9)
    assert estimate.estimate(made, [job], 2, Rates()).total < 0.3 * whole
    before = [Job("tracking", "a"), job]  # after which it begins anew
    tracked = estimate.estimate(made, before[:1], 2, Rates()).total
    assert estimate.estimate(made, before, 2, Rates()).total == pytest.approx(whole + tracked)
    save_checkpoint(work, {}, {"iteration": 2700, "digest": config.digest(1)})
    assert costs.done_before(made, job) == 0
    (work / "checkpoint.json").write_text("[]")
    assert costs.done_before(made, job) == 0


def test_a_gpu_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    made = settings(tmp_path, train={"device": "cuda"})
    if torch.cuda.is_available():
        pytest.skip("there is one")
    why = estimate.time_training(made, estimate.jobs_to_do(made, views=False), 2, Rates())
    assert why is not None
    assert "train.device" in why


Usage = namedtuple("Usage", "total used free")


def test_disk_and_memory_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Estimate({"training": 60.0}, memory=2e9, disk=5e9, cores=2)
    results = tmp_path / "not" / "there" / "yet"
    monkeypatch.setattr(estimate.os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: Usage(9e9, 0, 5.1e9))
    with pytest.raises(InputError, match=r"writes about 5.0 GB to .*yet, .* has 5.1 GB free: make"):
        estimate.check(made, results)
    monkeypatch.setattr(estimate.shutil, "disk_usage", lambda path: Usage(9e9, 0, 5.3e9))
    monkeypatch.setattr(machine, "memory_bytes", lambda: 4_000_000_000)
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 3_000_000_000)
    assert estimate.check(made, results) == []
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 1_000_000_000)
    assert "2.0 GB of memory, of which 1.0 are free" in estimate.check(made, results)[0]
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1_500_000_000)
    assert "this machine has 1.5: lower" in estimate.check(made, results)[0]
    with monkeypatch.context() as patch:
        patch.setattr(estimate.shutil, "disk_usage", lambda path: Usage(9e9, 0, 5.1e9))
        with pytest.raises(InputError, match=r"5\.1 GB free.* this machine has 1\.5"):
            estimate.check(made, results)
    monkeypatch.setattr(estimate.os, "getloadavg", lambda: (40.0, 0.5, 0.5))
    assert "other programs are at work here (40 want" in estimate.check(made, results)[1]
    assert estimate.check(Estimate(), results) == []


def test_results_that_are_made_again_are_not_done_yet(tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("old", "new", "kept")]
    for output in outputs:
        output.mkdir()
        os.utime(output, (100.0, 100.0))
    os.utime(outputs[1], (300.0, 300.0))
    known = [Known("a", None, None, output.name, "done", output) for output in outputs]
    found = reporting.not_yet(known, {*outputs[:2]}, begun=200.0)
    assert [job.state for job in found] == ["missing", "done", "done"]


def test_every_time_has_its_unit() -> None:
    made = Estimate({"cameras": 130.0, "training": 11 * 3600.0}, 1e9, 1e9, 2, measured=True)
    assert made.line.startswith("about 11 h on 2 cores: cameras 2 min, training 11 h; memory")


def test_what_is_left_while_it_runs(tmp_path: Path) -> None:
    made = settings(tmp_path)

    def known(**states: Any) -> list[Known]:
        runs = {"train", "render"}
        return [
            Known("a", "gradiseg_plus" if stage in runs else None, 0 if stage in runs else None,
                  stage, state, Path(stage), seconds=seconds)
            for stage, (state, seconds) in states.items()
        ]  # fmt: skip

    def left(**states: Any) -> float:
        return estimate.remaining(made, known(**states), 2, Rates())

    train, render = (left(**{stage: ("missing", None)}) for stage in ("train", "render"))
    assert left(train=("missing", None), render=("missing", None)) == pytest.approx(train + render)
    assert left(train=("done", 9.0), render=("failed", None)) == pytest.approx(render)
    half = left(train=("running", train / 2), render=("missing", None))
    assert half == pytest.approx(train / 2 + render)
    assert left(train=("running", 100 * train)) == pytest.approx(0.1 * train)
    (told,) = known(train=("running", 1.0))
    told = replace(
        told, message="demo: 50 %, 1500 of 3000 it, 1.5 min left at this speed, loss 0.1"
    )
    assert estimate.remaining(made, [told], 2, Rates()) == 90
    (tmp_path / "a.log").write_text("a line\n")
    os.utime(tmp_path / "a.log", (time.time() - 30, time.time() - 30))
    aged = replace(told, log=tmp_path / "a.log")  # said half a minute ago
    assert estimate.remaining(made, [aged], 2, Rates()) == pytest.approx(60, abs=5)
    early = replace(told, message="demo: 10 %, 300 of 3000 it, 90 s left, loss 0.1")
    assert estimate.remaining(made, [early], 2, Rates()) > 100  # iterations get slower
    other = replace(told, stage="colmap", message="10 %, 1 of 10 images, 2 min left")
    assert estimate.remaining(made, [other], 2, Rates()) == 120
    said = reporting.left(made, known(train=("done", 9.0), render=("running", 1.0)), 2, Rates())
    assert said.startswith("1 of 2 jobs done, about ")
    assert left(train=("done", 1.0)) == 0


def test_what_is_left_is_printed_when_a_job_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = settings(tmp_path)
    states = iter(["missing"] * 3 + ["done"] * 1000)

    def known(*_: Any, **__: Any) -> list[Known]:
        scene = Known("a", None, None, "scene", next(states), Path("scene"))
        return [scene, Known("a", None, None, "colmap", "missing", Path("colmap"))]

    monkeypatch.setattr(reporting, "known_jobs", known)
    monkeypatch.setattr(reporting, "_LOOK_S", 0.01)
    monkeypatch.setattr(reporting, "_APART_S", 0.0)
    with reporting.reporting(made, 2):
        end = time.monotonic() + 20
        said = ""
        while "left" not in said and time.monotonic() < end:
            time.sleep(0.02)
            said += capsys.readouterr().out
        time.sleep(0.1)
        said += capsys.readouterr().out
    (line,) = said.splitlines()
    assert line.startswith("[plan] 1 of 2 jobs done, about ")


def test_status_says_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gradiseg_core.stages.report import status

    settings(tmp_path)
    text = json.dumps({"scenes": {"a": {"path": "photos"}}, "quality": "draft"})
    (tmp_path / "my.yaml").write_text(text)
    (tmp_path / "results" / "a" / "logs").mkdir(parents=True)
    assert cli.main(["status", "--configfile", "my.yaml"]) == 0
    assert "left of the whole" not in capsys.readouterr().out  # nothing runs
    (tmp_path / "results" / "a" / "logs" / "scene.log").write_text("working\n")
    begun = {(tmp_path / "results" / "a" / "scene"): time.time()}
    marks = status._Marks(begun, kept=True, active=True, locked=True)
    monkeypatch.setattr(status._Marks, "of", lambda results: marks)
    assert cli.main(["status", "--configfile", "my.yaml"]) == 0
    told = r"0 of 13 jobs done, about [\d.]+ min left of the whole run, until \d\d:\d\d"
    assert re.search(told, capsys.readouterr().out)


def test_snakemake_warns_of_the_papers_defaults_on_a_cpu(tmp_path: Path) -> None:
    paper = settings(tmp_path, quality="paper")
    jobs = estimate.jobs_to_do(paper, views=False)
    plan, advice = reporting.say_plan(paper, jobs, 2)
    assert " h on 2 cores (by another machine's times): " in plan
    assert "`quality: standard` in the configuration" in advice
    draft = settings(tmp_path)
    assert len(list(reporting.say_plan(draft, estimate.jobs_to_do(draft, views=False), 2))) == 1
    assert list(reporting.say_plan(draft, [], 2)) == []
    os.environ[reporting.PLANNED] = "yes"
    assert list(reporting.say_plan(draft, jobs, 2)) == []
    del os.environ[reporting.PLANNED]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "10 s"),
        (44, "40 s"),
        (100, "1.5 min"),
        (210, "3.5 min"),
        (400, "7 min"),
        (5000, "83 min"),
        (7000, "1.9 h"),
        (9e4, "25 h"),
    ],
)
def test_times_are_as_rough_as_they_are_known(seconds: float, words: str) -> None:
    assert estimate.duration(seconds) == words


def test_nothing_is_said_of_a_run_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may end while the files of its jobs are looked at."""
    made = settings(tmp_path)
    looks = threading.Semaphore(0)
    states = iter(["missing", "done"])

    def known(*_: Any, **__: Any) -> list[Known]:
        state = next(states, "done")
        looks.release()
        if state == "done":
            time.sleep(0.3)
        scene = Known("a", None, None, "scene", state, Path("scene"))
        return [scene, Known("a", None, None, "colmap", "missing", Path("colmap"))]

    monkeypatch.setattr(reporting, "known_jobs", known)
    monkeypatch.setattr(reporting, "_LOOK_S", 0.01)
    monkeypatch.setattr(reporting, "_APART_S", 0.0)
    with reporting.reporting(made, 2):
        looks.acquire()
        looks.acquire()
    time.sleep(0.5)
    assert capsys.readouterr().out == ""
