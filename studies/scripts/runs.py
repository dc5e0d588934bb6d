"""Write the scores of all runs into one small file."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.runs import collect_runs

    collect_runs(
        metrics=[Path(path) for path in snakemake.input.metrics],
        out=Path(snakemake.output.runs),
        variants=snakemake.params.variants,
    )
