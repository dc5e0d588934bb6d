"""Add errors to the exact IDs of a tabletop."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.degraded import degrade_tabletop
    from studies.options import DegradedConfig

    degrade_tabletop(
        tabletop=Path(snakemake.input.tabletop),
        out_dir=Path(snakemake.output.folder),
        config=DegradedConfig(**snakemake.params.config),
        seed=snakemake.params.seed,
    )
