"""Render a tabletop in LERF-Mask's layout."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.options import TabletopConfig
    from studies.tabletop.dataset import make_tabletop

    make_tabletop(
        config=TabletopConfig(**snakemake.params.config),
        folder=Path(snakemake.output.folder),
        name=snakemake.wildcards.tabletop,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
    )
