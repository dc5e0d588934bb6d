"""Stage 9: tables over all scenes, variants and seeds."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.tables import TablesConfig
    from gradiseg_core.stages.tables.stage import build

    build(
        metrics=[Path(path) for path in snakemake.input.metrics],
        out_dir=Path(snakemake.output[0]).parent,
        config=TablesConfig(**snakemake.params.config),
        labels=snakemake.params.labels,
    )
