"""`--sdm conda`: every stage's script in an environment that holds what its file names.

Snakemake's own code makes and enters the environments; what answers to `conda` is a stand-in
(:mod:`conda_stand_in`), so that conda's solver is not part of this. Snakemake itself runs in an
environment without any of the stages' packages: it hands its own to the scripts, at the end of
their path, and would hide what an environment lacks.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from uv import find_uv_bin

from envs import lock as environments
from gradiseg_core.compute.devices import VISIBLE
from tests import tiny_grounding_dino, tiny_tabletop
from tests.models.downloads.hub import DINO, publish
from tests.models.downloads.server import serving
from tests.tiny_tabletop import CONFIG as SCENE
from tests.workflow import conda_stand_in
from tests.workflow.conftest import REPOSITORY
from tests.workflow.imports import host_packages

pytestmark = pytest.mark.slow

# The Python of all environments, whichever runs this test.
PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0"}

# SAM's encoder takes half a minute of a core for a view, whatever the view's size.
FEW_VIEWS = {"views": 3, "test_views": 1}
SAM = """\
masks:
  backend: sam
  sam: {model: vit_b, checkpoint: sam.pth, points_per_side: 4, pred_iou_thresh: 0.0,
        stability_score_thresh: 0.0, overlap: smallest}
"""
GROUNDING = """\
  backend: groundingdino
  groundingdino: {model: swint, checkpoint: dino, shorter_side: 64, longer_side: 96,
                  sam: {model: vit_b, checkpoint: sam.pth}}
