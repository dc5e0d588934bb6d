"""`made`: folders that another workflow makes, which includes this one as a Snakemake module."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradiseg_core.config import inputs
from gradiseg_core.config.root import load
from gradiseg_core.errors import ConfigError
from tests.workflow.conftest import REPOSITORY

CONFIG: dict[str, Any] = {
    "made": ["mine/table", "mine/ids"],
    "scenes": {
        "table": {
            "source": "lerf_mask",
            "path": "./mine/table",
            "tracking": {"precomputed": {"folder": "mine/ids"}},
        },
        "exact": {
            "source": "copy",
            "of": "table",
            "tracking": {"precomputed": {"folder": "mine/table/gt_ids"}},
        },
    },
    "tracking": {"backend": "precomputed"},
}


def test_what_is_made_need_not_be_there(tmp_path: Path) -> None:
    settings = load(CONFIG, tmp_path)
    made = settings.root.made
    assert inputs.given_files(settings.section("table", "scene"), made) == [Path("mine/table")]
    assert inputs.given_files(settings.section("table", "tracking"), made) == [Path("mine/ids")]
    # Not a folder inside another rule's output, which Snakemake could not trace to its rule.
    assert inputs.given_files(settings.section("exact", "tracking"), made) == [Path("mine/table")]
    with pytest.raises(ConfigError) as error:
        load({**CONFIG, "made": ["mine/ids"]}, tmp_path)
    assert "scenes.table.path: no such folder: mine/table" in str(error.value)
    assert "mine/ids" not in str(error.value)
    assert not load({**CONFIG, "absent_scenes": "skip"}, tmp_path).absent


def test_what_is_in_it_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs are the same before and after the folder is made."""
    monkeypatch.chdir(tmp_path)
    settings = load(CONFIG)
    before = [
        inputs.given_files(settings.section("table", "scene"), settings.root.made),
        inputs.has_exact_ids(settings.origin("exact"), settings.root.made),
    ]
    for part in ("images", "gt_ids"):
        (tmp_path / "work" / "table" / part).mkdir(parents=True)
        (tmp_path / "work" / "table" / part / "a.png").touch()
    settings = load(CONFIG)
    after = [
        inputs.given_files(settings.section("table", "scene"), settings.root.made),
        inputs.has_exact_ids(settings.origin("exact"), settings.root.made),
    ]
    assert before == after == [[Path("mine/table")], False]


def test_a_folder_of_a_similar_name_is_not_made() -> None:
    made = [Path("mine/table")]
    assert inputs.made_folder(Path("mine/table/gt_ids"), made) == made[0]
    assert inputs.made_folder(Path("mine/table_2"), made) is None
    assert inputs.made_folder(Path("work"), made) is None


SNAKEFILE = """\
configfile: "mine.yaml"

module gradiseg:
    snakefile: "{snakefile}"
    config: config

use rule * from gradiseg

rule photographs:
    output: directory("work/photos")
    shell: "mkdir -p {{output}}"

rule mine:
    default_target: True
    input: rules.all.input
"""


def test_another_workflow_includes_this_one_as_a_module(tmp_path: Path) -> None:
    snakefile = SNAKEFILE.format(snakefile=REPOSITORY / "Snakefile")
    (tmp_path / "Snakefile").write_text(snakefile)
    (tmp_path / "mine.yaml").write_text(
        "made: [work/photos]\nresults: out\nvariants: [baseline]\n"
        "scenes: {kitchen: {path: work/photos}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE))
    assert jobs["photographs"] == jobs["scene"] == jobs["train"] == jobs["mine"] == "1"
    assert "association" not in jobs
    assert "out/kitchen/baseline/seed0/metrics/metrics.json" in output
