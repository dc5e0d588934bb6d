"""Render the test views of a tabletop without each of some things."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.options import TabletopConfig
    from studies.removal import folder_of, render_truth, without
    from studies.tabletop.layout import arrange

    config = TabletopConfig(**snakemake.params.config)
    folder = Path(snakemake.output.folder)
    folder.mkdir(parents=True, exist_ok=True)
    things = arrange(config)
    for prompt in snakemake.params.things:
        others = without(things, prompt)
        render_truth(config, others, folder / folder_of(prompt), threads=snakemake.threads)
