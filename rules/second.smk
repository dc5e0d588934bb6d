# Requires: what rules `grounding` and `metrics` require.
# Makes: <run>/second_grounding and <run>/second_metrics, prompts grounded by a second backend
#        (`second_grounding`) on the same training, and their scores. Tables 1 and 2 of the paper
#        share their trainings in this way.


use rule grounding as second_grounding with:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        train=rules.train.output.train,
        render=rules.render.output.render,
        given=given("second_grounding"),
        weights=weights_of("second_grounding"),
        core=core_of("grounding.py", "second_grounding"),
    output:
        grounding=report(
            directory("<run>/second_grounding"),
            patterns=["pictures/{prompt}.png"],
            caption="../report/grounding.rst",
            category="Prompts",
            subcategory="{scene}",
            labels={
                "variant": "{variant} (second)",
                "seed": "{seed}",
                "prompt": "{prompt}",
            },
        ),
    log:
        "<run>/logs/second_grounding.log",
    benchmark:
        "<run>/benchmarks/second_grounding.tsv"
    conda:
        environment_of("second_grounding")
    resources:
        mem_mb=memory_of("second_grounding"),
        gpu=wants_gpu("second_grounding"),
    params:
        given_otherwise=given_otherwise("second_grounding"),
        config=settings_of("second_grounding"),
    message:
        "{wildcards.scene}: find the prompts in {wildcards.variant}, seed {wildcards.seed}, second backend"


use rule metrics as second_metrics with:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        train=rules.train.output.train,
        render=rules.render.output.render,
        grounding=rules.second_grounding.output.grounding,
        given=given("metrics"),
        weights=weights_of("metrics"),
        core=core("metrics.py"),
    output:
        metrics="<run>/second_metrics/metrics.json",
        per_view=report(
            "<run>/second_metrics/per_view.csv",
            caption="../report/per_view.rst",
            category="Scores",
            subcategory="{scene}",
            labels={"variant": "{variant} (second)", "seed": "{seed}"},
        ),
    log:
        "<run>/logs/second_metrics.log",
    benchmark:
        "<run>/benchmarks/second_metrics.tsv"
    message:
        "{wildcards.scene}: score {wildcards.variant}, seed {wildcards.seed}, second backend"
