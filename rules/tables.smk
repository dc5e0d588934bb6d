# Requires: the scores of all scenes, variants and seeds.
# Makes: <results>/tables, one table as Markdown, LaTeX and CSV;
#        <results>/paper_tables, Tables 1 to 4 and Figure 6 of the paper, with those of its scenes
#        that the configuration has.


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


rule paper_tables:
    input:
        metrics=[all_metrics_of(scene) for scene in PAPER.scenes],
        core=core("paper_tables.py"),
    output:
        markdown="<results>/paper_tables/tables.md",
        latex="<results>/paper_tables/tables.tex",
        csv=[
            report(
                f"<results>/paper_tables/{file}",
                caption="../report/paper_tables.rst",
                category="The paper's tables",
                labels={"table": part},
            )
            for part, file in config_paper.FILES.items()
        ],
        figure=report(
            f"<results>/paper_tables/{config_paper.FIGURE}",
            caption="../report/igd_start.rst",
            category="The paper's tables",
            labels={"table": "Figure 6, plot"},
        ),
    log:
        "<results>/paper_tables/logs/paper_tables.log",
    benchmark:
        "<results>/paper_tables/benchmarks/paper_tables.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        plan=PAPER.model_dump(mode="json"),
    message:
        "The paper's tables, and ours beside them"
    script:
        "../workflow_scripts/paper_tables.py"
