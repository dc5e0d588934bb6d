"""Render the test views of a tabletop without a thing, or with two swapped."""

from pathlib import Path

from _study import stage

with stage(snakemake):
    from studies.options import TabletopConfig
    from studies.removal_tables import edited
    from studies.removal_truth import render_truth
    from studies.tabletop.layout import arrange

    config = TabletopConfig(**snakemake.params.config)
    things = edited(arrange(config), snakemake.params.prompts)
    render_truth(config, things, Path(snakemake.output.folder), threads=snakemake.threads)
