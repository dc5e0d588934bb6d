# Requires: training logs, renderings and scores.
# Makes: the figures of `snakemake --report report.html`: curves and a comparison per scene, and the
#        quality of the variants over all scenes; <results>/{scene}/report.html, a scene on one page.


rule curves:
    input:
        train=lambda w: runs_of(w.scene, "train"),
        core=core("curves.py"),
    output:
        figure=report(
            "<results>/{scene}/figures/curves.png",
            caption="../report/curves.rst",
            category="Training",
            labels={"scene": "{scene}"},
        ),
    log:
        "<results>/{scene}/logs/curves.log",
    benchmark:
        "<results>/{scene}/benchmarks/curves.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "{wildcards.scene}: plot the training"
    script:
        "../workflow_scripts/curves.py"


rule comparison:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        render=lambda w: first_runs_of(w.scene, "render"),
        core=core("comparison.py"),
    output:
        figure=report(
            "<results>/{scene}/figures/comparison.png",
            caption="../report/qualitative.rst",
            category="Pictures",
            subcategory="{scene}",
            labels={"variant": "all", "seed": "first", "view": "comparison"},
        ),
    log:
        "<results>/{scene}/logs/comparison.log",
    benchmark:
        "<results>/{scene}/benchmarks/comparison.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "{wildcards.scene}: compare the variants' pictures"
    script:
        "../workflow_scripts/comparison.py"


rule scene_report:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        render=lambda w: first_runs_of(w.scene, "render"),
        grounding=lambda w: first_runs_of(w.scene, "grounding"),
        train=lambda w: runs_of(w.scene, "train"),
        metrics=lambda w: runs_of(w.scene, "metrics/metrics.json"),
        curves=rules.curves.output.figure,
        quality=quality_of,
        core=core("scene_report.py"),
    output:
        page=report(
            "<results>/{scene}/report.html",
            caption="../report/scene_report.rst",
            category="Scenes",
            labels={"scene": "{scene}", "page": "results"},
        ),
    log:
        "<results>/{scene}/logs/scene_report.log",
    benchmark:
        "<results>/{scene}/benchmarks/scene_report.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    message:
        "{wildcards.scene}: put the results on one page"
    script:
        "../workflow_scripts/scene_report.py"


rule quality:
    input:
        metrics=[runs_of(scene, "metrics/metrics.json") for scene in SETTINGS.scenes],
        core=core("quality.py"),
    output:
        figure=report(
            "<results>/tables/quality.png",
            caption="../report/quality.rst",
            category="Scores",
            labels={"table": "quality of the variants"},
        ),
    log:
        "<results>/tables/logs/quality.log",
    benchmark:
        "<results>/tables/benchmarks/quality.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Plot the quality of the variants"
    script:
        "../workflow_scripts/quality.py"
