"""Stage 8: score the cached predictions."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.metrics import MetricsConfig
    from gradiseg_core.stages.metrics.stage import evaluate

    config = MetricsConfig(**snakemake.params.config)
    evaluate(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        train_dir=Path(snakemake.input.train),
        render_dir=Path(snakemake.input.render),
        grounding_dir=Path(snakemake.input.grounding),
        out_dir=Path(snakemake.output.metrics).parent,
        config=config,
        weights=dict(zip(config.weights(), map(Path, snakemake.input.weights), strict=True)),
    )
