"""`gradiseg run`: plain Snakemake, from any folder; nothing is left running when it is stopped."""

from __future__ import annotations

import base64
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gradiseg_core import cli, programs
from gradiseg_core.config.reading import read_files
from gradiseg_core.config.root import load
from gradiseg_core.planning import again, budgets, launch, workflow
from gradiseg_core.planning.place import Place
from gradiseg_core.planning.workflow import Command
from gradiseg_core.stages.training.progress import save_checkpoint
from tests.workflow.conftest import REPOSITORY


def photographs(folder: Path, count: int = 9) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(folder / f"{number}.jpg")
    return folder


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that would have run."""
    found: list[list[str]] = []

    def record(program: list[str]) -> int:
        found.append(list(program))
        return 0

    monkeypatch.setattr(launch, "watched", record)
    return found


@pytest.fixture(autouse=True)
def _untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed of time has tests of its own. Each run is a process of its own."""
    budgets._measured.cache_clear()
    monkeypatch.setattr(launch, "pending", lambda _: [])
    monkeypatch.setattr(launch, "time_training", lambda *_: None)


def test_a_folder_is_run_by_the_snakemake_that_is_printed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "photos" / "My kitchen")
    assert cli.main(["run", "photos/My kitchen", "--quality", "draft", "--cores", "3"]) == 0
    (program,) = started
    wanted = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")),
        *("--cores", "3", "all", "views", "--configfile", "My_kitchen.yaml"),
    ]
    assert program == wanted
    said = capsys.readouterr().out
    assert f"  {shlex.join([*programs.snakemake(), *wanted[3:]])}\n" in said
    assert "9 photographs, quality draft: gradiseg_plus, 3,500 iterations at 40 px" in said
    assert "quality: draft" in (tmp_path / "My_kitchen.yaml").read_text()
    assert (tmp_path / "results" / "My_kitchen" / "budget.json").is_file()


