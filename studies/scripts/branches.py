"""Train and score all variants of one scene and seed of a study."""

import hashlib
from pathlib import Path

from _study import stage

with stage(snakemake):
    from gradiseg_core.config.grounding import GroundingConfig
    from gradiseg_core.config.metrics import MetricsConfig
    from gradiseg_core.config.render import RenderConfig
    from gradiseg_core.config.train import TrainConfig
    from studies.branches import Branch
    from studies.slices import Slice, run_branches

    code = hashlib.sha256()
    for path in snakemake.input.core:
        code.update(Path(path).read_bytes())
    task = Slice(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        tracking_dir=Path(snakemake.input.tracking),
        seed=int(snakemake.wildcards.seed),
        render=RenderConfig(**snakemake.params.render),
        grounding=GroundingConfig(**snakemake.params.grounding),
        metrics=MetricsConfig(**snakemake.params.metrics),
        stamp=code.hexdigest(),
    )
    run_branches(
        task,
        branches=[
            Branch(name, TrainConfig(**config))
            for name, config in snakemake.params.branches.items()
        ],
        out=Path(snakemake.output.runs),
        finished=Path(snakemake.params.finished),
        threads=snakemake.threads,
    )
