# Requires: a trained scene, cameras, photographs and tracked IDs; the prompts' IDs, the pictures of
#           stage `render`, and what things stand on where stage `geometry` runs.
# Makes: <run>/view.html, the scene in one page that any browser opens. `snakemake views` makes all.


rule view:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        train=rules.train.output.train,
        render=rules.render.output.render,
        grounding=rules.grounding.output.grounding,
        geometry=geometry_of("tracking"),
        core=core("view.py"),
    output:
        page=report(
            "<run>/view.html",
            caption="../report/view.rst",
            category="Scenes",
            labels={"scene": "{scene}", "page": "{variant}, seed {seed}, in 3D"},
        ),
    log:
        "<run>/logs/view.log",
    benchmark:
        "<run>/benchmarks/view.tsv"
    conda:
        "../envs/train.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        config=SETTINGS.root.view.model_dump(mode="json"),
    message:
        "{wildcards.scene}: make the page of {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow_scripts/view.py"


rule views:
    input:
        [runs_of(scene, "view.html") for scene in SETTINGS.scenes],
