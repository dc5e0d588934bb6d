"""`gradiseg status`: every state, from files, while Snakemake runs and after it was killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from gradiseg_core import cli
from gradiseg_core.errors import InputError
from gradiseg_core.stages.report import status
from gradiseg_core.stages.report.layout import NAMED, STAGES
from gradiseg_core.stages.report.status import examine, table

REPOSITORY = Path(__file__).resolve().parents[3]
STAMP = "2026-11-26 04:20:36,017"


def log(folder: Path, stage: str, *lines: str) -> None:
    path = folder / "logs" / f"{stage}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def mark(results: Path, output: str) -> None:
    """As Snakemake does when a job begins."""
    name = urlsafe_b64encode(output.encode()).decode()
    parts = [name[i : i + 254] for i in range(0, len(name), 254)]
    path = results.parent.joinpath(
        ".snakemake", "incomplete", *("@" + part for part in parts[:-1]), parts[-1]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"external_jobid": null}')


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A scene that is prepared, whose training runs, whose other training failed."""
    results = tmp_path / "results"
    (results / "cup" / "scene").mkdir(parents=True)
    log(results / "cup", "scene", f"{STAMP} INFO a.b: 3 images")
    benchmark = results / "cup" / "benchmarks" / "scene.tsv"
    benchmark.parent.mkdir()
    benchmark.write_text("s\th:m:s\n64.2\t0:01:04\n")
    first, second = (results / "cup" / name / "seed0" for name in ("baseline", "gradiseg"))
    mark(results, "results/cup/baseline/seed0/train")
    log(first, "train", f"{STAMP} INFO a.b: begun", f"{STAMP} INFO c: demo: 40 %, 1 min left")
    log(
        second, "train",
        *(f"{STAMP} ERROR a.b: the first error", f"{STAMP} INFO a.b: goes on"),
        *(f"{STAMP} ERROR a.b: no space left", "  what follows"),
    )  # fmt: skip
    return results


def states(results: Path, *plan: str) -> dict[str, tuple[str, str | None]]:
    planned = {results / "cup" / "gradiseg" / "seed0": plan}
    return {
        f"{job.place}: {job.stage}": (job.state, job.message) for job in examine(results, planned)
    }


def test_every_state(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "is_active", lambda folder: folder == results.parent)
    assert states(results, "train", "render") == {
        "cup: scene": ("done", None),
        "cup, gradiseg, seed 0: train": ("failed", "no space left\n  what follows"),
        "cup, gradiseg, seed 0: render": ("missing", None),
        "cup, baseline, seed 0: train": ("running", "demo: 40 %, 1 min left"),
    }
    (job,) = (job for job in examine(results) if job.state == "running")
    assert job.seconds is not None
    assert 0 <= job.seconds < 60
    assert job.log == results / "cup" / "baseline" / "seed0" / "logs" / "train.log"


def test_a_killed_snakemake(results: Path) -> None:
    """The mark stays; whether the job still runs is seen by the lock and the log."""
    assert states(results)["cup, baseline, seed 0: train"][0] == "stopped"
    lock = results.parent / ".snakemake" / "locks" / "0.output.lock"
    lock.parent.mkdir()
    lock.touch()
    assert states(results)["cup, baseline, seed 0: train"][0] == "running"  # maybe elsewhere
    long_ago = time.time() - 3600
    marked = next((results.parent / ".snakemake" / "incomplete").iterdir())
    for path in (marked, results / "cup" / "baseline" / "seed0" / "logs" / "train.log"):
        os.utime(path, (long_ago, long_ago))
    assert states(results)["cup, baseline, seed 0: train"] == (
        "stopped", "it was stopped, or killed with its Snakemake",
    )  # fmt: skip


def test_a_log_of_an_earlier_call_says_nothing_of_this_one(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "is_active", lambda _: True)
    mark(results, "results/cup/gradiseg/seed0/train")
    os.utime(results / "cup" / "gradiseg" / "seed0" / "logs" / "train.log", (1.0, 1.0))
    assert states(results)["cup, gradiseg, seed 0: train"] == ("running", None)


def test_a_traceback_and_no_error_at_all(results: Path) -> None:
    run = results / "cup" / "gradiseg" / "seed0"
    trace = ("Traceback (most recent call last):", '  File "x.py"', "ValueError: of 3")
    log(run, "train", f"{STAMP} ERROR train: unexpected ValueError", *trace)
    assert states(results)["cup, gradiseg, seed 0: train"] == ("failed", "ValueError: of 3")
    log(run, "train", f"{STAMP} INFO a.b: begun")
    state, message = states(results)["cup, gradiseg, seed 0: train"]
    assert (state, message) == (
        "failed", "it ended without an error message: killed, or stopped",
    )  # fmt: skip


def test_long_paths_and_named_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "is_active", lambda _: True)
    results = tmp_path / "results"
    run = results / ("scene" * 40) / "baseline" / "seed3"
    log(run, "export_splats", f"{STAMP} INFO a.b: begun")
    mark(results, f"results/{'scene' * 40}/baseline/seed3/exports/splats")
    (job,) = examine(results)
    assert (job.stage, job.state, job.seed) == ("export_splats", "running", 3)


