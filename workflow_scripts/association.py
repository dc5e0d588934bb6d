"""Score the IDs that tracking gave against the scene's exact IDs."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.stages.tracking.assessment import assess_scene

    assess_scene(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        masks_dir=Path(snakemake.input.masks) if snakemake.input.masks else None,
        tracking_dir=Path(snakemake.input.tracking),
        out_file=Path(snakemake.output.quality),
    )
