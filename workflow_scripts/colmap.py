"""Stage 2: find the cameras."""

import shutil
from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.config.colmap import ColmapConfig
    from gradiseg_core.stages.sfm.stage import reconstruct

    work = Path(snakemake.params.work)
    reconstruct(
        scene_dir=Path(snakemake.input.scene),
        out_dir=Path(snakemake.output.colmap),
        config=ColmapConfig(**snakemake.params.config),
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        work_dir=work,
        page=Path(snakemake.params.page),
    )
    # Features and matches are kept for a run that was killed; after success they are not needed.
    shutil.rmtree(work, ignore_errors=True)