def test_the_table(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "is_active", lambda _: True)
    plan = {results / "cup" / "gradiseg" / "seed0": ["train", "render"]}
    lines = table(examine(results, plan), width=60).splitlines()
    assert lines[0] == "4 jobs: 1 done, 1 running, 1 failed, 1 missing"
    assert [line.split() for line in lines if "seed 0 " in line] == [
        ["cup,", "gradiseg,", "seed", "0", "failed", "missing"],
        ["cup,", "baseline,", "seed", "0", "running", "-"],
    ]
    place = lines.index("  cup, gradiseg, seed 0: train: no space left")
    assert lines[place + 1] == "      what follows"
    assert lines[-1].endswith("results/cup/gradiseg/seed0/logs/train.log")
    assert all(len(line) <= 60 for line in lines if str(results) not in line)


def test_why_a_job_failed_is_said_with_what_to_do(results: Path) -> None:
    """The start of a long list, and the end of the message; not what was logged after it."""
    broken = [f"  IMG_{number}.jpg: unreadable" for number in range(40)]
    message = [f"{STAMP} ERROR scene: 40 of 60 images cannot be used:", *broken]
    log(results / "cup", "colmap", *message, "Remove these.", f"{STAMP} INFO a.b: goes on")
    jobs = examine(results)
    (job,) = (job for job in jobs if job.stage == "colmap")
    assert job.message is not None
    assert job.message.splitlines()[1:] == [*broken, "Remove these."]
    lines = table(jobs).splitlines()
    place = lines.index("  cup: colmap: 40 of 60 images cannot be used:")
    assert lines[place + 1 : place + 9] == [
        *(f"    {line}" for line in broken[:5]),
        "      ... 35 more lines in the log", "    Remove these.", f"    {job.log}",
    ]  # fmt: skip


def test_the_command(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(results.parent)
    assert cli.main(["status", "--json"]) == 0
    jobs = json.loads(capsys.readouterr().out)
    assert [job["state"] for job in jobs] == ["done", "stopped", "failed"]
    assert jobs[0]["seconds"] == 64.2
    (results.parent / "photos").mkdir()
    (results.parent / "config.yaml").write_text(
        "scenes: {cup: {path: photos}, pot: {path: photos}}"
    )
    assert cli.main(["status"]) == 0
    assert "missing" in capsys.readouterr().out.splitlines()[0]
    assert cli.main(["status", "--json"]) == 0
    jobs = json.loads(capsys.readouterr().out)
    of_pot = {(job["variant"], job["stage"]) for job in jobs if job["scene"] == "pot"}
    assert {("igd", "train"), ("igd", "metrics"), (None, "tracking")} <= of_pot
    (results.parent / "photos").rmdir()
    assert cli.main(["status"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("3 jobs: 1 done, 1 failed, 1 stopped")
    assert "what is missing is not known" in told.err
    assert "scenes.cup.path: no such folder" in told.err
    assert cli.main(["status", "--configfile", "config.yaml"]) == 1
    with pytest.raises(InputError, match="no results in nowhere"):
        examine(Path("nowhere"))


def test_stages_are_those_of_the_rules() -> None:
    """Every rule that has a log is known by its log's name and one of its outputs."""
    known = {
        "scene": "<results>/{scene}", "tracks_2d": "<results>/{scene}/tracks_2d", "run": "<run>",
        "tables": "<results>/tables", "paper_tables": "<results>/paper_tables",
    }  # fmt: skip
    text = "".join(path.read_text() for path in sorted((REPOSITORY / "rules").glob("*.smk")))
    text = text.replace("{config_paper.FIGURE}", STAGES["paper_tables"]["paper_tables"])
    logs = set(re.findall(r'"(<r[^"]*/logs/[^"]*)\.log"', text))
    expected = {
        f"{known[kind]}/logs/{stage}" for kind, stages in STAGES.items() for stage in stages
    }
    expected |= {f"<run>/logs/{name}_{{{name}}}" for name in NAMED}
    assert logs == expected
    for kind, stages in STAGES.items():
        for output in stages.values():
            assert f'"{known[kind]}/{output}"' in text, output


SNAKEFILE = """
rule all:
    input: "results/s/v/seed0/train", "results/s/colmap"
rule train:
    output: directory("results/s/v/seed0/train")
    log: "results/s/v/seed0/logs/train.log"
    shell: "echo begun > {log}; while [ ! -e go ]; do sleep 0.1; done; mkdir {output}"
rule colmap:
    output: directory("results/s/colmap")
    log: "results/s/logs/colmap.log"
    shell: "mkdir {output}; echo '2026-11-26 04:20:36,017 ERROR a.b: no features' > {log}; exit 1"
"""


def test_beside_a_run(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    program = str(Path(sys.executable).parent / "snakemake")
    running = subprocess.Popen(
        [program, "--cores", "2", "--keep-going"], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    expected = {"colmap": ("failed", "no features"), "train": ("running", "begun")}
    found: dict[str, tuple[str, str | None]] = {}
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and found != expected:
            time.sleep(0.1)
            if any(tmp_path.glob("results/s/**/logs/*.log")):
                jobs = examine(tmp_path / "results")
                found = {job.stage: (job.state, job.message) for job in jobs}
        assert found == expected
    finally:
        (tmp_path / "go").touch()
        running.wait(60)
    states = {job.stage: job.state for job in examine(tmp_path / "results")}
    assert states == {"colmap": "failed", "train": "done"}


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("ERROR train: stopped", "stopped"),
        ("ERROR train: stopped at iteration 8 of 9; the next run goes on there", "stopped"),
        ("ERROR train: stopped by a full disk", "failed"),
    ],
)
def test_what_a_user_stopped_did_not_fail(results: Path, line: str, state: str) -> None:
    log(results / "cup" / "gradiseg" / "seed0", "train", f"{STAMP} {line}")
    assert states(results)["cup, gradiseg, seed 0: train"] == (state, line.partition(": ")[2])
