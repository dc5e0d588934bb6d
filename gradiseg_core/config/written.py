"""Where the values of a scene's section are written in the configuration file.

A value comes from the section that holds for all scenes, from the scene's own, or from the section
that theirs differs from. Messages name the place that the user wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gradiseg_core.config.layers import Layer, written_in

#: Sections that only change another one.
_DIFFER_FROM = {"tracking_2d": "tracking", "second_grounding": "grounding"}


def layers_of(raw: Mapping[str, Any], scene: str, stage: str) -> list[Layer]:
    """Return the layers of a scene's section, the last on top, with defaults that depend on others.

    Args:
        raw: The parsed configuration file, valid.
        scene: Name of the scene.
        stage: Name of the section.
    """
    if stage in _DIFFER_FROM:
        layers = layers_of(raw, scene, _DIFFER_FROM[stage])
    else:
        layers = _defaults(raw, scene, stage)
    layers.append(Layer(stage, raw.get(stage) or {}))
    layers.append(Layer(f"scenes.{scene}.{stage}", raw["scenes"][scene].get(stage) or {}))
    return layers


def _defaults(raw: Mapping[str, Any], scene: str, stage: str) -> list[Layer]:
    """Return the defaults of a section that depend on other sections.

    Whoever configures segments wants them joined; backend `geometry` would not use them.
    """
    if stage != "tracking":
        return []
    of_scene = raw["scenes"][scene]
    segments = any(holder.get("masks") for holder in (raw, of_scene))
    joining = any("sfm" in (holder.get("tracking") or {}) for holder in (raw, of_scene))
    if not (segments or joining):
        return []
    where = "`masks` is written" if segments else "`tracking.sfm` is written"
    return [Layer(f"the defaults where {where}", {"backend": "sfm"}, ships=True)]


def where_written(problem: str, raw: Mapping[str, Any], scene: str, stages: Collection[str]) -> str:
    """Return a problem with a scene's key, naming the place where the user wrote that key.

    A key that was not written stays as it is: it may be added to the scene.

    Args:
        problem: ``"scenes.<scene>.<stage>.<key>: what is wrong"``.
        raw: The parsed configuration file, valid.
        scene: Name of the scene.
        stages: Sections that hold for all scenes and that a scene may override.
    """
    key, _, rest = problem.partition(": ")
    stage, _, below = key.removeprefix(f"scenes.{scene}.").partition(".")
    layer = written_in(below, layers_of(raw, scene, stage)) if stage in stages else None
    return problem if layer is None else f"{layer.path}.{below}: {rest}"
