# Requires: a trained scene; the names of its objects, and the cameras.
# Makes: <run>/exports/<name>, files for other programs, of every entry of section `exports`.
#
# Nothing else depends on them; `snakemake --cores all exports` makes all.


rule export:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        train=rules.train.output.train,
        edited=edited_for_export,
        selections=selections_of_export,
        grounding=rules.grounding.output.grounding,
        core=core("export.py"),
    output:
        export=directory("<run>/exports/{export}"),
    log:
        "<run>/logs/export_{export}.log",
    benchmark:
        "<run>/benchmarks/export_{export}.tsv"
    conda:
        "../envs/exports.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        config=export_of,
    message:
        "{wildcards.scene}: export {wildcards.export} of {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/export.py"


rule exports:
    input:
        all_exports,
