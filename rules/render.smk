# Requires: a trained scene and the cameras of the test views.
# Makes: <run>/render, colour, ID maps, encodings, depth, and pictures beside the truth.


rule render:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        train=rules.train.output.train,
        core=core_of("render.py", "render"),
    output:
        render=report(
            directory("<run>/render"),
            patterns=["side_by_side/{view}.png"],
            caption="../report/render.rst",
            category="Pictures",
            subcategory="{scene}",
            labels={"variant": "{variant}", "seed": "{seed}", "view": "{view}"},
        ),
    log:
        "<run>/logs/render.log",
    benchmark:
        "<run>/benchmarks/render.tsv"
    conda:
        by_device(
            "render", default="../envs/train.yaml", cuda="../envs/train_cuda.yaml"
        )
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=wants_gpu("render"),
    params:
        config=settings_of("render"),
    message:
        "{wildcards.scene}: render the test views of {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/render.py"
