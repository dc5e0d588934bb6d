"""A key that is there twice in a configuration is named: YAML would keep the last alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradiseg_core.config.reading import read_files, refuse_repeated_keys
from gradiseg_core.errors import ConfigError
from tests.workflow.conftest import REPOSITORY, Workflow

TWICE = """\
scenes:
  a: {source: demo}
train: {iterations: 40}
train: {evaluations: 1}
"""


def test_file_key_and_lines_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TWICE + "masks: {sam: {x: 1, x: 2}}\n")
    with pytest.raises(ConfigError) as error:
        read_files([file])
    assert f"{file}: line 4: key 'train' is there already, in line 3" in str(error.value)
    assert "line 5: key 'masks.sam.x'" in str(error.value)


def test_anchors_and_merges_are_no_repetition(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "a: &a {x: 1}\nb: &b {y: 1}\nc: {<<: *a, <<: *b, x: 2}\n"
        "d: [*a, {x: 1}]\ne: {1: 1, '1': 2}\n"
    )
    refuse_repeated_keys([file, tmp_path / "missing.yaml"])


def test_the_shipped_files_have_none() -> None:
    refuse_repeated_keys(
        [
            REPOSITORY / "config.yaml",
            *REPOSITORY.glob("config/*"),
            *REPOSITORY.glob("studies/config/*"),
        ]
    )


def test_snakemake_is_stopped(workflow: Workflow) -> None:
    (workflow.folder / "twice.yaml").write_text(TWICE)
    stopped = workflow.snakemake("-n", "--configfile", "twice.yaml")
    assert stopped.returncode != 0
    assert "key 'train' is there already" in stopped.stdout + stopped.stderr
