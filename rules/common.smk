# Helpers of the rules: the validated configuration, and the inputs that are not results.
import os
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

from gradiseg_core.config import base as config_base
from gradiseg_core.config import edits as config_edits
from gradiseg_core.config import inputs as config_inputs
from gradiseg_core.config import paper as config_paper
from gradiseg_core.config import root as config_root
from gradiseg_core.config.backends import BackendConfig
from gradiseg_core.compute.devices import uses_gpu
from gradiseg_core.config import datasets
from gradiseg_core.config.weights import checkpoints as known_weights
from gradiseg_core.config.idle import idle
from gradiseg_core.config.paper_plan import paper_plan
from gradiseg_core.config.reading import refuse_repeated_keys
from gradiseg_core.errors import GradisegError
from gradiseg_core.files.geometry import failure_of
from gradiseg_core.modules import closure
from gradiseg_core.planning.budgets import budget_maker, keep_budgets
from gradiseg_core.planning.costs import Job
from gradiseg_core.planning.reporting import learn, say_plan
from gradiseg_core.planning.workflow import rule_names

# Not `workflow.basedir`: in a module this is the folder of the including workflow.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent


BEGUN = time.time()


def cores():
    """Cores that this call of Snakemake may use; None where it runs nothing: --report, --lint."""
    try:
        return workflow.cores
    except WorkflowError:
        return None


try:
    refuse_repeated_keys(map(Path, workflow.configfiles))
    SETTINGS = config_root.load(
        config, reserved=rule_names(ROOT), budget_of=budget_maker(cores())
    )
except GradisegError as error:
    raise WorkflowError(str(error)) from None
PAPER = paper_plan(SETTINGS)
for name, why in SETTINGS.absent.items():
    print(f"scene {name} is left out: {why}", file=sys.stderr)
for line in SETTINGS.unused:
    print(f"warning: {line}", file=sys.stderr)


def jobs_of_run():
    """The jobs that this call of Snakemake runs, as far as it knows them."""
    return [
        Job(
            job.rule.name,
            job.wildcards_dict.get("scene"),
            job.wildcards_dict.get("variant"),
            int(job.wildcards_dict.get("seed", 0)),
        )
        for job in workflow.dag.needrun_jobs(exclude_finished=False)
        if job.rule.name not in ("all", "views", *SETTINGS.scenes)
    ]


def core(script, also=(), without=idle()):
    """The script of a rule and all core modules that it runs; a change of any reruns the job.

    Snakemake compares such small files by content, so a new time stamp reruns nothing.
    """
    scripts = [
        ROOT / "workflow_scripts" / name
        for name in (script, "_stage.py", "_lifeline.py")
    ]
    found = [*scripts, *closure([*scripts, *also], without), *also]
    return [os.path.relpath(path) for path in dict.fromkeys(found)]


def section_of(w, stage):
    """The section of the job's scene; of a tracker that reads geometry, as it holds after that.

    Until then Snakemake does not know what the tracker needs, and asks again when it has run.
    """
    section = SETTINGS.section(w.scene, stage, w.get("variant"))
    if not (hasattr(section, "after_geometry") and section.needs_geometry):
        return section
    return section.after_geometry(failed=no_geometry(w) is not None)


def no_geometry(w):
    """Why the surface of the job's scene holds no objects; None where it does."""
    return failure_of(checkpoints.geometry.get(scene=w.scene).output.geometry)


def instead_of_geometry(stage):
    """Parameter function: why a tracker that reads the surface takes another way, if it does."""
    needed = lambda w: SETTINGS.section(w.scene, stage).needs_geometry
    return lambda w: no_geometry(w) if needed(w) else None


def core_of(script, stage):
    """Input function: likewise, without modules that the configuration of the job leaves idle."""

    def files(w):
        section = section_of(w, stage)
        without = idle(section, gpu=wants_gpu(stage)(w) > 0)
        return core(script, getattr(section, "files", ()), without)

    return files


def settings_of(stage):
    """Parameter function: the section as resolved for the job's scene, with all defaults."""
    return lambda w: section_of(w, stage).model_dump(mode="json")


def own_files(w, stage):
    """The user's own files that a section names, relative to the working directory."""
    section = SETTINGS.section(w.scene, stage, w.get("variant"))
    files = config_inputs.given_files(section, SETTINGS.root.made)
    return [Path(os.path.relpath(path)) for path in files]


def given(stage):
    """Input function: the user's own files that a section names, if Snakemake can name them."""
    return lambda w: [
        str(path) for path in own_files(w, stage) if config_base.can_be_named(path)
    ]


