"""Stage 1, for the embedded scene: its surfaces as points that know their object."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    import numpy as np

    from gradiseg_core.config.scene import DemoConfig
    from gradiseg_core.scene.demo.surface import surface_points

    points, owners = surface_points(DemoConfig(**snakemake.params.demo))
    np.savez_compressed(
        Path(snakemake.output.surface), points=points.astype(np.float32), owners=owners
    )
