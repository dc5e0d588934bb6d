# Requires: the scores of all scenes, variants and seeds.
# Makes: <results>/tables/runs.json, one line a run; the targets of a study such as
#        config/bench_method.yaml. Its results are kept in docs/results/.
#
# Studies of many options that act late in training go by branches: one job trains all variants of
# a scene and seed from what they share, and keeps their scores alone
# (<results>/tables/branches.json, and what each is worth as a table and a plot). As separate runs
# their scores would be the same.


rule runs:
    input:
        metrics=[runs_of(scene, "metrics/metrics.json") for scene in SETTINGS.scenes],
        core=core("runs.py"),
    output:
        runs="<results>/tables/runs.json",
    log:
        "<results>/tables/logs/runs.log",
    benchmark:
        "<results>/tables/benchmarks/runs.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        variants={
            name: variant.model_dump(mode="json", exclude_unset=True)
            for name, variant in SETTINGS.root.own_variants.items()
        },
    message:
        "Scores of all runs in one file"
    script:
        "../workflow_scripts/runs.py"


rule bench_method:
    input:
        rules.runs.output,
        rules.tables.output,
        rules.quality.output,


# A quick part: the first seed of what ships, on the scenes that are not copies of others.
rule bench_method_quick:
    input:
        [
            f"<results>/{scene}/{variant}/seed{SETTINGS.seeds_of(scene)[0]}/metrics/metrics.json"
            for scene in SETTINGS.scenes
            if SETTINGS.root.scenes[scene].of is None
            for variant in SETTINGS.variants_of(scene)
            if variant not in SETTINGS.root.own_variants
        ],


rule branches:
    input:
        scene=rules.scene.output.scene,
        colmap=rules.colmap.output.colmap,
        tracking=rules.tracking.output.tracking,
        surface=surface_of,
        core=core("branches.py"),
    output:
        runs="<results>/{scene}/branches/seed{seed}.json",
    log:
        "<results>/{scene}/branches/logs/seed{seed}.log",
    benchmark:
        "<results>/{scene}/branches/benchmarks/seed{seed}.tsv"
    conda:
        "../envs/bench.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=wants_gpu("train"),
    params:
        branches=lambda w: {
            name: SETTINGS.resolve(w.scene, "train", name)
            for name in SETTINGS.variants_of(w.scene)
        },
        render=settings_of("render"),
        grounding=settings_of("grounding"),
        metrics=settings_of("metrics"),
        finished=lambda w: str(
            Path(
                SETTINGS.root.results,
                w.scene,
                ".work",
                "branches",
                f"seed{w.seed}.jsonl",
            )
        ),
    message:
        "{wildcards.scene}: train and score all variants by branches, seed {wildcards.seed}"
    script:
        "../workflow_scripts/branches.py"


rule bench_branches:
    input:
        slices=[
            f"<results>/{scene}/branches/seed{seed}.json"
            for scene in SETTINGS.scenes
            for seed in SETTINGS.seeds_of(scene)
        ],
        core=core("collect_branches.py"),
    output:
        runs="<results>/tables/branches.json",
        table="<results>/tables/branches.md",
        plot="<results>/tables/branches.png",
    log:
        "<results>/tables/logs/branches.log",
    benchmark:
        "<results>/tables/benchmarks/branches.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        variants={
            name: variant.model_dump(mode="json", exclude_unset=True)
            for name, variant in SETTINGS.root.own_variants.items()
        },
        reference=SETTINGS.root.tables.reference_variant,
    message:
        "Scores of all slices of the study in one file"
    script:
        "../workflow_scripts/collect_branches.py"
