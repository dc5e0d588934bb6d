"""The key ``studies`` of a configuration: scenes and ID maps that are made for studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from gradiseg_core.config.base import Section, option
from gradiseg_core.config.messages import explain, nearest
from gradiseg_core.errors import ConfigError


class TabletopConfig(Section):
    """A tabletop scene, rendered from procedural assets; the defaults are the embedded scene."""

    seed: int = option(7, "Draws the layout, sizes and textures.", ge=0)
    width: int = option(400, "Image width.", unit="px", source="measured: time budget", ge=16)
    height: int = option(300, "Image height.", unit="px", source="measured: time budget", ge=16)
    views: int = option(32, "Training views, on two rings around the table.", unit="views", ge=3)
    test_views: int = option(4, "Held-out views between the rings.", unit="views", ge=1)
    samples_per_pixel: int = option(
        8, "Light paths a pixel; fewer is faster and noisier.", source="measured", ge=1
    )
    path_depth: int = option(
        3, "Longest light path; 2 is direct light only.", unit="segments", source="measured", ge=2
    )
    denoise: bool = option(
        True, "Smooth the light (not the textures) of the rendered images.", source="measured"
    )
    field_of_view: float = option(48.0, "Horizontal angle of view.", unit="deg", gt=5.0, lt=120.0)
    camera_distance: float = option(
        0.66, "Mean horizontal distance of the cameras from the table's middle.", unit="m", gt=0.0
    )
    objects: int = option(10, "Number of objects on the table.", unit="objects", ge=1, le=10)
    spacing: float = option(
        0.012, "Mean gap between the footprints of neighbours that do not touch.", unit="m", ge=0.0
    )
    touching: float = option(
        0.4, "Share of the objects that are pushed against a neighbour.", ge=0.0, le=1.0
    )
    size_variation: float = option(
        0.06, "Largest relative change of an object's size by the seed.", ge=0.0, le=0.4
    )
    texture_strength: float = option(
        1.0, "Contrast of all textures; 0 leaves plain colours (hard for SfM).", ge=0.0, le=1.5
    )
    write_sparse: bool = option(
        False,
        "Also write a COLMAP model from the exact cameras, so that SfM is not needed.",
    )
    sparse_points: int = option(4000, "Points of that model.", unit="points", ge=8)


class DegradedConfig(Section):
    """Exact IDs with the errors of a segmenter and a tracker.

    The defaults are roughly the errors of both on a tabletop of ten objects.
    """

    of: str = option("", "The tabletop whose exact IDs are spoiled.")
    seed: int = option(
        0,
        "Seed of the errors, together with `preparation_seed`; scenes to compare differ in it.",
        ge=0,
    )
    wobble_px: float = option(
        1.5, "Standard deviation by which outlines move.", unit="px of the photographs", ge=0.0
    )
    wobble_length_px: float = option(
        6.0, "How smooth that movement is.", unit="px of the photographs", gt=0.0
    )
    miss: float = option(0.08, "Chance that an object is missed (ID 0) in a view.", ge=0.0, le=1.0)
    merge: float = option(
        0.04, "Chance that an object takes a touching neighbour's ID in a view.", ge=0.0, le=1.0
    )
    switch: float = option(
        0.03, "Chance, per view, that an object's ID is replaced by a new one.", ge=0.0, le=1.0
    )
    switch_views: float = option(
        3.0, "How long such a new ID lasts, on average.", unit="views", ge=1.0
    )
    split: float = option(
        0.0, "Chance that a part of an object has an ID of its own in a view.", ge=0.0, le=1.0
    )
    reduced: int = option(
        1, "The maps are made at this fraction of the photographs' resolution: 1/n.", ge=1, le=16
    )


class RemovalConfig(Section):
    """What is done to every trained tabletop, and scored against the table rendered so."""

    things: tuple[str, ...] = option((), "Prompts of the things, one removed at a time.")
    swaps: tuple[tuple[str, str], ...] = option(
        (), "Pairs of prompts of things, one pair swapped at a time."
    )
    ways: tuple[
        Literal["threshold_hull", "class", "clean", "clean_fill", "clean_fill_shadow"], ...
    ] = option(
        ("threshold_hull", "clean_fill", "clean_fill_shadow"),
        "Ways of removing; `studies/removal.py` says what each does.",
    )

    @property
    def edits(self) -> dict[str, tuple[str, ...]]:
        """What is edited, by the name of its folder: one thing is removed, two are swapped."""
        return {folder_of(prompts): prompts for prompts in (*zip(self.things), *self.swaps)}


def folder_of(prompts: Sequence[str]) -> str:
    """Return the name of the folder of a table without one thing, or with two swapped."""
    return "_".join(["swap"] * (len(prompts) > 1) + [name.replace(" ", "_") for name in prompts])


class StudiesConfig(Section):
    """The scenes and ID maps that are made for studies."""

    folder: str = option(
        "results/studies", "Folder of the tabletops and degraded maps; studies share them."
    )
    tabletops: dict[str, TabletopConfig] = option(
        {}, "Scenes to render, by name: `<folder>/tabletops/<name>`, in LERF-Mask's layout."
    )
    degraded: dict[str, DegradedConfig] = option(
        {}, "ID maps to spoil, by name: `<folder>/degraded/<name>`."
    )
    removal: RemovalConfig = RemovalConfig()

    def made(self) -> list[str]:
        """Return every folder that the studies' rules can make."""
        return [
            *(f"{self.folder}/tabletops/{name}" for name in self.tabletops),
            *(f"{self.folder}/degraded/{name}" for name in self.degraded),
        ]


def split_config(config: Mapping[str, Any]) -> tuple[StudiesConfig, dict[str, Any]]:
    """Return the key ``studies``, and the workflow's own configuration.

    The latter names the folders of studies as ``made``, so that they need not exist yet.

    Raises:
        ConfigError: With one line for every problem found, each naming the full key.
    """
    raw = config.get("studies") or {}
    try:
        studies = StudiesConfig.model_validate(raw)
    except ValidationError as error:
        raise _refused(explain(error, StudiesConfig, "studies")) from None
    problems = [
        f"studies.degraded.{name}.of: no tabletop is called '{entry.of}'"
        f"{nearest(entry.of, studies.tabletops)}"
        for name, entry in studies.degraded.items()
        if entry.of not in studies.tabletops
    ]
    if problems:
        raise _refused(problems)
    own = {key: value for key, value in config.items() if key != "studies"}
    return studies, own | {"made": [*own.get("made", ()), *studies.made()]}


def tabletops_of(studies: StudiesConfig, paths: Mapping[str, Path | None]) -> list[str]:
    """Return the scenes whose folder is one of the tabletops, which have exact IDs.

    Args:
        studies: What is made.
        paths: By scene: the folder that its photographs come from, None where there is none.
    """
    tabletops = {Path(studies.folder, "tabletops", name) for name in studies.tabletops}
    return [name for name, path in paths.items() if path in tabletops]


def _refused(problems: list[str]) -> ConfigError:
    return ConfigError("the configuration is not valid:\n  " + "\n  ".join(problems))