def given_otherwise(stage):
    """Parameter function: the contents of the other files, so that a change reruns the job."""
    return lambda w: config_inputs.contents(
        path for path in own_files(w, stage) if not config_base.can_be_named(path)
    )


def weights_of(stage):
    """Input function: the checkpoints of a stage, in the order of its section's `weights()`.

    The user's own, or those of rule `checkpoint`. Hashes are checked when a file is fetched, so
    fetching it again reruns nothing (`ancient`).
    """

    def files(w):
        return [
            (
                ancient(f"<downloads>/checkpoints/{known_weights()[name].file_name}")
                if path is None
                else os.path.relpath(path)
            )
            for name, path in SETTINGS.section(w.scene, stage).weights().items()
        ]

    return files


def dataset_of(w):
    """Input function: the published scene that is downloaded, if one is named."""
    scene = SETTINGS.section(w.scene, "scene")
    if scene.dataset is None:
        return []
    name = datasets.folder_name(scene.source, scene.dataset, scene.factor)
    return ancient(f"<downloads>/datasets/{name}")


def copied(w):
    """Input function: the scene that the job's scene copies, if any."""
    source = SETTINGS.section(w.scene, "scene").of
    return [] if source is None else f"<results>/{source}/scene"


def downloads_of_all():
    """All downloads that the configuration needs, for all scenes."""
    needed = [
        download.path
        for scene in SETTINGS.scenes
        for download in config_inputs.needed_downloads(
            SETTINGS.used_sections(scene), SETTINGS.steps_of(scene)
        )
    ]
    return [f"<downloads>/{path}" for path in dict.fromkeys(needed)]


def required(stage):
    """Function of the wildcards: the requirements of the backend."""
    return lambda w: SETTINGS.section(w.scene, stage).chosen.requires


def environment_of(stage):
    """Function of the wildcards: the environment of the backend."""
    return lambda w: f"../envs/{required(stage)(w).environment}.yaml"


def memory_of(stage):
    """Function of the wildcards: the memory of the backend, MB."""
    return lambda w: required(stage)(w).mem_mb


def runtime_of(stage):
    """Function of the wildcards: the time limit of the backend, minutes."""
    return lambda w: required(stage)(w).runtime_min


def wants_gpu(stage):
    """Function of the wildcards: GPUs of the job, 1 or 0, by `device` of the section.

    `--resources gpu=N` limits how many jobs run on GPUs at a time; each picks a free one.
    """

    def count(w):
        section = SETTINGS.section(w.scene, stage, w.get("variant"))
        if isinstance(section, BackendConfig):
            if not section.chosen.requires.gpu:
                return 0
            section = section.options
        return int(uses_gpu(getattr(section, "device", "cpu")))

    return count


def by_device(stage, *, default, cuda):
    """Function of the wildcards: the value for a stage that runs on a GPU, or the default."""
    return lambda w: cuda if wants_gpu(stage)(w) else default


def geometry_of(stage):
    """Input function: the surface, where the tracker or a term of the loss reads it."""

    def folder(w):
        wanted = SETTINGS.section(w.scene, stage, w.get("variant")).needs_geometry
        return f"<results>/{w.scene}/geometry" if wanted else []

    return folder


def masks_of(w):
    """Input function: the segments, unless nobody needs them, as where geometry found objects."""
    needed = section_of(w, "tracking").needs_masks
    return f"<results>/{w.scene}/masks" if needed else []


def masks_of_all_views(w):
    """Input function: likewise for the method in 2D, whose tracker sees the test views as well."""
    needed = section_of(w, "tracking_2d").needs_masks
    return f"<results>/{w.scene}/tracks_2d/masks" if needed else []


def work(name):
    """Parameter function: a folder for files that must survive a failed job, so not an output."""
    return lambda w: str(Path(SETTINGS.root.results, w.scene, ".work", *w[1:], name))


def runs_of(scene, file, seeds=None):
    """A file of every training of a scene."""
    return [
        f"<results>/{scene}/{variant}/seed{seed}/{file}"
        for variant in SETTINGS.variants_of(scene)
        for seed in (SETTINGS.seeds_of(scene) if seeds is None else seeds)
    ]


def first_runs_of(scene, file):
    """A file of every variant of a scene, of the first seed."""
    return runs_of(scene, file, SETTINGS.seeds_of(scene)[:1])


def tracks_2d_of(scene, file):
    """A file of the method in 2D, if the configuration asks for it."""
    wanted = SETTINGS.uses(scene, "tracking_2d")
    return [f"<results>/{scene}/tracks_2d/{file}"] if wanted else []


