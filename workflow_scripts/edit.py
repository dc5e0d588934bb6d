"""Edit a trained scene."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.edits import operations
    from gradiseg_core.stages.edits.stage import edit_run

    edit_run(
        run_dir=Path(snakemake.input.train).parent,
        out_dir=Path(snakemake.output.edit),
        edit=operations(snakemake.params.config),
        device="cpu",
        threads=snakemake.threads,
        lama=Path(snakemake.input.lama) if snakemake.input.lama else None,
    )
