"""Remove things from a trained tabletop, and score what is left against the truth."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.options import RemovalConfig, TabletopConfig
    from studies.removal_scores import score_run

    removal = RemovalConfig(**snakemake.params.removal)
    score_run(
        run=Path(snakemake.input.train).parent,
        config=TabletopConfig(**snakemake.params.config),
        edits=removal.edits,
        ways=removal.ways,
        truth_dir=Path(snakemake.params.truth),
        out=Path(snakemake.output.scores),
    )
