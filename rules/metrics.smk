# Requires: cached renderings and predicted masks; annotations; the backbone of LPIPS, if the
#           configuration names it.
# Makes: <run>/metrics, scores of every view, prompt and object.


rule metrics:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        train=rules.train.output.train,
        render=rules.render.output.render,
        grounding=rules.grounding.output.grounding,
        given=given("metrics"),
        weights=weights_of("metrics"),
        core=core("metrics.py"),
    output:
        metrics="<run>/metrics/metrics.json",
        per_view=report(
            "<run>/metrics/per_view.csv",
            caption="../report/per_view.rst",
            category="Scores",
            subcategory="{scene}",
            labels={"variant": "{variant}", "seed": "{seed}"},
        ),
    log:
        "<run>/logs/metrics.log",
    benchmark:
        "<run>/benchmarks/metrics.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        given_otherwise=given_otherwise("metrics"),
        config=settings_of("metrics"),
    message:
        "{wildcards.scene}: score {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/metrics.py"