def test_it_goes_on_with_its_configuration_and_hands_arguments_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[list[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    assert cli.main(["run", "kitchen"]) == 0
    text = (tmp_path / "kitchen.yaml").read_text()
    again = ["run", "kitchen.yaml", "--quality", "draft", "--", "--forcerun", "train"]
    assert cli.main(again) == 0
    assert (tmp_path / "kitchen.yaml").read_text() == text
    assert started[0][-2:] == ["--configfile", "kitchen.yaml"]
    assert started[1][-8:] == [
        *("all", "views", "--forcerun", "train", "--configfile", "kitchen.yaml"),
        *("--config", "quality=draft"),
    ]
    assert (started[1].count("--quality"), started[0].count("--config")) == (0, 0)


def test_a_wrong_key_is_told_with_the_file_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    (tmp_path / "kitchen.yaml").write_text("scenes: {kitchen: {path: kitchen}}\ntrian: {}\n")
    assert cli.main(["run", "kitchen"]) == 1
    assert "gradiseg: kitchen.yaml is not valid:\n  trian: unknown" in capsys.readouterr().err


def test_a_plan_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    assert cli.main(["run", "kitchen", "--plan"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["kitchen"]
    assert not started
    assert f"{shlex.join(programs.snakemake())} --snakefile" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "gradiseg: nowhere: no such folder"),
        (["kitchen", "--", "--cores", "2"], "`--cores` is set by `gradiseg run` itself"),
        (["kitchen", "--", "--configfile=x"], "`--configfile=x` is set by `gradiseg run` itself"),
    ],
)
def test_what_is_wrong_is_one_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    assert cli.main(["run", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not started
    assert not (tmp_path / "kitchen.yaml").exists()


def test_photographs_are_counted_anew(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = photographs(tmp_path / "kitchen")
    assert cli.main(["run", "kitchen"]) == 0
    assert "kitchen: 9 photographs, quality" in capsys.readouterr().out
    shutil.copy(folder / "0.jpg", folder / "one more.jpg")
    budgets._measured.cache_clear()
    assert cli.main(["run", "kitchen"]) == 0
    assert "kitchen: 10 photographs, quality" in capsys.readouterr().out


def test_what_was_stopped_in_the_middle_is_left_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    assert cli.main(["run", "kitchen"]) == 0
    Path("results/kitchen/colmap").mkdir()
    mark = base64.urlsafe_b64encode(b"results/kitchen/colmap").decode()
    Path(".snakemake/incomplete").mkdir()
    Path(".snakemake/incomplete", mark).touch()
    colmap = again.Pending(Path("results/kitchen/colmap"), "colmap", "ok")
    for outputs in ([], [colmap]):  # what `snakemake --summary` says
        monkeypatch.setattr(launch, "pending", lambda _, outputs=outputs: outputs)
        capsys.readouterr()
        assert cli.main(["run", "kitchen"]) == 0
        assert ": cameras 10 s; memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "cause"), [("params changed", "the configuration"), ("code changed", "GradiSeg")]
)
def test_results_that_are_made_again_are_named(
    state: str,
    cause: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    assert cli.main(["run", "kitchen"]) == 0
    monkeypatch.setattr(launch, "pending", lambda _: [])
    capsys.readouterr()
    assert cli.main(["run", "kitchen"]) == 0
    said = capsys.readouterr().out
    assert "nothing is left to do\n" in said
    assert "made again" not in said
    run = Path("results/kitchen/gradiseg_plus/seed0")
    (run / "train").mkdir(parents=True)
    Path("results/kitchen/colmap").mkdir()
    header = "output_file\tdate\trule\tlog-file(s)\tstatus\tplan\n"
    table = header + "".join(
        f"{output}\t-\t{rule}\t-\t{status}\t{planned}\n"
        for output, rule, status, planned in [
            ("results/kitchen/scene", "scene", "ok", "no update"),
            (run / "train", "train", "ok", "update pending"),
            (run / "view.html", "view", "missing", "update pending"),
            ("results/kitchen/colmap", "colmap", state, "update pending"),
        ]
    )
    monkeypatch.setattr(launch, "pending", lambda _: again.read_summary("a line\n" + table))
    assert cli.main(["run", "kitchen"]) == 0
    said = capsys.readouterr().out
    assert f"made again, because {cause}" in said
    assert " changed: cameras, training\n" in said
    assert ": cameras " in said
    assert "objects" not in said  # their results stay
    monkeypatch.setattr(launch, "pending", lambda _: again.read_summary("Error in line 3\n"))
    assert cli.main(["run", "kitchen"]) == 0
    assert "is not known; by what is there:\nabout " in capsys.readouterr().out


def test_nothing_is_said_to_be_written_before_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    (tmp_path / "kitchen.yaml").symlink_to("nowhere/kitchen.yaml")  # cannot be written
    assert cli.main(["run", "kitchen"]) == 1
    said = capsys.readouterr()
    assert "gradiseg: kitchen.yaml: File exists" in said.err
    assert "written" not in said.out
    (tmp_path / "kitchen.yaml").unlink()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and allowed(path, mode))
    assert cli.main(["run", "kitchen"]) == 1
    said = capsys.readouterr()
    assert f"gradiseg: {tmp_path} cannot be written to" in said.err
    assert said.out == ""
    assert not started
    monkeypatch.setattr(os, "access", allowed)
    assert cli.main(["run", "kitchen"]) == 0
    assert "kitchen.yaml: is written, yours to change" in capsys.readouterr().out


def test_how_to_go_on_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    assert cli.main(["run", "kitchen"]) == 1
    told = capsys.readouterr().err
    assert "  gradiseg status --configfile kitchen.yaml\n" in told
    assert "  gradiseg run kitchen.yaml\n" in told
    monkeypatch.setattr(launch, "watched", lambda program: 130)
    assert cli.main(["run", "kitchen"]) == 130
    assert "stopped; what is finished is kept" in capsys.readouterr().out
    monkeypatch.setattr(launch, "watched", lambda program: 0)
    page = tmp_path / "results" / "kitchen" / "report.html"
    page.write_text("page")
    assert cli.main(["run", "kitchen"]) == 0
    assert capsys.readouterr().out.endswith("Where to look\n  results/kitchen/report.html\n")


def test_where_no_job_runs_nothing_is_timed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    monkeypatch.setattr(launch, "time_training", lambda *_: pytest.fail("timed"))
    assert cli.main(["run", "kitchen", "--", "--unlock"]) == 0
    assert started[0][-3:] == ["--unlock", "--configfile", "kitchen.yaml"]
    assert "Where to look" not in capsys.readouterr().out


def test_what_the_user_wrote_is_what_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    (tmp_path / "mine.yaml").write_text(
        "quality: draft\nscenes: {a: {path: kitchen}}\nvariants: [igd]\n"
        "train: {iterations: 50, downsample: 2}\n"
    )
    assert cli.main(["run", "mine.yaml"]) == 0
    said = capsys.readouterr().out
    assert "a: 9 photographs, quality draft: igd, 50 iterations at 1/2 of the size, at most" in said
    assert "this run takes" not in said
    assert cli.main(["run", "mine.yaml", "--quality", "standard"]) == 0
    assert "this run takes quality standard, which mine.yaml does not" in capsys.readouterr().out
    assert started[1][-2:] == ["--config", "quality=standard"]
    plus = "quality: draft\nscenes: {a: {path: kitchen}}\n"
    (tmp_path / "mine.yaml").write_text(plus)
    assert cli.main(["run", "mine.yaml"]) == 0
    # With those that IGD adds to the budget's 20,000.
    assert "at 40 px, at most 26,000 Gaussians\n" in capsys.readouterr().out


def test_a_configuration_is_run_in_its_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    """So that it goes on with the same photographs and results from anywhere."""
    photographs(tmp_path / "other" / "kitchen")
    configfile = tmp_path / "other" / "my.yaml"
    configfile.write_text("quality: draft\nscenes: {a: {path: kitchen}}\n")
    monkeypatch.chdir(tmp_path)
    snakemake = shlex.join(programs.snakemake())
    for written, folder in [
        ("other/my.yaml", "other"),
        (str(configfile), "other"),
        ("../my.yaml", ".."),
    ]:
        if folder == "..":
            monkeypatch.chdir(tmp_path / "other" / "kitchen")
        assert cli.main(["run", written]) == 0
        said = capsys.readouterr().out
        assert said.startswith(f"working in {folder}: what {written} names and makes is there\n")
        assert "a: 9 photographs" in said
        assert (
            f"\n  {snakemake} --snakefile {REPOSITORY / 'Snakefile'} --directory {folder} " in said
        )
        assert f" all views --configfile {folder}/my.yaml\n" in said
        assert started[-1][-2:] == ["--configfile", "my.yaml"]
    assert (tmp_path / "other" / "results" / "a" / "budget.json").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"other"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other" / "results" / "a" / "report.html").write_text("page")
    assert cli.main(["run", "other/my.yaml"]) == 0
    told = capsys.readouterr().out
    assert told.endswith("Where to look\n  other/results/a/report.html\n")
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    assert cli.main(["run", "other/my.yaml"]) == 1
    told = capsys.readouterr().err
    assert "  gradiseg status --configfile other/my.yaml\n" in told
    assert told.endswith("  gradiseg run other/my.yaml\n")
    log = tmp_path / "other" / "results" / "a" / "logs" / "scene.log"
    log.parent.mkdir()
    log.write_text("2026-11-26 10:00:00,1 ERROR gradiseg_core.x: no such photograph\n")
    assert cli.main(["status", "--configfile", "other/my.yaml"]) == 0
    told = capsys.readouterr().out
    assert "  a: scene: no such photograph\n    other/results/a/logs/scene.log" in told
    assert cli.main(["status", "other/results", "--configfile", "other/my.yaml", "--json"]) == 0
    assert '"log": "other/results/a/logs/scene.log"' in capsys.readouterr().out


def test_the_repositorys_configurations_are_written_for_the_repository(tmp_path: Path) -> None:
    place = Place.of(REPOSITORY / "config" / "paper.yaml")
    assert place.folder == REPOSITORY
    assert Place.of(tmp_path / "config" / "my.yaml").folder == tmp_path / "config"


def test_photographs_may_lie_beside_their_configuration(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(photographs(tmp_path / "kitchen"))
    assert cli.main(["run", "."]) == 0
    assert "path: .\n" in Path("kitchen.yaml").read_text()
    photographs(Path("results/kitchen/scene/images"))
    Path("results/kitchen/scene/scene.json").write_text("{}")
    photographs(Path("results/tables"), 1)  # its plots
    for folder in ("logs", "benchmarks"):
        Path("results/tables", folder).mkdir()
    monkeypatch.chdir(tmp_path)
    budgets._measured.cache_clear()
    capsys.readouterr()
    assert cli.main(["run", "kitchen/kitchen.yaml"]) == 0
    assert "kitchen: 9 photographs" in capsys.readouterr().out


def test_why_it_failed_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    logs = tmp_path / "results" / "kitchen" / "logs"

    def failed(program: list[str]) -> int:
        logs.mkdir(exist_ok=True)
        text = "2026-11-26 10:00:00,1 INFO gradiseg_core.x: a line\n"
        text += "2026-11-26 10:00:00,2 ERROR gradiseg_core.x: no pair matches; take more\n"
        (logs / "colmap.log").write_text(text)
        return 1

    monkeypatch.setattr(launch, "watched", failed)
    assert cli.main(["run", "kitchen"]) == 1
    told = capsys.readouterr().err
    assert "once what failed is mended:\n  gradiseg run kitchen.yaml\n" in told
    assert told.endswith(
        "failed\n  kitchen: colmap: no pair matches; take more\n"
        "    results/kitchen/logs/colmap.log\n"
    )
    old = time.time() - 100
    os.utime(logs / "colmap.log", (old, old))  # of an earlier run
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    assert cli.main(["run", "kitchen"]) == 1
    assert "what Snakemake says above is why" in capsys.readouterr().err


def test_what_is_kept_of_a_run_that_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    scene = tmp_path / "results" / "kitchen"

    def stopped(program: list[str]) -> int:
        for log in (scene / "logs" / "scene.log", scene / "gradiseg_plus/seed0/logs/train.log"):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("2026-11-26 10:00:00,1 ERROR train: stopped\n")
        settings = load(read_files([Path("kitchen.yaml")]), budget_of=budgets.budget_maker(2))
        config = settings.trainings["kitchen"]["gradiseg_plus"]
        noted = {"iteration": 1432, "digest": config.digest(0)}
        save_checkpoint(scene / ".work/gradiseg_plus/0/checkpoints", {}, noted)
        return 130

    monkeypatch.setattr(launch, "watched", stopped)
    assert cli.main(["run", "kitchen", "--quality", "draft", "--cores", "2"]) == 130
    told = capsys.readouterr().out
    assert told.endswith(
        "stopped; what is finished is kept; training kitchen, gradiseg_plus, seed 0 goes on at "
        "iteration 1,432 of 3,000; what was being made is made anew: photographs. To go on:\n"
        "  gradiseg run kitchen.yaml\n"
    )


@pytest.mark.parametrize("before", ["draft", "standard", "paper"])
def test_results_of_a_larger_quality_are_not_replaced_unasked(
    before: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    assert cli.main(["run", "kitchen", "--quality", "draft", "--cores", "2"]) == 0
    assert cli.main(["run", "kitchen", "--quality", "standard", "--cores", "2"]) == 0
    run = Path("results/kitchen/gradiseg_plus/seed0/train")
    run.mkdir(parents=True)
    made = budgets.kept(Path("results/kitchen"), "draft" if before == "draft" else "standard")
    assert made is not None
    was = (
        {"iterations": 30_000, "longest_side": None}
        if before == "paper"
        else made.sections["train"]
    )
    (run / "config.json").write_text(json.dumps({"train": dict(was)}))
    pending = [again.Pending(run, "train", "params changed")]
    monkeypatch.setattr(launch, "pending", lambda _: pending)
    Path(".snakemake").mkdir(exist_ok=True)
    started.clear()
    capsys.readouterr()
    code = cli.main(["run", "kitchen", "--quality", "draft", "--cores", "2"])
    told = capsys.readouterr()
    if before == "draft":  # only something else changed
        assert (code, len(started)) == (0, 1)
        assert "replaced" not in told.out
        assert cli.main(["run", "kitchen", "--quality", "standard", "--cores", "2"]) == 0
        told = capsys.readouterr()
        assert "results of quality draft would be replaced by those of quality standard" in told.out
        return
    assert (code, len(started)) == (1, 0)
    of = "quality standard" if before == "standard" else "30,000 iterations"
    assert f"results of {of} would be replaced by those of quality draft. Write" in told.err
    assert "into kitchen.yaml, copy them" in told.err
    assert cli.main(["run", "kitchen", "--quality", "draft", "--cores", "2", "--replace"]) == 0
    assert len(started) == 1


def test_few_photographs_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "few")
    photographs(tmp_path / "many", 20)
    assert cli.main(["run", "few", "--plan"]) == 0
    assert "few: so few may overlap too little: some may get no camera" in capsys.readouterr().out
    assert cli.main(["run", "many", "--plan"]) == 0
    assert "so few" not in capsys.readouterr().out


def test_a_lock_that_was_left_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results")
    assert cli.main(["run", "kitchen", "--quality", "draft"]) == 1
    told = capsys.readouterr().err
    assert "locked by a Snakemake that was killed" in told
    assert "  gradiseg run kitchen.yaml -- --unlock\n  gradiseg run kitchen.yaml\n" in told


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_lock_of_an_own_run_that_was_killed_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"

    def killed(program: list[str]) -> int:
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("results/tables/all.csv\n")
        return 129

    def ended(program: list[str]) -> int:
        assert not lock.exists()
        return 0

    monkeypatch.setattr(launch, "watched", killed)
    assert cli.main(["run", "kitchen"]) == 129
    assert "To go on where it stopped:\n  gradiseg run kitchen.yaml\n" in capsys.readouterr().err
    assert cli.main(["run", "kitchen", "--plan"]) == 0
    assert lock.exists()
    monkeypatch.setattr(launch, "watched", ended)
    capsys.readouterr()
    assert cli.main(["run", "kitchen"]) == 0
    assert "was killed and left this folder locked: unlocked" in capsys.readouterr().out
    assert cli.main(["run", "kitchen"]) == 0
    assert "locked" not in capsys.readouterr().out
    lock.write_text("results/tables/all.csv\n")  # of a Snakemake, perhaps on another machine
    monkeypatch.setattr(launch, "watched", lambda program: 1)
    for _ in range(2):
        assert cli.main(["run", "kitchen"]) == 1
        assert "locked by a Snakemake that was killed" in capsys.readouterr().err
        assert lock.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_that_is_at_work_is_left_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "kitchen")
    lock = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("results/tables/all.csv\n")
    (tmp_path / ".snakemake" / "gradiseg_run.txt").write_text(platform.node())
    (tmp_path / "snakemake").write_text("import time\nprint(flush=True)\ntime.sleep(100)\n")
    other = subprocess.Popen([sys.executable, "snakemake"], stdout=subprocess.PIPE)
    assert other.stdout is not None
    try:
        other.stdout.readline()
        assert cli.main(["run", "kitchen"]) == 1
        said = capsys.readouterr().err
        assert "another run is at work here" in said
        assert "`gradiseg status` shows it" in said
        assert lock.exists()
        assert not started
        assert not (tmp_path / "kitchen.yaml").exists()
        lock.write_text("elsewhere/tables/all.csv\n")
        assert cli.main(["run", "kitchen"]) == 0
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_in_the_repository_the_command_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    command = Command(Path("kitchen.yaml"))
    arguments = "--cores all all views --configfile kitchen.yaml"
    assert str(command) == f"{shlex.join(programs.snakemake())} {arguments}"


def test_without_the_repository_there_is_no_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workflow, "FOLDER", tmp_path)
    assert cli.main(["run", "anything"]) == 1
    assert "clone GradiSeg's repository and install it from there" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_run_is_gradiseg_run_after_an_installation() -> None:
    def said(*variables: str) -> str:
        make = ["make", "-n", "-C", str(REPOSITORY), "run", *variables]
        return subprocess.run(make, capture_output=True, text=True, check=True).stdout

    told = said("PHOTOS=photos/my kitchen", "CORES=3", "OPTIONS=--quality draft")
    assert '/gradiseg run "photos/my kitchen" --cores 3 --quality draft' in told


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ("", "Name the folder of your photographs, or a video: make run PHOTOS=photos/kitchen"),
        ("my ktchen", "PHOTOS=my ktchen: no such folder"),
    ],
)
def test_make_run_looks_for_photographs_before_it_installs(
    photos: str, message: str, tmp_path: Path
) -> None:
    no_python = [f"VENV={tmp_path / 'venv'}", "PYTHON=false"]  # which an installation would want
    make = ["make", "-C", str(REPOSITORY), "run", f"PHOTOS={photos}", *no_python]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "GradiSeg needs Python" not in done.stderr
    assert not (tmp_path / "venv").exists()


LAUNCHER = """\
import sys
from gradiseg_core.planning.launch import watched
sys.exit(watched([sys.executable, "-c", sys.argv[1]]))
"""
CHILD = """\
import os, signal, subprocess, sys, time
job = subprocess.Popen(["sleep", "100"])
try:
    print(os.getpid(), job.pid, flush=True)
    time.sleep(100)
except KeyboardInterrupt:
    job.terminate()
    job.wait()
    raise SystemExit(1)
"""


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def waited(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", ["terminal", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_nothing_is_left_running(how: str) -> None:
    # A shell makes what it starts in the background ignore Ctrl+C; a terminal does not.
    ctrl_c = signal.SIG_DFL if how == "terminal" else signal.SIG_IGN
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, CHILD],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
    )
    assert process.stdout is not None
    child, job = map(int, process.stdout.readline().split())
    if how == "terminal":  # which tells its whole group
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(getattr(signal, how))
    code = process.wait(timeout=100)
    process.stdout.close()
    assert code == (-signal.SIGKILL if how == "SIGKILL" else 130)
    assert waited(lambda: ended(child) and ended(job))
