"""The page of a run, in which its scene can be looked at and its objects clicked."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.view import ViewConfig
    from gradiseg_core.stages.view.stage import write_view

    write_view(
        run_dir=Path(snakemake.input.train).parent,
        tracking_dir=Path(snakemake.input.tracking),
        out=Path(snakemake.output.page),
        config=ViewConfig(**snakemake.params.config),
        threads=snakemake.threads,
    )
