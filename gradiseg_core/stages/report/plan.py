"""Which jobs a configuration asks for, by the folders that they write to."""

from __future__ import annotations

from pathlib import Path

from gradiseg_core.config.inputs import has_exact_ids
from gradiseg_core.config.paper_plan import paper_plan
from gradiseg_core.config.root import Settings
from gradiseg_core.config.tracking import TrackingConfig


def planned(settings: Settings, results: Path) -> dict[Path, list[str]]:
    """Return the stages of target `all` by folder, by the names of :mod:`.layout`.

    Segments that are needed only where geometry finds no objects are not planned.

    Args:
        settings: The configuration.
        results: Folder of results.
    """
    found: dict[Path, list[str]] = {}
    for scene in settings.scenes:
        folder = results / scene
        tracking = settings.section(scene, "tracking")
        assert isinstance(tracking, TrackingConfig)
        found[folder] = [
            *("scene", "colmap"),
            *(["geometry"] if tracking.needs_geometry else []),
            *(["masks"] if tracking.needs_masks and not tracking.needs_geometry else []),
            "tracking",
            *(["association"] if has_exact_ids(settings.origin(scene), settings.root.made) else []),
            *("curves", "comparison", "scene_report"),
        ]
        if settings.uses(scene, "tracking_2d"):
            found[folder / "tracks_2d"] = ["tracking", "grounding", "metrics"]
        stages = ["train", "render", "grounding", "metrics"]
        if settings.uses(scene, "second_grounding"):
            stages += ["second_grounding", "second_metrics"]
        for variant in settings.variants_of(scene):
            for seed in settings.seeds_of(scene):
                found[folder / variant / f"seed{seed}"] = stages
    found[results / "tables"] = ["tables", "quality"]
    if paper_plan(settings).scenes:
        found[results / "paper_tables"] = ["paper_tables"]
    return found
