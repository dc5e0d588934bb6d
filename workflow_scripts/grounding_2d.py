"""The method in 2D: find the tracked IDs that each prompt means in the test views."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.grounding import GroundingConfig
    from gradiseg_core.stages.grounding.tracks_2d import ground_tracks

    config = GroundingConfig(**snakemake.params.config)
    ground_tracks(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        tracking_dir=Path(snakemake.input.tracking),
        out_dir=Path(snakemake.output.grounding),
        config=config,
        weights=dict(zip(config.weights(), map(Path, snakemake.input.weights), strict=True)),
    )
