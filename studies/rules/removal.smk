# Requires: trainings of tabletops, whose IDs are those of the things on them.
# Makes: <results>/tables/removal.json, a line for each training and way: things removed one at a time,
#        and swapped, scored against the table rendered so; pictures beside the trainings.


def tabletop_of(scene):
    """The tabletop that a scene's photographs come from."""
    path = SETTINGS.origin(scene).path
    for name in STUDIES.tabletops:
        if path == Path(STUDIES.folder, "tabletops", name):
            return name
    raise WorkflowError(
        f"{scene} is no tabletop of the key studies; nothing can be removed"
    )


rule removal_truth:
    input:
        core=study_core("removal_truth.py"),
    output:
        folder=directory("<studies>/removal/{tabletop}/{edit}"),
    log:
        "<studies>/logs/removal/{tabletop}/{edit}.log",
    benchmark:
        "<studies>/benchmarks/removal/{tabletop}/{edit}.tsv"
    conda:
        "../envs/tabletop.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        config=lambda w: STUDIES.tabletops[w.tabletop].model_dump(mode="json"),
        prompts=lambda w: STUDIES.removal.edits[w.edit],
    message:
        "{wildcards.tabletop}: render the truth of {wildcards.edit}"
    script:
        "../scripts/removal_truth.py"


rule removal_scores:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        train="<results>/{scene}/{variant}/seed{seed}/train",
        truth=lambda w: [
            f"<studies>/removal/{tabletop_of(w.scene)}/{edit}"
            for edit in STUDIES.removal.edits
        ],
        core=study_core("removal.py"),
    output:
        scores="<results>/{scene}/{variant}/seed{seed}/removal/scores.json",
    log:
        "<results>/{scene}/{variant}/seed{seed}/logs/removal.log",
    benchmark:
        "<results>/{scene}/{variant}/seed{seed}/benchmarks/removal.tsv"
    conda:
        "../envs/bench.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        config=lambda w: STUDIES.tabletops[tabletop_of(w.scene)].model_dump(mode="json"),
        removal=STUDIES.removal.model_dump(mode="json"),
        truth=lambda w: f"{STUDIES.folder}/removal/{tabletop_of(w.scene)}",
    message:
        "{wildcards.scene}: {wildcards.variant}, seed {wildcards.seed}: edit and score"
    script:
        "../scripts/removal.py"


rule removal:
    input:
        scores=[
            gradiseg.runs_of(scene, "removal/scores.json") for scene in SETTINGS.scenes
        ],
        core=study_core("collect_removal.py"),
    output:
        scores="<results>/tables/removal.json",
    log:
        "<results>/tables/logs/removal.log",
    benchmark:
        "<results>/tables/benchmarks/removal.tsv"
    conda:
        "../../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Scores of all edits in one file"
    script:
        "../scripts/collect_removal.py"
