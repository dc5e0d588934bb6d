"""Differences of a study's variants from a reference, paired by scene and seed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core import plot_style as style
from gradiseg_core.errors import InputError

logger = logging.getLogger(__name__)

_SCORES = (
    ("object_miou", "mIoU", 100.0, 1),
    ("object_mbiou", "mBIoU", 100.0, 1),
    ("object_fine_mbiou", "fine mBIoU", 100.0, 1),
    ("psnr", "PSNR", 1.0, 2),
)
_DRAWN = _SCORES[:3]
_BY_SCENE = _SCORES[1]


@dataclass(frozen=True)
class Group:
    """Scenes of a study that compare the same variants.

    Attributes:
        scenes: Their names.
        runs: Their runs, as in ``runs.json``, by (scene, seed) and variant.
        variants: All but the reference, in the order of the runs.
    """

    scenes: list[str]
    runs: dict[tuple[str, int], dict[str, dict[str, Any]]]
    variants: list[str]

    def differences(self, variant: str, reference: str, key: str) -> list[float]:
        """Return a variant's score minus the reference's, for each scene and seed with both."""
        pairs = [(by.get(variant, {}), by.get(reference, {})) for by in self.runs.values()]
        return [
            own[key] - other[key]
            for own, other in pairs
            if own.get(key) is not None and other.get(key) is not None
        ]

    def pairs(self, variant: str, reference: str) -> int:
        """Return how many scenes and seeds have both variants."""
        return sum(variant in by and reference in by for by in self.runs.values())


def groups(runs: list[dict[str, Any]], reference: str) -> list[Group]:
    """Group the scenes that compare the same variants; leave out those without the reference.

    Args:
        runs: As in ``runs.json``.
        reference: Name of the variant that the others are compared with.

    Raises:
        InputError: If no scene has it.
    """
    by_scene: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_scene.setdefault(run["scene"], []).append(run)
    together: dict[tuple[str, ...], list[str]] = {}
    for scene, own in by_scene.items():
        names = tuple(dict.fromkeys(run["variant"] for run in own))
        if reference in names:
            together.setdefault(tuple(sorted(names)), []).append(scene)
        else:
            logger.warning("%s has no %s and is left out of the differences", scene, reference)
    if not together:
        raise InputError(
            f"no scene of the study has the variant {reference!r}; set tables.reference_variant "
            "to one that all have"
        )
    found = []
    for scenes in together.values():
        pairs: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
        for scene in scenes:
            for run in by_scene[scene]:
                pairs.setdefault((scene, run["seed"]), {})[run["variant"]] = run
        in_order = dict.fromkeys(run["variant"] for run in by_scene[scenes[0]])
        found.append(Group(scenes, pairs, [name for name in in_order if name != reference]))
    return found


def write_differences(runs: list[dict[str, Any]], reference: str, out: Path) -> None:
    """Write two Markdown tables for each group: mean difference with standard error, and by scene.

    A dash stands where no pair of runs has the score on both sides.

    Args:
        runs: As in ``runs.json``.
        reference: Name of the variant that the others are compared with.
        out: File to write.

    Raises:
        InputError: As :func:`groups`.
    """
    lines = []
    for group in groups(runs, reference):
        reference_runs = [by[reference] for by in group.runs.values() if reference in by]
        means = [
            _reference_mean([run[key] for run in reference_runs], name, factor, digits)
            for key, name, factor, digits in _SCORES
        ]
        lines += [
            f"{', '.join(group.scenes)}; {reference}: {', '.join(means)}",
            "",
            "| variant | runs | " + " | ".join(name for _, name, *_ in _SCORES) + " | Gaussians |",
            "| --- | --- |" + " --- |" * (len(_SCORES) + 1),
        ]
        for variant in group.variants:
            cells = []
            for key, _, factor, digits in _SCORES:
                values = factor * np.asarray(group.differences(variant, reference, key))
                cells.append(_cell(values, digits, group.pairs(variant, reference)))
            extra = group.differences(variant, reference, "num_gaussians")
            count = f"{np.mean(extra):+.0f}" if extra else "-"
            pairs = group.pairs(variant, reference)
            lines.append(f"| {variant} | {pairs} | {' | '.join(cells)} | {count} |")
        lines += ["", *_scene_by_scene(group, reference)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines))


def _reference_mean(values: list[float | None], name: str, factor: float, digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return f"{name} not available"
    text = f"{name} {factor * float(np.mean(known)):.{digits}f}"
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)} runs)"


def _scene_by_scene(group: Group, reference: str) -> list[str]:
    """Return a table of the reference's score and the differences in each scene, if not in one."""
    if len(group.scenes) < 2:
        return []
    key, name, factor, digits = _BY_SCENE
    lines = [
        f"| {name} | {reference} | " + " | ".join(group.variants) + " |",
        "| --- | --- |" + " --- |" * len(group.variants),
    ]
    for scene in group.scenes:
        own = replace(group, runs={at: by for at, by in group.runs.items() if at[0] == scene})
        scores = [
            by[reference][key]
            for by in own.runs.values()
            if by.get(reference, {}).get(key) is not None
        ]
        mean = f"{factor * float(np.mean(scores)):.{digits}f}" if scores else "-"
        cells = [
            _cell(
                factor * np.asarray(own.differences(variant, reference, key)),
                digits,
                own.pairs(variant, reference),
            )
            for variant in group.variants
        ]
        lines.append(f"| {scene} | {mean} | {' | '.join(cells)} |")
    return [*lines, ""]


