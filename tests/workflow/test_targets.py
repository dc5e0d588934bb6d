"""What can be asked for on the command line, and what happens when a job fails."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.workflow.conftest import REPOSITORY, Workflow
from tests.workflow.imports import third_party


def test_a_scene_is_a_target(workflow: Workflow) -> None:
    shutil.rmtree(workflow.folder / "results")
    assert workflow.planned("alpha") == {
        "scene": 1,
        "colmap": 1,
        "geometry": 1,
        "tracking": 1,
        "train": 2,
        "render": 2,
        "grounding": 2,
        "metrics": 2,
        "curves": 1,
        "comparison": 1,
        "scene_report": 1,
        "alpha": 1,
    }


def test_tables_are_a_target_and_forcerun_trains_again(workflow: Workflow) -> None:
    planned = workflow.planned("tables", "--forcerun", "train")
    assert planned["train"] == 4
    assert planned["tables"] == 1
    assert not {"tracking", "quality"} & set(planned)


def test_exports_are_a_target_and_nothing_else_makes_them(workflow: Workflow) -> None:
    workflow.append(
        "config.yaml", "exports: {splats: {format: ply}, cup: {format: spz, objects: [cup]}}\n"
    )
    assert workflow.planned() == {}
    assert workflow.planned("exports") == {"export": 8, "exports": 1}
    path = "results/alpha/gradiseg/seed0/exports/cup"
    assert workflow.planned(path) == {"export": 1}
    workflow.append("gradiseg_core/exporting/packed.py", "# other bits\n")
    assert workflow.planned() == {}
    workflow.edit("config.yaml", "objects: [cup]}", "edit: no_mug}")
    workflow.append("config.yaml", "edits: {no_mug: [{remove: mug}]}\n")
    assert workflow.planned(path) == {"edit": 1, "export": 1}


def test_an_export_that_nobody_asked_for_is_named(workflow: Workflow) -> None:
    done = workflow.snakemake("--dry-run", "exports")
    assert done.returncode != 0
    assert "nothing is exported" in done.stdout + done.stderr
    done = workflow.snakemake("--dry-run", "results/alpha/gradiseg/seed0/exports/cup")
    assert "scene alpha has no export cup; section `exports` has none" in done.stdout + done.stderr


def test_edits_are_targets_and_nothing_else_makes_them(workflow: Workflow) -> None:
    workflow.append("config.yaml", "edits: {gold: [{recolour: cup, colour: gold}]}\n")
    workflow.edit(
        "config.yaml",
        "{iterations: 20}",
        "{iterations: 20}\n    edits: {no-cup: [{remove: cup}], both: [{keep: cup}, "
        "{insert: cup, scene: results/alpha/gradiseg/seed0}]}",
    )
    assert workflow.planned() == {}
    # Two scenes of two trainings; two edits are of one scene alone.
    assert workflow.planned("edits") == {"edit": 8, "edits": 1}
    assert workflow.planned("edit_gold") == {"edit": 4, "edit_gold": 1}
    assert workflow.planned("edit_no-cup") == {"edit": 2, "edit_no-cup": 1}
    path = "results/beta-2/gradiseg/seed0/edits"
    assert workflow.planned(f"{path}/both") == {"edit": 1}
    done = workflow.snakemake("--dry-run", "results/alpha/gradiseg/seed0/edits/both")
    assert "scene alpha has no edit both; section `edits` has gold" in done.stdout + done.stderr
    # What is taken from another scene is trained first.
    shutil.rmtree(workflow.folder / "results/alpha/gradiseg")
    assert workflow.planned(f"{path}/both")["train"] == 1
    workflow.append("gradiseg_core/editing/operations.py", "# another one\n")
    assert workflow.planned("results/beta-2/gradiseg/seed0/metrics/metrics.json") == {}


def test_lamas_weights_are_fetched_for_edits_that_use_them(workflow: Workflow) -> None:
    (workflow.folder / "big-lama.pt").write_bytes(b"mine")
    workflow.append(
        "config.yaml",
        "edits: {no_mug: [{remove: mug, fill: {backend: lama}}], gold: [{recolour: mug, colour: "
        "gold}], own: [{remove: mug, fill: {backend: lama, checkpoint: big-lama.pt}}]}\n",
    )
    assert workflow.planned("edit_no_mug") == {"checkpoint": 1, "edit": 4, "edit_no_mug": 1}
    assert workflow.planned("downloads") == {"checkpoint": 1, "downloads": 1}
    assert workflow.planned("edit_gold", "edit_own") == {"edit": 8, "edit_gold": 1, "edit_own": 1}
    (workflow.folder / "big-lama.pt").unlink()
    done = workflow.snakemake("--dry-run", "edit_gold")
    assert "edits.own[0].fill.checkpoint: no such file: big-lama.pt" in done.stdout + done.stderr


def test_files_of_selections_are_inputs(workflow: Workflow) -> None:
    part = "{selection: {file: kitchen.npz, name: handle}}"
    workflow.append("config.yaml", f"edits: {{gold: [{{recolour: {part}, colour: gold}}]}}\n")
    workflow.append("config.yaml", f"exports: {{part: {{format: ply, objects: [{part}]}}}}\n")
    done = workflow.snakemake("--dry-run", "edits")
    shown = done.stdout + done.stderr
    assert "edits.gold[0].recolour: no such file: kitchen.npz" in shown
    assert "exports.part.objects: no such file: kitchen.npz" in shown
    (workflow.folder / "kitchen.npz").write_bytes(b"1")
    targets = [f"results/alpha/gradiseg/seed0/{path}" for path in ("edits/gold", "exports/part")]
    for target in targets:
        (workflow.folder / target).mkdir(parents=True)
    done = workflow.snakemake("--touch", "--cores", "1", *targets)
    assert done.returncode == 0, done.stderr
    assert workflow.planned(*targets) == {}
    (workflow.folder / "kitchen.npz").write_bytes(b"2")
    assert workflow.planned(*targets) == {"edit": 1, "export": 1}


def test_a_wrong_edit_stops_before_any_job(workflow: Workflow) -> None:
    workflow.append("config.yaml", "edits: {a: [{remov: cup}], b: [{style: cup, like: no.png}]}\n")
    done = workflow.snakemake("--dry-run")
    shown = done.stdout + done.stderr
    assert "edits.a: operation 1: 'remov' is no operation; did you mean 'remove'" in shown
    workflow.edit("config.yaml", "remov:", "remove:")
    done = workflow.snakemake("--dry-run")
    assert "edits.b[0].like: no such picture: no.png" in done.stdout + done.stderr


def test_forcerun_is_not_stopped_by_write_protection(workflow: Workflow) -> None:
    """`protected` outputs could not be made again, see rules/train.smk."""
    assert not [
        path.name
        for path in (workflow.folder / "rules").glob("*.smk")
        if "protected(" in path.read_text()
    ]


def test_a_configfile_replaces_the_shipped_one(workflow: Workflow) -> None:
    mine = "scenes:\n  mine: {path: photos}\nvariants: [la_knn]\n"
    (workflow.folder / "mine.yaml").write_text(mine)
    planned = workflow.planned("--configfile", "mine.yaml")
    assert planned["scene"] == 1
    assert planned["train"] == 1


def test_single_values_on_the_command_line(workflow: Workflow) -> None:
    planned = workflow.planned("--config", "seeds=[0, 1]")
    assert planned["train"] == 4
    assert "scene" not in planned


def test_given_ids_need_no_segmentation(workflow: Workflow) -> None:
    (workflow.folder / "ids").mkdir()
    workflow.append("config.yaml", "tracking: {backend: precomputed, precomputed: {folder: ids}}\n")
    shutil.rmtree(workflow.folder / "results")
    planned = workflow.planned("beta-2")
    assert "masks" not in planned
    assert planned["association"] == 1  # the demo has exact IDs


def test_deva_takes_what_it_needs(workflow: Workflow) -> None:
    for name in ("deva.pth", "sam.pth"):
        (workflow.folder / name).touch()
    chosen = (
        "{backend: deva, repair: sfm, deva: {checkpoint: deva.pth, sam: {checkpoint: sam.pth}%s}}\n"
    )
    workflow.append("config.yaml", "tracking: " + chosen % "")
    shutil.rmtree(workflow.folder / "results")
    planned = workflow.planned("beta-2")
    assert planned["tracking"] == 1
    assert "masks" not in planned  # SAM is asked by DEVA
    text = (workflow.folder / "config.yaml").read_text()
    masks = text.replace(chosen % "", chosen % ", detections: masks")
    (workflow.folder / "config.yaml").write_text(masks)
    planned = workflow.planned("beta-2")
    assert planned["masks"] == 1
    assert "checkpoint" not in planned


def test_grounding_by_text_takes_its_checkpoints(workflow: Workflow) -> None:
    (workflow.folder / "dino").mkdir()
    (workflow.folder / "dino" / "config.json").touch()
    (workflow.folder / "sam.pth").touch()
    own = "{checkpoint: dino, sam: {model: vit_b, checkpoint: sam.pth}}"
    before = (workflow.folder / "config.yaml").read_text()
    text = "grounding: {backend: groundingdino, groundingdino: %s}\n"
    (workflow.folder / "config.yaml").write_text(before + text % own)
    planned = workflow.planned("beta-2")
    assert planned["grounding"] == 2
    assert not {"checkpoint", "checkpoint_folder", "render"} & set(planned)
    (workflow.folder / "config.yaml").write_text(before + text % "{model: swint}")
    planned = workflow.planned("beta-2")
    assert (planned["checkpoint"], planned["checkpoint_folder"]) == (1, 1)


def test_the_method_in_2d_is_one_more_row(workflow: Workflow) -> None:
    assert not any(rule.endswith("_2d") for rule in workflow.planned("--forceall"))
    workflow.append("config.yaml", "baseline_2d: true\n")
    planned = workflow.planned()
    assert planned == {
        "masks_2d": 1,  # the other scene's IDs come from geometry, which has all views
        "tracking_2d": 2,
        "grounding_2d": 2,
        "metrics_2d": 2,
        "tables": 1,
    }
    (workflow.folder / "ids").mkdir()
    given = "tracking_2d: {backend: precomputed, precomputed: {folder: ids}}\n"
    workflow.append("config.yaml", given)
    assert "masks_2d" not in workflow.planned()


def test_a_wrong_configuration_stops_before_any_job(workflow: Workflow) -> None:
    workflow.append("config.yaml", "trian: {iterations: 5}\n")
    done = workflow.snakemake("--cores", "1")
    assert done.returncode != 0
    assert "trian: unknown key; did you mean 'train'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Job stats" not in done.stderr


def test_a_failed_job_loses_no_finished_one(workflow: Workflow) -> None:
    results = workflow.folder / "results"
    missing = results / "alpha" / "gradiseg" / "seed0" / "metrics" / "metrics.json"
    missing.unlink()
    before = {path for path in results.rglob("*") if path.suffix in (".json", ".png", ".csv")}
    checkpoint = results / "alpha" / ".work" / "gradiseg" / "0" / "checkpoints" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"half of a training")

    done = workflow.snakemake("--cores", "1", "alpha")  # placeholders cannot be scored
    assert done.returncode != 0
    assert "no scene.json in results/alpha/scene: run stage `scene` first" in done.stderr
    assert "Traceback" not in done.stderr
    after = {path for path in results.rglob("*") if path.suffix in (".json", ".png", ".csv")}
    lost = {path.relative_to(results) for path in before - after}
    assert all(path.parent == missing.relative_to(results).parent for path in lost)
    assert checkpoint.is_file()
    assert workflow.planned("alpha") == {"metrics": 1, "scene_report": 1, "alpha": 1}


def test_the_names_of_all_rules_are_taken(workflow: Workflow) -> None:
    listed = set(workflow.snakemake("--list-rules").stdout.split()) - {"alpha", "beta-2"}
    assert {"all", "scene", "second_metrics", "quality"} <= listed
    scenes = "".join(f"  {name}: {{path: photos}}\n" for name in listed)
    (workflow.folder / "mine.yaml").write_text("scenes:\n" + scenes)
    done = workflow.snakemake("--dry-run", "--configfile", "mine.yaml")
    refused = re.findall(r"scenes\.(\w+): this name is taken", done.stdout + done.stderr)
    assert set(refused) == listed


def test_every_script_is_short_and_calls_the_core() -> None:
    for folder in ("workflow_scripts", "studies/scripts"):
        for path in (REPOSITORY / folder).glob("*.py"):
            lines = path.read_text().splitlines()
            assert len(lines) <= 80, path.name
            if not path.name.startswith("_"):
                assert "with stage(snakemake):" in lines, path.name
                assert re.search("^    from (gradiseg_core|studies)", path.read_text(), re.M), path


def test_the_core_knows_nothing_of_what_uses_it() -> None:
    files = list((REPOSITORY / "gradiseg_core").rglob("*.py"))
    assert len(files) > 100
    users = {"snakemake", "studies", "benchmarks", "tests", "workflow_scripts"}
    guilty = {path: third_party([path]) & users for path in files}
    assert not {path: names for path, names in guilty.items() if names}


@pytest.mark.usefixtures("conda")
def test_sam_brings_its_checkpoint_and_its_environment(workflow: Workflow) -> None:
    """For the scene that asks for it, and for no other."""
    shutil.rmtree(workflow.folder / "results")
    for backend in ("sam", "graph"):
        mine = f"scenes:\n  mine: {{path: photos, masks: {{backend: {backend}}}}}\n"
        (workflow.folder / "mine.yaml").write_text(mine)
        options = ("--configfile", "mine.yaml", "--until", "masks", "--sdm", "conda")
        done = workflow.snakemake("--dry-run", *options)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert ("envs/sam.yaml" in output) == (backend == "sam")
        assert ("sam_vit_h.pth" in output) == (backend == "sam")


def test_a_copy_takes_the_other_scenes_photographs(workflow: Workflow) -> None:
    mine = (
        "scenes:\n  mine: {path: photos}\n"
        "  other: {source: copy, of: mine, train: {iterations: 5}}\nvariants: [baseline]\n"
    )
    (workflow.folder / "mine.yaml").write_text(mine)
    planned = workflow.planned("other", "--configfile", "mine.yaml")
    assert planned["scene"] == 2
    assert planned["colmap"] == planned["train"] == 1


def test_a_second_grounding_shares_the_trainings(workflow: Workflow) -> None:
    workflow.append("config.yaml", "second_grounding: {backend: manual}\n")
    planned = workflow.planned()
    assert planned["second_grounding"] == planned["second_metrics"] == 4
    assert set(planned) == {"second_grounding", "second_metrics", "tables"}
    one = "{iterations: 20}\n    second_grounding: {backend: manual}"
    workflow.edit("config.yaml", "second_grounding: {backend: manual}\n", "")
    workflow.edit("config.yaml", "{iterations: 20}", one)
    assert workflow.planned()["second_grounding"] == 2
