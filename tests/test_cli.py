"""The command `gradiseg`."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gradiseg_core import cli
from gradiseg_core.version import __version__

REPOSITORY = Path(__file__).resolve().parents[1]


def called(*arguments: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """What `python -m gradiseg_core` does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gradiseg_core", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["gradiseg"].partition(":")
    assert getattr(importlib.import_module(module), name) is cli.main


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom gradiseg_core.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('HEAVY', *{'torch', 'numpy', 'pydantic', 'PIL', 'yaml'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("HEAVY\n")
    assert ("gradiseg " + __version__ in done.stdout) == (arguments == ["--version"])


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "doctor check whether this machine can train on a GPU, and compile" in shown
    assert "show print the tables of all finished runs, and where" in shown
    assert "paper-tables print the paper's tables of what has run so far" in shown


def test_what_the_user_got_wrong_is_one_message(tmp_path: Path) -> None:
    done = called("show", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gradiseg: no finished run below results: `")
    assert "gradiseg run <photographs" in done.stderr or "gradiseg_core run <ph" in done.stderr
    assert done.stderr.count("\n") == 1
    assert called().returncode == called("shwo").returncode == 2  # argparse says which there are


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "mine.yaml: cannot be read (No such file or directory)"),
        ("a: [", "mine.yaml: no valid YAML: while parsing"),
        ("[1, 2]", "mine.yaml: the configuration must be a mapping"),
        ("scenes: {s: {path: nowhere}}", "scenes.s.path: no such folder"),
    ],
)
def test_a_configuration_that_is_wrong(
    text: str | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    assert cli.main(["paper-tables", "mine.yaml"]) == 1
    assert message in capsys.readouterr().err


def test_the_doctor_is_asked_as_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradiseg_core.compute import doctor

    asked = []
    monkeypatch.setattr(
        doctor, "examine", lambda arch, *, compiles: asked.append((arch, compiles)) or 1
    )
    assert cli.main(["doctor"]) == 1  # its status is the command's
    assert cli.main(["doctor", "--no-compile", "--arch", "8.0,9.0"]) == 1
    assert asked == [(None, True), ("8.0,9.0", False)]


@pytest.mark.parametrize("arch", ["hopper", "9", "9.0.1"])
def test_an_architecture_that_is_none_is_refused(
    arch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--arch", arch])
    assert f"--arch: {arch}: compute capabilities such as 9.0" in capsys.readouterr().err


def test_a_reader_who_leaves_early_sees_no_traceback(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom gradiseg_core import cli\n"
        "cli.COMMANDS = (lambda parser: lambda options: print('x' * 10**6) or 0,)\n"
        "cli.COMMANDS[0].__name__, cli.COMMANDS[0].__doc__ = 'pour', 'Pour.'\n"
        "sys.exit(cli.main(['pour']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, env=environment
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("rnu kitchen", "gradiseg: no command is called rnu; did you mean run?"),
        ("run k --qualty draft", "gradiseg run: unknown option --qualty; did you mean --quality?"),
        ("run k --forcerun x", "gradiseg run: unknown option --forcerun; options of Snakemake go"),
        ("run k --quality draf", "argument --quality: draf: did you mean draft?"),
        ("status --confgfile=x", "unknown option --confgfile; did you mean --configfile?"),
        ("edit a [] --oot x", "gradiseg edit: unknown option --oot; did you mean --out?"),
        ("show a b", "gradiseg show: more than it takes: b"),
        ("--versoin", "gradiseg: unknown option --versoin; did you mean --version?"),
    ],
)
def test_what_was_meant_is_said(
    given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(given.split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_stop_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gradiseg_core.compute import doctor

    def stopped(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", stopped)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "gradiseg: stopped\n"
