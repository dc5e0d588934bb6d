"""The rules: they fetch what the configuration needs, and nothing else reruns for it."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from gradiseg_core.config.datasets import DATASETS
from gradiseg_core.config.weights import checkpoints
from tests.models.downloads.scenes import FILES, WANTED, contents
from tests.models.downloads.server import Server
from tests.models.downloads.zips import zipped
from tests.workflow.conftest import PARTS, REPOSITORY, Workflow, pretend_results

CONFIG = """\
scenes:
  toys: {source: lerf_mask, dataset: figurines}
  yard:
    source: mipnerf360
    dataset: garden
    masks: {backend: graph}
variants: [baseline]
masks: {backend: sam, sam: {model: vit_b}}
metrics: {lpips: false}
grounding: {backend: groundingdino, groundingdino: {sam: {model: vit_b}}}
downloads: {retries: 1}
"""


def laid_out(folder: Path) -> Workflow:
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    (folder / "config.yaml").write_text(CONFIG)
    return Workflow(folder)


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return laid_out(tmp_path)


def test_everything_that_is_needed_and_nothing_else(workflow: Workflow) -> None:
    planned = workflow.planned("downloads")
    assert planned == {"checkpoint": 1, "checkpoint_folder": 1, "dataset": 2, "downloads": 1}
    (workflow.folder / "own.pth").write_bytes(b"x")
    workflow.edit("config.yaml", "sam: {model: vit_b}", "sam: {model: vit_b, checkpoint: own.pth}")
    assert "checkpoint" not in workflow.planned("downloads")


def test_results_do_not_depend_on_how_they_were_fetched(workflow: Workflow) -> None:
    pretend_results(workflow)
    assert workflow.planned() == {}
    workflow.edit("config.yaml", "downloads: {retries: 1}", "downloads: {retries: 2, timeout_s: 9}")
    assert workflow.planned() == {}
    shutil.rmtree(workflow.folder / "downloads")
    assert workflow.planned() == {}  # room was needed; nothing asks for them any more


def test_the_rules_fetch(workflow: Workflow, server: Server) -> None:
    content = os.urandom(50_000)
    sam, garden = checkpoints()["sam_vit_b"], DATASETS["mipnerf360", "garden"]
    assert sam.sha256 is not None
    edited = workflow.folder / "gradiseg_core" / "models" / "sam_options.py"
    text = edited.read_text().replace(sam.sha256, hashlib.sha256(content).hexdigest())
    prefix = sam.url.removesuffix("sam_vit_b_01ec64.pth")
    assert prefix in text
    edited.write_text(text.replace(prefix, f"{server.address}/"))
    workflow.edit(
        "gradiseg_core/config/datasets.py",
        garden.archive.removesuffix("360_v2.zip"),
        f"{server.address}/",
    )
    server.put("/sam_vit_b_01ec64.pth", content)
    server.put("/360_v2.zip", zipped(FILES))
    wanted = ("checkpoints/sam_vit_b.pth", "datasets/mipnerf360/garden_images_8")
    done = workflow.snakemake("--cores", "2", *(f"downloads/{path}" for path in wanted))
    assert done.returncode == 0, done.stderr
    below = workflow.folder / "downloads"
    assert (below / wanted[0]).read_bytes() == content
    fetched = contents(below / wanted[1])
    assert fetched.pop(".snakemake_timestamp") == b""
    assert fetched == WANTED
    assert (workflow.folder / "downloads.lock.json").is_file()

    (below / wanted[0]).unlink()
    server.put("/sam_vit_b_01ec64.pth", content[::-1])
    failed = workflow.snakemake("--cores", "1", f"downloads/{wanted[0]}")
    assert failed.returncode != 0
    assert "but its publisher gives" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (below / wanted[0]).exists()


def test_offline_is_refused_before_any_job(workflow: Workflow) -> None:
    workflow.edit("config.yaml", "{retries: 1}", "{offline: true}")
    done = workflow.snakemake("--dry-run")
    assert done.returncode != 0
    for line in (
        "scenes.toys.masks: sam_vit_b is not in downloads/checkpoints/sam_vit_b.pth",
        "scenes.yard.dataset: mipnerf360's garden is not in "
        "downloads/datasets/mipnerf360/garden_images_8",
    ):
        assert line in done.stdout
    assert "scenes.yard.masks" not in done.stdout
    below = workflow.folder / "downloads"
    for name in (
        "checkpoints/groundingdino_swinb",
        "datasets/lerf_mask/figurines",
        "datasets/mipnerf360/garden_images_8",
    ):
        (below / name).mkdir(parents=True)
    (below / "checkpoints" / "sam_vit_b.pth").write_bytes(b"given by hand")
    assert "dataset" not in workflow.planned()
