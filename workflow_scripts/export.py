"""Write a trained scene for another program."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.exports import ExportConfig
    from gradiseg_core.stages.exports.stage import export_run

    export_run(
        folder=Path(snakemake.input.get("edited") or snakemake.input.train),
        out_dir=Path(snakemake.output.export),
        name=snakemake.wildcards.export,
        config=ExportConfig(**snakemake.params.config),
    )
