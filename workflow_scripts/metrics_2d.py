"""The method in 2D: score the tracked masks of the test views."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.metrics import MetricsConfig
    from gradiseg_core.stages.metrics.stage import evaluate_tracks

    evaluate_tracks(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        tracking_dir=Path(snakemake.input.tracking),
        grounding_dir=Path(snakemake.input.grounding),
        out_dir=Path(snakemake.output.metrics).parent,
        config=MetricsConfig(**snakemake.params.config),
    )
