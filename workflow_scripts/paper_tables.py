"""Tables 1 to 4 and Figure 6 of the paper, our numbers beside the printed ones."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.paper import PaperPlan
    from gradiseg_core.stages.tables.paper.build import write_paper_tables
    from gradiseg_core.stages.tables.paper.figure_6 import plot_igd_start

    metrics = [Path(path) for path in snakemake.input.metrics]
    plan = PaperPlan(**snakemake.params.plan)
    write_paper_tables(metrics, Path(snakemake.output.markdown).parent, plan)
    plot_igd_start(metrics, plan, Path(snakemake.output.figure))
