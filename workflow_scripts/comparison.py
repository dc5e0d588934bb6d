"""Put held-out views of all variants of a scene side by side."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.stages.report.qualitative import plot_qualitative

    plot_qualitative(
        scene_dir=Path(snakemake.input.scene),
        colmap_dir=Path(snakemake.input.colmap),
        render_dirs=[Path(path) for path in snakemake.input.render],
        out=Path(snakemake.output.figure),
    )
