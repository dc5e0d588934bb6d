"""A job reruns when, and only when, what it uses changed: inputs, configuration, script, modules.

Everything is a dry run over results that Snakemake believes to have made.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from gradiseg_core.config.idle import idle
from gradiseg_core.modules import PACKAGE_DIR, closure
from tests.workflow.conftest import REPOSITORY, Job, Workflow, pretend_results

SCORES = {"metrics", "tables", "quality", "scene_report"}
AFTER_TRAINING = {"train", "render", "grounding", "curves", "comparison"} | SCORES
AFTER_MASKS = {"masks", "tracking", "association"} | AFTER_TRAINING  # of `beta-2`
AFTER_GEOMETRY = {"geometry", "tracking"} | AFTER_TRAINING  # of `alpha`
EVERYTHING = {"scene", "colmap"} | AFTER_MASKS | AFTER_GEOMETRY


# By module: what reruns when its docstring changes, and how many of the four trainings. The scene
# `alpha` is a folder of photographs with IDs from geometry, `beta-2` the embedded scene with exact
# IDs whose segments are joined; both are trained by baseline and by gradiseg, on a CPU.
RERUNS: dict[str, tuple[set[str], int]] = {
    # What several stages run.
    "files/manifest.py": (EVERYTHING, 4),
    "files/masks.py": (EVERYTHING, 4),
    "cameras.py": (EVERYTHING - {"scene"}, 4),
    "files/annotations.py": (
        {"association", "render", "grounding", "comparison"} | SCORES,
        0,
    ),
    "files/names.py": ({"grounding"} | SCORES, 0),
    "compute/simd.py": (AFTER_GEOMETRY, 4),
    "progress.py": (AFTER_GEOMETRY, 4),
    "plot_style.py": ({"curves", "comparison", "quality", "scene_report"}, 0),
    # Configuration: of a stage its own, and of the others nothing.
    "config/root.py": (set(), 0),
    "config/sections.py": (set(), 0),
    "config/messages.py": (set(), 0),
    "config/checks.py": (set(), 0),
    "config/docs.py": (set(), 0),
    "config/idle.py": (set(), 0),
    "config/variants.py": (set(), 0),
    "config/quality.py": (set(), 0),
    "planning/estimate.py": (set(), 0),
    "compute/machine.py": (set(), 0),
    "config/written.py": (set(), 0),
    "config/scene.py": (EVERYTHING, 4),
    "config/train.py": (AFTER_GEOMETRY, 4),
    "config/parts.py": (AFTER_GEOMETRY, 4),
    "config/metrics.py": (SCORES, 0),
    # Downloads are checked by hash and rerun nothing.
    "models/downloads/fetch.py": (set(), 0),
    "models/downloads/hub.py": (set(), 0),
    "models/downloads/archive.py": (set(), 0),
    "models/sam.py": (set(), 0),
    # A scene's reader reruns the scenes that it read.
    "stages/scene/lerf_mask.py": (EVERYTHING - {"geometry"}, 2),
    "stages/scene/folder.py": (EVERYTHING - {"masks", "association"}, 2),
    "stages/scene/mipnerf360.py": (set(), 0),
    "stages/sfm/stage.py": (EVERYTHING - {"scene"}, 4),
    # Backends: the chosen one counts.
    "stages/masks/backends/graph.py": (AFTER_MASKS, 2),
    "stages/masks/backends/sam.py": (set(), 0),
    "stages/tracking/backends/sfm.py": (AFTER_MASKS - {"masks"}, 2),
    "stages/tracking/backends/geometry.py": (AFTER_GEOMETRY - {"geometry"}, 2),
    # The surface: once for each scene that it finds objects in, before tracking.
    "config/geometry.py": (AFTER_GEOMETRY, 2),
    "files/geometry.py": (AFTER_GEOMETRY, 2),
    "geometry/fusion.py": (AFTER_GEOMETRY, 2),
    "geometry/stereo.py": (AFTER_GEOMETRY, 2),
    "geometry/prepare.py": (AFTER_GEOMETRY, 2),
    "stages/geometry/stage.py": (AFTER_GEOMETRY, 2),
    "stages/geometry/pictures.py": (AFTER_GEOMETRY, 2),
    "stages/tracking/backends/deva.py": (set(), 0),
    "stages/tracking/deva/driver.py": (set(), 0),
    "stages/tracking/repair.py": (set(), 0),
    "stages/tracking/thumbnails.py": (AFTER_MASKS - {"masks"}, 4),
    "stages/tracking/quality.py": ({"association", "scene_report"}, 0),
    "stages/grounding/backends/colour_words.py": ({"grounding"} | SCORES, 0),
    "stages/grounding/backends/manual.py": (set(), 0),
    "stages/grounding/backends/clicks.py": (set(), 0),
    "stages/grounding/dino.py": (set(), 0),
    # Training: what its configuration leaves out does not count, nor do a GPU's kernels here.
    "splatting/trainer.py": (AFTER_GEOMETRY, 4),
    "splatting/strategies/densification.py": (AFTER_GEOMETRY, 4),
    "splatting/strategies/igd.py": (AFTER_TRAINING, 2),
    "splatting/strategies/mcmc.py": (set(), 0),
    "splatting/strategies/near.py": (set(), 0),
    "splatting/neighbours/la_knn.py": (AFTER_TRAINING, 2),
    "splatting/neighbours/cuda.py": (set(), 0),
    "splatting/losses/_photometric_triton.py": (set(), 0),
    "splatting/losses/blended.py": (set(), 0),
    "splatting/losses/robust.py": (set(), 0),
    "splatting/rasterization/cpu.py": (AFTER_GEOMETRY, 4),
    "splatting/rasterization/gsplat.py": (set(), 0),
    "splatting/rasterization/reference.py": (set(), 0),
    "splatting/labels.py": ({"render", "grounding", "comparison"} | SCORES, 0),
    "compute/gsplat_build.py": (set(), 0),
    "splatting/terms/surface_depth.py": (set(), 0),
    "stages/training/surface.py": (set(), 0),
    "stages/training/given.py": (set(), 0),
    "files/splats.py": (set(), 0),
    "editing/transforms.py": (set(), 0),
    # What comes after.
    "exporting/ply.py": (set(), 0),
    "exporting/packed.py": (set(), 0),
    "stages/rendering/stage.py": ({"render", "grounding", "comparison"} | SCORES, 0),
    "stages/metrics/iou.py": (SCORES, 0),
    "stages/report/curves.py": ({"curves", "scene_report"}, 0),
    "stages/report/qualitative.py": ({"comparison", "scene_report"}, 0),
    "stages/report/cautions.py": ({"scene_report"}, 0),
    "stages/report/web/report.js": ({"scene_report"}, 0),
    "stages/report/status.py": (set(), 0),
    "stages/tables/writers.py": ({"tables"}, 0),
    "stages/tables/published.json": ({"tables"}, 0),
    "stages/tables/paper/build.py": (set(), 0),
    "editing/scene.py": (set(), 0),
    # An `__init__.py` with nothing but a docstring or definitions. A trained scene has a version.
    "__init__.py": (set(), 0),
    "version.py": (AFTER_GEOMETRY, 4),
    "stages/__init__.py": (set(), 0),
    "splatting/__init__.py": (set(), 0),
}


@pytest.fixture(scope="module")
def jobs(finished: Workflow) -> dict[str, Job]:
    return finished.jobs()


@pytest.mark.parametrize("module", RERUNS)
def test_a_docstring_reruns_what_runs_its_module(module: str, jobs: dict[str, Job]) -> None:
    """By the inputs that Snakemake recorded; the next test shows that it goes by them."""
    assert (REPOSITORY / "gradiseg_core" / module).is_file()
    again = downstream(jobs, f"gradiseg_core/{module}")
    stages, trainings = RERUNS[module]
    assert {jobs[output].rule for output in again} == stages
    assert sum(jobs[output].rule == "train" for output in again) == trainings


def test_inputs_are_what_a_dry_run_goes_by(workflow: Workflow, jobs: dict[str, Job]) -> None:
    """From the end of the pipeline to its start, each edit on top of those before."""
    again: set[str] = set()
    for module in (
        *("config/root.py", "stages/tracking/deva/driver.py", "stages/report/curves.py"),
        *("splatting/strategies/igd.py", "stages/scene/lerf_mask.py"),
    ):
        path = f"gradiseg_core/{module}"
        text = (workflow.folder / path).read_text()
        (workflow.folder / path).write_text(text.replace('"""', '"""Edited. ', 1))
        again |= downstream(jobs, path)
        rules = Counter(rule for rule, _ in {(jobs[file].rule, jobs[file].log) for file in again})
        assert workflow.planned() == rules, module


def test_nothing_but_code_is_an_input(jobs: dict[str, Job]) -> None:
    """No page, schema or study, and nothing of another scene."""
    for output, job in jobs.items():
        own = [path for path in job.inputs if path.startswith(("gradiseg_core/", "workflow_"))]
        rest = {path for path in job.inputs if path not in own}
        pages = {".css", ".html", ".js"} if job.rule == "scene_report" else set()
        assert {Path(path).suffix for path in own} <= {".py", ".json", ".yaml"} | pages
        scenes = {"results/alpha", "results/beta-2"}
        if job.rule in ("tables", "quality"):
            continue
        scene = next(scene for scene in scenes if output.startswith(scene))
        for path in rest:
            assert path.startswith((scene, "photos/", "resources/demo/")), (output, path)


@pytest.mark.parametrize(
    ("rule", "most"), [("train", 45), ("tracking", 30), ("curves", 10), ("tables", 12)]
)
def test_a_stage_depends_on_few_modules(rule: str, most: int, jobs: dict[str, Job]) -> None:
    for job in jobs.values():
        modules = [path for path in job.inputs if path.startswith("gradiseg_core/")]
        if job.rule == rule:
            assert 3 <= len(modules) <= most


def test_no_script_needs_the_whole_configuration() -> None:
    """Nor does collecting the runs of a study need more than reading them."""
    scripts = REPOSITORY / "workflow_scripts"
    root = PACKAGE_DIR / "config" / "root.py"
    for script in scripts.glob("*.py"):
        assert root not in closure([script], idle(gpu=True)), script.name
    studies = REPOSITORY / "studies"
    names = [studies / "scripts" / "runs.py", studies / "scripts" / "_study.py"]
    names += [scripts / "_stage.py", scripts / "_lifeline.py"]
    found = closure(names, idle(gpu=True), packages=[studies])
    assert {path.relative_to(REPOSITORY).as_posix() for path in found} == {
        *("gradiseg_core/errors.py", "gradiseg_core/compute/devices.py", "studies/runs.py"),
    }


def downstream(jobs: dict[str, Job], path: str) -> set[str]:
    """The outputs that are made again when a file changes."""
    again: set[str] = set()
    changed = {path}
    while changed:
        changed = {file for file, job in jobs.items() if job.inputs & changed} - again
        again |= changed
    return again


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
    # The scene `alpha` has no exact IDs, so its association is not scored; whether it needs masks
    # is known when its surface has been made again.
    assert set(planned) == EVERYTHING - {"association", "masks"}
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


def test_given_gaussians_of_one_variant(workflow: Workflow) -> None:
    """They are an input of this training, and what reads them is."""
    (workflow.folder / "splats.ply").write_bytes(b"ply")
    own = "own_variants: {mine: {train: {init_from: splats.ply}}}\n"
    workflow.append("config.yaml", own)
    workflow.edit("config.yaml", "[baseline, gradiseg]", "[baseline, gradiseg, mine]")
    pretend_results(workflow)
    assert workflow.planned() == {}
    (workflow.folder / "splats.ply").write_bytes(b"ply of others")
    assert workflow.planned()["train"] == 2  # of both scenes
    workflow.append("gradiseg_core/stages/training/given.py", "# another check\n")
    jobs = workflow.jobs()
    changed = downstream(jobs, "gradiseg_core/stages/training/given.py")
    assert {output for output in changed if jobs[output].rule == "train"} == {
        f"results/{scene}/mine/seed0/train" for scene in ("alpha", "beta-2")
    }


@pytest.mark.slow
def test_a_loss_term_on_the_surface(workflow: Workflow) -> None:
    """The surface is an input of the trainings that are held to it, and of no others."""
    own = "own_variants: {held: {train: {terms: {surface_depth: {}}}}}\n"
    workflow.append("config.yaml", own)
    variants = "    variants: [baseline, gradiseg, held]\n"
    workflow.edit("config.yaml", "    path: photos\n", "    path: photos\n" + variants)
    pretend_results(workflow)
    jobs = workflow.jobs()
    run = "results/alpha/{}/seed0/train"
    surface = {"results/alpha/geometry", "gradiseg_core/files/geometry.py"}
    held, usual = (jobs[run.format(name)].inputs for name in ("held", "gradiseg"))
    assert surface <= held
    assert not surface & usual
    for module in ("splatting/terms/surface_depth.py", "stages/training/surface.py"):
        again = downstream(jobs, f"gradiseg_core/{module}")
        trained = {output for output in again if jobs[output].rule == "train"}
        assert trained == {run.format("held")}
    workflow.edit("config.yaml", variants, variants + "    tracking: {backend: sfm}\n")
    done = workflow.snakemake("--dry-run")
    message = "train.terms.surface_depth: reads the surface of stage `geometry`"
    assert message in done.stdout + done.stderr


def test_a_further_variant_reruns_nothing_that_is_there(workflow: Workflow) -> None:
    workflow.edit("config.yaml", "[baseline, gradiseg]", "[baseline, igd, gradiseg]")
    planned = workflow.planned()
    assert set(planned) == AFTER_TRAINING
    assert planned["train"] == 2


def test_a_default_is_configuration_too(workflow: Workflow) -> None:
    """The parameters of a job hold all defaults, so that a changed one reruns it."""
    workflow.edit("gradiseg_core/config/metrics.py", "0.02,", "0.04,")
    assert set(workflow.planned("--rerun-triggers", "params")) == SCORES


def test_another_click_grounds_again_and_trains_nothing(workflow: Workflow) -> None:
    clicks = "grounding: {backend: clicks, clicks: {prompts: {cup: {0.jpg: [1, 2]}}}}"
    workflow.edit("config.yaml", "    path: photos", f"    path: photos\n    {clicks}")
    planned = workflow.planned()
    assert set(planned) == {"grounding"} | SCORES
    assert planned["grounding"] == 2  # the other scene has no part in it
    workflow.edit("config.yaml", "0.jpg", "4.jpg")
    done = workflow.snakemake("--dry-run")
    assert "scenes.alpha.grounding.clicks.prompts: the scene has no photograph '4.jpg'" in (
        done.stdout + done.stderr
    )


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
    extra = workflow.folder / "gradiseg_core" / "stages" / "metrics" / "extra.py"
    extra.write_text("ANSWER = 42\n")
    assert workflow.planned() == {}
    workflow.append("gradiseg_core/stages/metrics/iou.py", "from .extra import ANSWER  # noqa\n")
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
