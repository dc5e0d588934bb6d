# Requires: the scores of all scenes, variants and seeds.
# Makes: <results>/tables/runs.json, one line a run; <results>/tables/differences.md, what each variant
#        is worth; the targets of studies/config/bench_method.yaml. What
#        came out of the studies is kept in results/.


rule runs:
    input:
        metrics=[
            gradiseg.runs_of(scene, "metrics/metrics.json")
            for scene in SETTINGS.scenes
        ],
        core=study_core("runs.py"),
    output:
        runs="<results>/tables/runs.json",
    log:
        "<results>/tables/logs/runs.log",
    benchmark:
        "<results>/tables/benchmarks/runs.tsv"
    conda:
        "../../envs/evaluate.yaml"
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
        "../scripts/runs.py"


rule paired:
    input:
        metrics=[gradiseg.all_metrics_of(scene) for scene in SETTINGS.scenes],
        core=study_core("paired.py"),
    output:
        table="<results>/tables/differences.md",
    log:
        "<results>/tables/logs/differences.log",
    benchmark:
        "<results>/tables/benchmarks/differences.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=SETTINGS.root.tables.model_dump(mode="json"),
        labels=SETTINGS.labels(),
    message:
        "Differences of variants, paired by scene and seed"
    script:
        "../scripts/paired.py"


rule bench_method:
    input:
        rules.runs.output,
        rules.tables.output,
        rules.paired.output,
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
