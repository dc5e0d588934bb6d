# Requires: the scores of all scenes, variants and seeds.
# Makes: <results>/tables, one table as Markdown, LaTeX and CSV.


rule tables:
    input:
        metrics=[all_metrics_of(scene) for scene in SETTINGS.scenes],
        core=core("tables.py"),
    output:
        markdown="<results>/tables/tables.md",
        latex="<results>/tables/tables.tex",
        csv=report(
            "<results>/tables/tables.csv",
            caption="../report/tables.rst",
            category="Scores",
            labels={"table": "all scenes"},
        ),
    log:
        "<results>/tables/logs/tables.log",
    benchmark:
        "<results>/tables/benchmarks/tables.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        config=SETTINGS.root.tables.model_dump(mode="json"),
        labels=SETTINGS.labels(),
    message:
        "Tables over all scenes, variants and seeds"
    script:
        "../workflow_scripts/tables.py"
