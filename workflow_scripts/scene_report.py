"""Write the page that shows the results of a scene."""

from pathlib import Path

from _stage import stage

with stage(snakemake):
    from gradiseg_core.stages.report.scene_page import Sources, write_scene_report

    given = snakemake.input
    write_scene_report(
        Sources(
            scene=Path(given.scene),
            colmap=Path(given.colmap),
            tracking=Path(given.tracking),
            renders=[Path(path) for path in given.render],
            groundings=[Path(path) for path in given.grounding],
            trainings=[Path(path) for path in given.train],
            metrics=[Path(path) for path in given.metrics],
            curves=Path(given.curves),
            quality=Path(given.quality) if given.quality else None,
        ),
        Path(snakemake.output.page),
    )
