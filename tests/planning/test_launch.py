"""`gradiseg run`: plain Snakemake, which it prints with what it is going to make."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from gradiseg_core import cli, programs
from gradiseg_core.planning import budgets, launch, quietly, workflow
from gradiseg_core.planning.workflow import Command, unknown_rule
from tests.planning.photographs import photographs
from tests.workflow.conftest import REPOSITORY

pytestmark = pytest.mark.usefixtures("untimed")


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
        *(
            sys.executable,
            quietly.__file__,
            "snakemake",
            "--snakefile",
            str(REPOSITORY / "Snakefile"),
        ),
        *("--cores", "3", "all", "views", "--configfile", "My_kitchen.yaml"),
    ]
    assert program == wanted
    said = capsys.readouterr().out
    assert f"  {shlex.join([*programs.snakemake(), *wanted[3:]])}\n" in said
    assert "9 photographs, quality draft: gradiseg_plus, 3,500 iterations at 40 px" in said
    assert "\ntook 10 s, and was planned to take " in said
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
    assert cli.main(["run", "kitchen.yaml", "--quality", "standard"]) == 0  # as the file says
    assert started[2].count("--config") == 0


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
    Image.new("RGB", (40, 30), (0, 99, 0)).save(folder / "one more.jpg")
    budgets._measured.cache_clear()
    assert cli.main(["run", "kitchen"]) == 0
    assert "kitchen: 10 photographs, quality" in capsys.readouterr().out


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
    for more in ([], ["--plan"]):
        assert cli.main(["run", "kitchen", *more]) == 1
        said = capsys.readouterr()
        assert f"gradiseg: {tmp_path} cannot be written to" in said.err
        assert said.out == ""
    assert not started
    monkeypatch.setattr(os, "access", allowed)
    assert cli.main(["run", "kitchen"]) == 0
    assert "kitchen.yaml: is written, yours to change" in capsys.readouterr().out


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


def test_how_to_go_on_keeps_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    extra = ("--sdm", "conda", "--forcerun", "train", "render", "--keep-going", "-F")
    command = Command(Path("my.yaml"), 3, "draft", extra)
    asked = "gradiseg run my.yaml --quality draft --cores 3 -- --sdm conda --keep-going"
    assert command.again == asked
    assert Command(Path("my.yaml")).again == "gradiseg run my.yaml"


@pytest.mark.parametrize("extra", [["--forcerun", "render", "traain"], ["--until=traain"]])
def test_a_rule_that_is_not_there_is_named_before_a_plan(
    extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "kitchen", "--plan", "--", *extra]) == 1
    assert "no rule is called 'traain'; did you mean 'train'?" in capsys.readouterr().err
    assert unknown_rule(["--forcerun", "train", "results/a.png", "--cores", "2"]) is None
