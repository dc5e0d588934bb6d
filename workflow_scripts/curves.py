"""Plot the training of all variants and seeds of a scene."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.stages.report.curves import plot_curves

    plot_curves(
        train_dirs=[Path(path) for path in snakemake.input.train],
        out=Path(snakemake.output.figure),
        title=snakemake.wildcards.scene,
    )
