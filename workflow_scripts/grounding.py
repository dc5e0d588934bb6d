"""Stage 7: find the IDs that each prompt means, and predict its masks."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.grounding import GroundingConfig
    from gradiseg_core.stages.grounding.stage import ground

    config = GroundingConfig(**snakemake.params.config)
    ground(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        tracking_dir=Path(snakemake.input.tracking),
        train_dir=Path(snakemake.input.train),
        render_dir=Path(snakemake.input.render),
        out_dir=Path(snakemake.output.grounding),
        config=config,
        weights=dict(zip(config.weights(), map(Path, snakemake.input.weights), strict=True)),
    )
