"""A run works in the folder of its configuration, from wherever it is called."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from gradiseg_core import cli, programs
from gradiseg_core.planning import budgets, launch
from gradiseg_core.planning.place import Place
from tests.planning.photographs import photographs
from tests.workflow.conftest import REPOSITORY

pytestmark = pytest.mark.usefixtures("untimed")


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
