# Requires: rendered encodings and labels; a selection file where the configuration names one.
# Makes: <run>/grounding, the IDs that each prompt means, and its predicted masks.


rule grounding:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        train=rules.train.output.train,
        render=rules.render.output.render,
        given=given("grounding"),
        core=core("grounding.py"),
    output:
        grounding=directory("<run>/grounding"),
    log:
        "<run>/logs/grounding.log",
    benchmark:
        "<run>/benchmarks/grounding.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=settings_of("grounding"),
    message:
        "{wildcards.scene}: find the prompts in {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/grounding.py"
