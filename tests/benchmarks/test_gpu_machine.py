"""What a machine with a GPU and no network is given, and the configurations of real runs there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from gradiseg_core.config.train import TrainConfig

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "benchmarks" / "gpu_machine.sh"


def test_every_package_that_is_carried_has_a_version_in_the_lock() -> None:
    listed = re.search(r'PACKAGES="([^"]*)"', SCRIPT.read_text())
    assert listed is not None
    names = listed[1].split()
    pins = re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements-dev.lock").read_text(), re.M)
    assert len(names) > 20
    assert [name for name in names if pins.count(name) != 1] == []


def test_the_script_says_how_to_use_it() -> None:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "gpu_machine.sh wheels [3.12]" in done.stdout
    assert "set -" not in done.stdout


@pytest.mark.parametrize("name", ["gpu_run", "gpu_run_tabletop"])
def test_real_runs_are_the_papers_length_on_a_gpu(name: str) -> None:
    content = yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text())
    train = TrainConfig.model_validate(content["train"])
    assert train.device == content["render"]["device"] == "cuda"
    assert (train.iterations, train.longest_side, train.downsample) == (30_000, None, None)
    assert content["variants"] == ["baseline", "igd", "la_knn", "gradiseg"]
