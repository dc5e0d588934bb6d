"""Write the scores of all slices of a study into one small file."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.reporting.runs import collect_branches

    collect_branches(
        slices=[Path(path) for path in snakemake.input.slices],
        out=Path(snakemake.output.runs),
        variants=snakemake.params.variants,
    )
