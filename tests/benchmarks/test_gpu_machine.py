"""What a machine with a GPU and no network is given, and the configurations of real runs there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from gradiseg_core.config.train import TrainConfig

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "benchmarks" / "gpu_machine.sh"


def test_every_package_that_is_carried_has_a_version_in_the_lock() -> None:
    text = SCRIPT.read_text()
    listed = re.findall(r'^(?:MISSING|USUAL)="([^"]*)"', text, re.M)
    names = " ".join(listed).split()
    pins = re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements-dev.lock").read_text(), re.M)
    assert len(listed) == 2
    assert len(names) > 20
    assert [name for name in names if pins.count(name) != 1] == []


def test_the_script_says_how_to_use_it() -> None:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "gpu_machine.sh pack [3.12]" in done.stdout
    assert "set -" not in done.stdout


# Stands in for pip and for the machine's Python; writes down what it is called for.
PYTHON = """\
#!/bin/bash
echo "$*" >> "$CALLS"
case "$*" in
*" pip download "*)
    while [[ $1 != --dest ]]; do shift; done
    i=0
    for size in $SIZES; do i=$((i + 1)); truncate -s "${size}M" "$2/p$i-1-py3-none-any.whl"; done ;;
*" pip install "*) while [[ $1 != --target ]]; do shift; done; mkdir -p "$2" ;;
-c*) [[ -z ${ABSENT:-} ]] || { echo "missing here: $ABSENT" >&2; exit 1; } ;;
*"gradiseg_core doctor"*)
    echo "ok    kernels"
    mkdir -p "$TORCH_EXTENSIONS_DIR/gradiseg/x" && touch "$TORCH_EXTENSIONS_DIR/gradiseg/x/sm90.so"
    exit "${DOCTOR:-0}" ;;
*pytest*) echo "first test PASSED"; sleep "${TESTS:-0}"; echo "last test PASSED" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch) -> Path:
    """A checkout with the script, a lock and a test for GPUs, on a machine that is made up."""
    folder = tmp_path / "checkout"
    for name in ("benchmarks/gpu_machine.sh", "requirements-dev.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    for name in (
        "tests/splatting/losses/test_a.py",
        "tests/splatting/rasterization/test_b.py",
        "tests/stages/training/test_c.py",
    ):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("@pytest.mark.gpu\n")
    subprocess.run(["git", "init", "-q", folder], check=True)
    with (folder / "large").open("wb") as file:
        file.truncate(6 << 20)
    subprocess.run(["git", "add", "large"], cwd=folder, check=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").write_text(PYTHON)
    (tools / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", str(tools / "python3"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    monkeypatch.delenv("ALL", raising=False)
    return folder


def script(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [checkout / "benchmarks" / "gpu_machine.sh", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_parts_and_the_tree_are_carried_together(checkout: Path, tmp_path: Path) -> None:
    done = script(checkout, "pack", "3.12", SIZES="1 30 20 25 2")
    assert done.returncode == 0, done.stderr
    sizes = [
        sorted(path.stat().st_size >> 20 for path in part.iterdir())
        for part in sorted((checkout / "wheels").iterdir())
    ]
    assert sizes == [[25, 30], [1, 2, 20]]  # 30, 25 and 2 are below 58, with the tree above 62
    call = (tmp_path / "calls").read_text()
    assert "--python-version 3.12" in call
    assert "gsplat==" in call
    assert "numba==" not in call
    script(checkout, "pack", "3.12", SIZES="1", ALL="1")
    assert "numba==" in (tmp_path / "calls").read_text()
    done = script(checkout, "pack", "3.12", SIZES="57")
    assert done.returncode == 1
    assert "cannot travel" in done.stderr


def test_one_command_installs_compiles_and_tests(checkout: Path, tmp_path: Path) -> None:
    script(checkout, "pack", "3.12", SIZES="1")
    (tmp_path / "calls").unlink()
    done = script(checkout, "first")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text()
    order = [
        calls.index(word) for word in ("pip install", "-c ", "gradiseg_core doctor", "-m pytest")
    ]
    assert order == sorted(order)
    assert calls.index("tests/splatting/rasterization/test_b.py") < calls.index(
        "tests/splatting/losses/test_a.py"
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"doctor.txt", "gpu_tests.txt", "kernels.tgz"}
    # A fresh machine is given what was compiled, and nothing is installed twice on a warm one.
    shutil.rmtree(checkout / ".gpu-kernels")
    shutil.copy(tmp_path / "out" / "kernels.tgz", checkout / "wheels")
    (tmp_path / "calls").unlink()
    assert script(checkout, "install").returncode == 0
    assert (checkout / ".gpu-kernels" / "gradiseg" / "x" / "sm90.so").is_file()
    assert "pip install" not in (tmp_path / "calls").read_text()


def test_what_stops_a_run_is_said_and_what_it_measured_is_kept(
    checkout: Path, tmp_path: Path
) -> None:
    done = script(checkout, "first", ABSENT="numba")
    assert done.returncode == 1
    assert "missing here: numba" in done.stderr
    done = script(checkout, "first", DOCTOR="1")
    assert done.returncode == 1
    assert "-m pytest" not in (tmp_path / "calls").read_text()
    done = script(checkout, "test", TESTS="30", LIMIT="1")
    assert done.returncode == 124
    assert "time is up" in done.stderr
    assert (tmp_path / "out" / "gpu_tests.txt").read_text() == "first test PASSED\n"


def test_the_benchmark_ends_before_its_time(checkout: Path, tmp_path: Path) -> None:
    done = script(checkout, "bench", "--sizes", "0.1", LIMIT="570")
    assert done.returncode == 0, done.stderr
    call = (tmp_path / "calls").read_text().splitlines()[-1]
    found = re.fullmatch(r"benchmarks/gpu\.py --out \S+ --seconds (\d+) --sizes 0\.1", call)
    assert found is not None
    assert 460 <= int(found[1]) <= 480


@pytest.mark.parametrize("name", ["gpu_run", "gpu_run_tabletop"])
def test_real_runs_are_the_papers_length_on_a_gpu(name: str) -> None:
    content = yaml.safe_load((REPOSITORY / "studies" / "config" / f"{name}.yaml").read_text())
    train = TrainConfig.model_validate(content["train"])
    assert train.device == content["render"]["device"] == "cuda"
    assert (train.iterations, train.longest_side, train.downsample) == (30_000, None, None)
    assert content["variants"] == ["baseline", "igd", "la_knn", "gradiseg"]
