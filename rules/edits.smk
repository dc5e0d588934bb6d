# Requires: a trained scene, the names of its objects, and the cameras.
# Makes: <run>/edits/<name>, the edited scene, pictures and a video, of every entry of section `edits`.
#
# Nothing else depends on them; `snakemake --cores all edits` makes all, `edit_<name>` one.


rule edit:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        train=rules.train.output.train,
        grounding=rules.grounding.output.grounding,
        geometry=geometry_of("tracking"),
        others=read_by_edit,
        lama=lama_of_edit,
        core=core("edit.py"),
    output:
        edit=report(
            directory("<run>/edits/{edit}"),
            patterns=["{view}.mp4", "views/{view}.png"],
            caption="../report/edit.rst",
            category="Edits",
            subcategory="{scene}",
            labels={
                "edit": "{edit}",
                "variant": "{variant}",
                "seed": "{seed}",
                "view": "{view}",
            },
        ),
    log:
        "<run>/logs/edit_{edit}.log",
    benchmark:
        "<run>/benchmarks/edit_{edit}.tsv"
    conda:
        "../envs/edits.yaml"
    threads: 2
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        config=edit_of,
    message:
        "{wildcards.scene}: edit {wildcards.edit} of {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/edit.py"


rule edits:
    input:
        all_edits,


# One target for each edit, of all trainings that have it.
for name in SETTINGS.all_edits():

    rule:
        name:
            f"edit_{name}"
        input:
            edits_of(name),
