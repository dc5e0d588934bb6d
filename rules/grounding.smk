# Requires: rendered encodings and labels; a selection file, or the checkpoints of the text model, if
#           the configuration names them.
# Makes: <run>/grounding, the IDs that each prompt means, and its predicted masks.


rule grounding:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        train=rules.train.output.train,
        render=rules.render.output.render,
        given=given("grounding"),
        weights=weights_of("grounding"),
        core=core_of("grounding.py", "grounding"),
    output:
        grounding=report(
            directory("<run>/grounding"),
            patterns=["pictures/{prompt}.png"],
            caption="../report/grounding.rst",
            category="Prompts",
            subcategory="{scene}",
            labels={"variant": "{variant}", "seed": "{seed}", "prompt": "{prompt}"},
        ),
    log:
        "<run>/logs/grounding.log",
    benchmark:
        "<run>/benchmarks/grounding.tsv"
    conda:
        environment_of("grounding")
    threads: 1
    resources:
        mem_mb=memory_of("grounding"),
        runtime=60,
        gpu=wants_gpu("grounding"),
    params:
        given_otherwise=given_otherwise("grounding"),
        config=settings_of("grounding"),
    message:
        "{wildcards.scene}: find the prompts in {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/grounding.py"
