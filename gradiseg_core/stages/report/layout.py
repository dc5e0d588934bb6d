"""Where the jobs of a stage write, and in which order stages run."""

from __future__ import annotations

#: By kind of folder: its stages in their order, and the output by which each is known, relative to
#: the folder. Their logs are `logs/<stage>.log`, their times `benchmarks/<stage>.tsv`.
STAGES: dict[str, dict[str, str]] = {
    "scene": {
        "scene": "scene",
        "colmap": "colmap",
        "geometry": "geometry",
        "masks": "masks",
        "tracking": "tracking",
        "association": "association/quality.json",
        "curves": "figures/curves.png",
        "comparison": "figures/comparison.png",
        "scene_report": "report.html",
    },
    "tracks_2d": {
        "masks": "masks",
        "tracking": "tracking",
        "grounding": "grounding",
        "metrics": "metrics/metrics.json",
    },
    "run": {
        "train": "train",
        "render": "render",
        "grounding": "grounding",
        "metrics": "metrics/metrics.json",
        "second_grounding": "second_grounding",
        "second_metrics": "second_metrics/metrics.json",
        "view": "view.html",
    },
    "tables": {"tables": "tables.csv", "quality": "quality.png"},
    "paper_tables": {"paper_tables": "figure_6.png"},
}
#: Stages of a run that have one job for each name; keys are the starts of their logs' names.
NAMED = {"export": "exports", "edit": "edits"}
