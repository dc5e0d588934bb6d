"""Stage 6: render the test views."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.render import RenderConfig
    from gradiseg_core.stages.rendering.stage import render_views

    render_views(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        train_dir=Path(snakemake.input.train),
        out_dir=Path(snakemake.output.render),
        config=RenderConfig(**snakemake.params.config),
        threads=snakemake.threads,
    )
