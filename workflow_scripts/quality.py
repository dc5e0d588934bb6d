"""Plot the scores of the variants over all scenes."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.stages.report.quality import plot_quality

    plot_quality(
        metrics=[Path(path) for path in snakemake.input.metrics],
        out=Path(snakemake.output.figure),
    )
