"""Render the test views of a tabletop without each of some things."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.options import TabletopConfig
    from studies.removal_tables import folder_of, without
    from studies.removal_truth import render_truth
    from studies.tabletop.layout import arrange

    config = TabletopConfig(**snakemake.params.config)
    folder = Path(snakemake.output.folder)
    folder.mkdir(parents=True, exist_ok=True)
    things = arrange(config)
    for prompt in snakemake.params.things:
        others = without(things, prompt)
        render_truth(config, others, folder / folder_of(prompt), threads=snakemake.threads)
