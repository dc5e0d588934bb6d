"""A surface of the scene from colour alone, and the objects on it."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.geometry import GeometryConfig
    from gradiseg_core.stages.geometry.stage import reconstruct_surface

    reconstruct_surface(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        out_dir=Path(snakemake.output.geometry),
        config=GeometryConfig(**snakemake.params.config),
        seed=snakemake.params.seed,
        threads=snakemake.threads,
    )
