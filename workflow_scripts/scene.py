"""Stage 1: bring a scene's photographs and annotations into one layout."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.scene import SceneConfig
    from gradiseg_core.stages.scene.stage import prepare

    prepare(
        config=SceneConfig(**snakemake.params.config),
        out_dir=Path(snakemake.output.scene),
        name=snakemake.wildcards.scene,
        downloaded=Path(snakemake.input.dataset) if snakemake.input.dataset else None,
        copied=Path(snakemake.input.copied) if snakemake.input.copied else None,
        threads=snakemake.threads,
    )
