"""Stage 5: train one variant from one seed."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.train import TrainConfig
    from gradiseg_core.stages.training.stage import Training, train

    train(
        Training(
            scene_dir=Path(snakemake.input.scene),
            colmap_dir=Path(snakemake.input.colmap),
            tracking_dir=Path(snakemake.input.tracking),
            config=TrainConfig(**snakemake.params.config),
            variant=snakemake.wildcards.variant,
            seed=int(snakemake.wildcards.seed),
            threads=snakemake.threads,
            checkpoint_dir=Path(snakemake.params.checkpoints),
            geometry_dir=Path(snakemake.input.geometry) if snakemake.input.geometry else None,
        ),
        Path(snakemake.output.train),
    )
