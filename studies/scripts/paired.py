"""Write the variants' differences from the reference, paired by scene and seed."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from gradiseg_core.config.tables import TablesConfig
    from studies.paired import write_paired

    write_paired(
        metrics=[Path(path) for path in snakemake.input.metrics],
        out=Path(snakemake.output.table),
        config=TablesConfig(**snakemake.params.config),
        labels=snakemake.params.labels,
    )
