"""Stage 3: segment every training view."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.masks import MasksConfig
    from gradiseg_core.stages.masks.stage import generate

    config = MasksConfig(**snakemake.params.config)
    generate(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        out_dir=Path(snakemake.output.masks),
        config=config,
        threads=snakemake.threads,
        work_dir=Path(snakemake.params.work),
        weights=dict(zip(config.weights(), map(Path, snakemake.input.weights), strict=True)),
        split=snakemake.params.get("split", "train"),
    )
