"""Write the scores of all removals into one small file."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.runs import collect_removals

    collect_removals([Path(path) for path in snakemake.input.scores], Path(snakemake.output.scores))