def all_metrics_of(scene):
    """The scores of every training of a scene, in both ways of grounding, and of its 2D tracks."""
    second = SETTINGS.uses(scene, "second_grounding")
    return [
        *runs_of(scene, "metrics/metrics.json"),
        *tracks_2d_of(scene, "metrics/metrics.json"),
        *(runs_of(scene, "second_metrics/metrics.json") if second else []),
    ]


def training_threads(wildcards):
    """Threads of one training; few: two trainings of one thread are faster than one of two."""
    trainings = sum(
        len(SETTINGS.variants_of(scene)) * len(SETTINGS.seeds_of(scene))
        for scene in SETTINGS.scenes
    )
    return max(1, min(4, (cores() or 1) // trainings))


def edit_of(w):
    """Parameter function: the operations of an edit; a name that the scene does not have is an error."""
    edits = SETTINGS.edits_of(w.scene)
    if w.edit not in edits:
        names = ", ".join(edits) or "none"
        raise WorkflowError(
            f"scene {w.scene} has no edit {w.edit}; section `edits` has {names}"
        )
    return [step.model_dump(mode="json") for step in edits[w.edit]]


def read_by_edit(w):
    """Input function: files that an edit names, and trained scenes that something is taken from."""
    files = []
    for path in config_edits.read_by(SETTINGS.edits_of(w.scene).get(w.edit, ())):
        # A run of this workflow is made first; of another one's, its Gaussians are an input.
        run = re.fullmatch(r"(.+/)?([^/]+)/([^/]+)/seed(\d+)", os.path.relpath(path))
        made = (
            run and run[2] in SETTINGS.scenes and run[3] in SETTINGS.variants_of(run[2])
        )
        parts = ("train", "grounding") if made else ()
        files += [os.path.relpath(path / part) for part in parts] or [
            os.path.relpath(path)
        ]
    return files


def lama_of_edit(w):
    """Input function: LaMa's weights, where an edit uses them and names no file of its own."""
    weights = [step.weights() for step in SETTINGS.edits_of(w.scene).get(w.edit, ())]
    needed = any(None in names.values() for names in weights)
    return (
        ancient(f"<downloads>/checkpoints/{known_weights()['lama'].file_name}")
        if needed
        else []
    )


def edits_of(name):
    """An edit of every training that has it."""
    scenes = [scene for scene in SETTINGS.scenes if name in SETTINGS.edits_of(scene)]
    return [file for scene in scenes for file in runs_of(scene, f"edits/{name}")]


def all_edits(w):
    """Input function: every edit of every training."""
    found = [file for name in SETTINGS.all_edits() for file in edits_of(name)]
    if not found:
        raise WorkflowError(
            "nothing is edited: write what in section `edits` of the configuration, such as "
            "`edits: {without_apple: [{remove: red apple}]}`"
        )
    return found


def export_of(w):
    """Parameter function: what an export writes; a name that the scene does not have is an error."""
    exports = SETTINGS.exports_of(w.scene)
    if w.export not in exports:
        names = ", ".join(exports) or "none"
        raise WorkflowError(
            f"scene {w.scene} has no export {w.export}; section `exports` has {names}"
        )
    return exports[w.export].model_dump(mode="json")


def selections_of_export(w):
    """Input function: the files of selections that an export names."""
    config = SETTINGS.exports_of(w.scene).get(w.export)
    files = [] if config is None else [entry.file for entry in config.stored]
    return [os.path.relpath(path) for path in dict.fromkeys(files)]


def edited_for_export(w):
    """Input function: the edited scene that an export is of, if it is of one."""
    config = SETTINGS.exports_of(w.scene).get(w.export)
    return [] if config is None or config.edit is None else f"<run>/edits/{config.edit}"


def all_exports(w):
    """Input function: every export of every training."""
    found = [
        file
        for scene in SETTINGS.scenes
        for name in SETTINGS.exports_of(scene)
        for file in runs_of(scene, f"exports/{name}")
    ]
    if not found:
        raise WorkflowError(
            "nothing is exported: write what in section `exports` of the configuration, such as "
            "`exports: {splats: {format: ply}}`"
        )
    return found


def quality_of(w):
    """Input function: the score of the association, if the scene has exact IDs."""
    scored = config_inputs.has_exact_ids(SETTINGS.origin(w.scene), SETTINGS.root.made)
    return f"<results>/{w.scene}/association/quality.json" if scored else []


def results_of(scene):
    """The files of a scene's target."""
    wanted = [
        *all_metrics_of(scene),
        f"<results>/{scene}/figures/curves.png",
        f"<results>/{scene}/figures/comparison.png",
        f"<results>/{scene}/report.html",
    ]
    if config_inputs.has_exact_ids(SETTINGS.origin(scene), SETTINGS.root.made):
        wanted.append(f"<results>/{scene}/association/quality.json")
    return wanted