"""


@dataclass(frozen=True)
class Runner:
    """Snakemake in a Python of its own, the stand-in for conda, and the environments it makes."""

    python: Path
    binaries: Path
    made: Path

    def snakemake(self, folder: Path, config: str, *arguments: str, **variables: str) -> None:
        """Run the repository's workflow in a folder."""
        (folder / "config.yaml").write_text(config)
        kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        done = subprocess.run(
            [
                *(self.python, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile"),
                *("--directory", folder, "--configfile", folder / "config.yaml", "--cores", "2"),
                *("--sdm", "conda", "--conda-prefix", self.made, *arguments),
            ],
            cwd=folder,
            env=kept | {"PATH": f"{self.binaries}:{kept['PATH']}", VISIBLE: ""} | variables,
            capture_output=True,
            text=True,
            timeout=3000,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-9000:]

    def environment(self, name: str) -> Path:
        """The environment that was made from a file of envs/."""
        text = (REPOSITORY / "envs" / f"{name}.yaml").read_text()
        (copy,) = (path for path in self.made.glob("*.yaml") if path.read_text() == text)
        return copy.with_suffix("")

    def check(self, *names: str) -> None:
        """Check that these environments were made, and hold exactly what their files say."""
        for name in names:
            path = self.environment(name)
            content = yaml.safe_load(path.with_suffix(".yaml").read_text())
            wanted = {
                str(requirement).partition(";")[0].strip()
                for requirement in map(Requirement, content["dependencies"][-1]["pip"])
                if requirement.marker is None or requirement.marker.evaluate(PYTHON)
            }
            freeze = [find_uv_bin(), "pip", "freeze", "--python", path / "bin" / "python"]
            done = subprocess.run(freeze, capture_output=True, text=True, check=True)
            held = {line for line in done.stdout.splitlines() if not line.startswith("pip==")}
            deployed = {line for line in held if line.startswith("deva @ git+")}
            assert held - deployed == wanted, name
            assert bool(deployed) == path.with_suffix(".post-deploy.sh").exists(), name


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("conda")
    lock = environments.read_lock((REPOSITORY / "requirements-dev.lock").read_text())
    python = folder / "host" / "bin" / "python"
    pins = [f"{name}=={lock[name].version}" for name in host_packages()]
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", folder / "host"], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *pins], check=True)
    return Runner(python, conda_stand_in.install(folder / "conda"), folder / "environments")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights: SAM's smallest model in its real size, a tiny text model."""
    from segment_anything import sam_model_registry

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(sam_model_registry["vit_b"]().state_dict(), folder / "sam.pth")
    tiny_grounding_dino.save(folder / "dino")
    return folder


def beside(folder: Path, weights: Path) -> None:
    for path in weights.iterdir():
        (folder / path.name).symlink_to(path)


def test_the_stages_without_weights(runner: Runner, tmp_path: Path) -> None:
    tiny_tabletop.make(tmp_path / "tiny")
    runner.snakemake(tmp_path, SCENE)
    results = tmp_path / "results"
    assert (results / "tables" / "tables.md").stat().st_size > 0
    assert (results / "tables" / "quality.png").stat().st_size > 0
    summary = json.loads((results / "tiny/gradiseg/seed0/metrics/metrics.json").read_text())
    assert 5.0 < summary["summary"]["psnr"] < 40.0
    runner.check("scene", "colmap", "masks", "train", "evaluate", "tables")


def test_the_environment_for_gpus_holds_all_but_the_gpu(runner: Runner, tmp_path: Path) -> None:
    """A job that was promised a GPU and finds none trains on the CPU core."""
    tiny_tabletop.make(tmp_path / "tiny")
    runner.snakemake(tmp_path, SCENE, "--until", "render", **{VISIBLE: "0"})
    run = tmp_path / "results" / "tiny" / "gradiseg" / "seed0"
    assert "using GPU 0" in (run / "logs" / "train.log").read_text()
    assert (run / "render" / "render.json").is_file()
    runner.check("train_cuda")
    python = runner.environment("train_cuda") / "bin" / "python"
    subprocess.run([python, "-c", "import gsplat, triton, ninja"], check=True)


def test_the_models_with_random_weights(runner: Runner, weights: Path, tmp_path: Path) -> None:
    """Two ways of grounding, so that each takes the environment of its own backend."""
    beside(tmp_path, weights)
    second = "second_grounding: {backend: colour_words}\n"
    tiny_tabletop.make(tmp_path / "tiny", **FEW_VIEWS)
    config = f"{SCENE}{SAM}grounding:\n{GROUNDING}{second}baseline_2d: true\n"
    runner.snakemake(tmp_path, config)
    scene = tmp_path / "results" / "tiny"
    run = scene / "gradiseg" / "seed0"
    for path in (run / "grounding", run / "second_grounding", scene / "tracks_2d" / "grounding"):
        assert json.loads((path / "selection.json").read_text())
    for path in (run / "metrics", run / "second_metrics", scene / "tracks_2d" / "metrics"):
        assert (path / "metrics.json").is_file()
    runner.check("sam", "groundingdino")


def test_a_download_from_a_hub_on_this_machine(
    runner: Runner, weights: Path, tmp_path: Path
) -> None:
    files = {path.name: path.read_bytes() for path in (weights / "dino").iterdir()}
    config = SCENE + "grounding:\n" + GROUNDING.replace("checkpoint: dino, ", "")
    beside(tmp_path, weights)
    tiny_tabletop.make(tmp_path / "tiny")
    with serving() as hub:
        publish(hub, DINO, files)
        runner.snakemake(tmp_path, config, "downloads", HF_ENDPOINT=hub.address)
    fetched = tmp_path / "downloads" / "checkpoints" / "groundingdino_swint"
    assert (fetched / "model.safetensors").read_bytes() == files["model.safetensors"]
    runner.check("downloads")


MAKE_DEVA = """\
import sys, torch
from gradiseg_core.stages.tracking.backends.deva import Options
from gradiseg_core.stages.tracking.deva import package as module
torch.manual_seed(0)
package = module.load_package()
with module._without_downloads():
    network = package.network(module.core_config(Options(), frames=6, tokens=30))
torch.save(network.state_dict(), sys.argv[1])
"""


def test_deva_with_random_weights(runner: Runner, weights: Path, tmp_path: Path) -> None:
    """The script after the installation fetches DEVA's repository, or a copy of it."""
    copy = os.environ.get("GRADISEG_DEVA_REPOSITORY")
    if copy is None:
        pytest.skip("set GRADISEG_DEVA_REPOSITORY to a clone of DEVA's repository, or its address")
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{copy}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/hkchengrex/Tracking-Anything-with-DEVA",
    }
    beside(tmp_path, weights)
    tiny_tabletop.make(tmp_path / "tiny", **FEW_VIEWS)
    config = (
        SCENE + "tracking:\n  backend: deva\n  repair: sfm\n"
        "  deva: {checkpoint: deva.pth, size: 96, sam: "
        "{model: vit_b, checkpoint: sam.pth, points_per_side: 4, pred_iou_thresh: 0.0, "
        "stability_score_thresh: 0.0}}\n"
    )
    (tmp_path / "deva.pth").touch()  # the workflow wants to know that it exists
    runner.snakemake(tmp_path, config, "--conda-create-envs-only", "--until", "tracking", **git)
    python = runner.environment("deva") / "bin" / "python"
    make = [python, "-c", MAKE_DEVA, tmp_path / "deva.pth"]
    subprocess.run(make, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=True)
    runner.snakemake(tmp_path, config, "--until", "tracking", **git)
    assert (tmp_path / "results" / "tiny" / "tracking" / "objects.json").is_file()
    runner.check("deva")
