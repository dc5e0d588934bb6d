"""Stage 4: give every object one ID over all views."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.tracking import TrackingConfig
    from gradiseg_core.stages.tracking.stage import Association, associate

    config = TrackingConfig(**snakemake.params.config)
    associate(
        Association(
            scene_dir=Path(snakemake.input.scene),
            colmap_dir=Path(snakemake.input.colmap),
            masks_dir=Path(snakemake.input.masks) if snakemake.input.masks else None,
            geometry_dir=Path(snakemake.input.geometry) if snakemake.input.geometry else None,
            instead_of_geometry=snakemake.params.instead_of_geometry,
            config=config,
            max_ids=snakemake.params.max_ids,
            seed=snakemake.params.seed,
            threads=snakemake.threads,
            split=snakemake.params.get("split", "train"),
            weights=dict(zip(config.weights(), map(Path, snakemake.input.weights), strict=True)),
        ),
        Path(snakemake.output.tracking),
    )