def _cell(values: np.ndarray, digits: int, pairs: int) -> str:
    """Return mean and standard error, and the number of pairs if some have no such score."""
    if not len(values):
        return "-"
    text = f"{values.mean():+.{digits}f}"
    if len(values) > 1:
        text += f" ± {_standard_error(values):.{digits}f}"
    return text if len(values) == pairs else f"{text} ({len(values)} of {pairs} runs)"


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def plot_differences(runs: list[dict[str, Any]], reference: str, out: Path) -> None:
    """Draw, for each group and score, every variant's mean difference, its standard error and runs.

    Args:
        runs: As in ``runs.json``.
        reference: Name of the variant that the others are compared with.
        out: PNG or SVG to write.

    Raises:
        InputError: As :func:`groups`.
    """
    found = groups(runs, reference)
    heights = [0.26 * len(group.variants) + 0.7 for group in found]
    with style.figure(
        out, nrows=len(found), ncols=len(_DRAWN), figsize=(10.5, sum(heights) + 0.4),
        height_ratios=heights,
    ) as (_, axes):  # fmt: skip
        for group, row in zip(found, axes, strict=True):
            for axis, (key, name, factor, _) in zip(row, _DRAWN, strict=True):
                for place, variant in enumerate(group.variants):
                    values = factor * np.asarray(group.differences(variant, reference, key))
                    _point(axis, place, values, style.color(variant))
                axis.axvline(0.0, color="#333333", linewidth=1)
                axis.set_title(f"{name}, points")
                first = axis is row[0]
                axis.set_yticks(range(len(group.variants)), group.variants if first else [])
                axis.set_ylim(len(group.variants) - 0.4, -0.6)
                axis.tick_params(axis="y", length=0)
            row[0].set_xlabel(f"difference from {reference}: {', '.join(group.scenes)}", loc="left")


def _point(axis: Any, place: int, values: np.ndarray, color: str) -> None:
    if not len(values):
        return
    axis.plot(values, np.full(len(values), place), ".", color="#999999", markersize=4)
    spread = _standard_error(values) if len(values) > 1 else None
    axis.errorbar(
        values.mean(), place, xerr=spread, fmt="o", color=color, ecolor="#222222", capsize=3,
        markersize=6,
    )  # fmt: skip
