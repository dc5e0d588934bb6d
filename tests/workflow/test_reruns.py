"""A job reruns when, and only when, what it uses changed: inputs, configuration, script, modules.

Everything is a dry run over results that Snakemake believes to have made.
"""

from __future__ import annotations

import os

import pytest

from tests.workflow.conftest import Workflow

SCORES = {"metrics", "tables", "quality"}
AFTER_TRAINING = {"train", "render", "grounding", "curves", "comparison"} | SCORES
AFTER_MASKS = {"masks", "tracking", "association"} | AFTER_TRAINING
EVERYTHING = {"scene", "colmap"} | AFTER_MASKS


def test_files_of_the_same_content_rerun_nothing(workflow: Workflow) -> None:
    for path in ("photos/0.jpg", "workflow_scripts/train.py", "gradiseg_core/files/images.py"):
        os.utime(workflow.folder / path)
    assert workflow.planned() == {}


@pytest.mark.parametrize("change", ["edited", "added"])
def test_input(workflow: Workflow, change: str) -> None:
    if change == "edited":
        (workflow.folder / "photos" / "0.jpg").write_bytes(b"another photograph")
    else:
        (workflow.folder / "photos" / "3.jpg").write_bytes(b"one more photograph")
    planned = workflow.planned()
    # The scene `alpha` has no exact IDs, so its association is not scored.
    assert set(planned) == EVERYTHING - {"association"}
    assert planned["scene"] == 1  # the other scene has no part in it
    assert planned["train"] == 2


def test_removed_input(workflow: Workflow) -> None:
    (workflow.folder / "photos" / "2.jpg").unlink()
    assert workflow.planned("results/alpha/scene") == {"scene": 1}


def test_own_configuration(workflow: Workflow) -> None:
    workflow.append("config.yaml", "metrics: {boundary_ratio: 0.03}\n")
    assert set(workflow.planned()) == SCORES


def test_configuration_of_one_scene_and_one_variant(workflow: Workflow) -> None:
    workflow.edit("config.yaml", "{iterations: 20}", "{iterations: 20, igd: {quantile: 0.5}}")
    planned = workflow.planned()
    assert set(planned) == AFTER_TRAINING
    assert planned["train"] == 1  # gradiseg of that scene; baseline has no IGD


def test_a_further_variant_reruns_nothing_that_is_there(workflow: Workflow) -> None:
    workflow.edit("config.yaml", "[baseline, gradiseg]", "[baseline, igd, gradiseg]")
    planned = workflow.planned()
    assert set(planned) == AFTER_TRAINING
    assert planned["train"] == 2


def test_a_default_is_configuration_too(workflow: Workflow) -> None:
    """The parameters of a job hold all defaults, so that a changed one reruns it."""
    workflow.edit("gradiseg_core/config/metrics.py", "0.02,", "0.04,")
    assert set(workflow.planned("--rerun-triggers", "params")) == SCORES


def test_script(workflow: Workflow) -> None:
    workflow.append("workflow_scripts/grounding.py", "# another script\n")
    assert set(workflow.planned()) == {"grounding"} | SCORES


def test_core_module(workflow: Workflow) -> None:
    workflow.append("gradiseg_core/stages/masks/backends/graph.py", "# another segmenter\n")
    assert set(workflow.planned()) == AFTER_MASKS


def test_core_module_of_a_late_stage(workflow: Workflow) -> None:
    workflow.append("gradiseg_core/stages/metrics/iou.py", "# another score\n")
    assert set(workflow.planned()) == SCORES


def test_core_module_that_no_stage_runs(workflow: Workflow) -> None:
    workflow.append("gradiseg_core/config/docs.py", "# other documentation\n")
    (workflow.folder / "gradiseg_core" / "stages" / "metrics" / "extra.py").write_text("ANSWER = 42\n")
    assert workflow.planned() == {}
    workflow.append("gradiseg_core/stages/metrics/iou.py", "from .extra import ANSWER  # noqa\n")
    (workflow.folder / "gradiseg_core" / "stages" / "metrics" / "extra.py").touch()
    done = workflow.snakemake("--dry-run", "--rerun-triggers", "input")
    assert "gradiseg_core/stages/metrics/extra.py" in done.stdout + done.stderr


def test_a_strategy_or_loss_term_reruns_the_trainings_that_run_it(workflow: Workflow) -> None:
    workflow.append("gradiseg_core/splatting/strategies/mcmc.py", "# another budget\n")
    assert workflow.planned() == {}
    workflow.append("gradiseg_core/splatting/strategies/igd.py", "# another split\n")
    planned = workflow.planned()
    assert set(planned) == AFTER_TRAINING
    assert planned["train"] == 2  # gradiseg of both scenes; baseline has no IGD
    workflow.append("gradiseg_core/splatting/terms/identity.py", "# another term\n")
    assert workflow.planned()["train"] == 4


def test_an_own_variant_trains_alone(workflow: Workflow) -> None:
    mine = "own_variants:\n  mine: {label: Mine, train: {la_knn: null, igd: {start: 6000}}}\n"
    workflow.append("config.yaml", mine)
    assert workflow.planned() == {}
    workflow.edit("config.yaml", "[baseline, gradiseg]", "[baseline, gradiseg, mine]")
    planned = workflow.planned()
    assert set(planned) == AFTER_TRAINING
    assert planned["train"] == 2


def test_a_scenes_own_variants_and_seeds(workflow: Workflow) -> None:
    workflow.edit("config.yaml", "{iterations: 20}", "{iterations: 20}\n    seeds: [0, 1]")
    planned = workflow.planned()
    assert planned["train"] == 2  # the second seed of both variants, of this scene
    workflow.edit("config.yaml", "    seeds: [0, 1]", "    variants: [baseline]")
    assert "train" not in workflow.planned()
