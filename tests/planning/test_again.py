"""What a second run makes again, and which results it does not replace unasked."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from gradiseg_core import cli
from gradiseg_core.planning import again, budgets, launch
from tests.planning.photographs import photographs

pytestmark = pytest.mark.usefixtures("untimed")


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
    assert "each of these results is removed when it is made again" in said
    assert ": cameras " in said
    assert "objects" not in said  # their results stay
    monkeypatch.setattr(launch, "pending", lambda _: again.read_summary("Error in line 3\n"))
    assert cli.main(["run", "kitchen"]) == 0
    assert "is not known; by what is there:\nabout " in capsys.readouterr().out


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
