"""Write the scores of all slices of a study into one file, and the variants' differences."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.differences import plot_differences, write_differences
    from studies.runs import collect_branches

    runs = collect_branches(
        slices=[Path(path) for path in snakemake.input.slices],
        out=Path(snakemake.output.runs),
        variants=snakemake.params.variants,
    )
    write_differences(runs, snakemake.params.reference, Path(snakemake.output.table))
    plot_differences(runs, snakemake.params.reference, Path(snakemake.output.plot))
