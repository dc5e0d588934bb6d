"""What a reader of results must know: what was left out, lost, or never found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradiseg_core.files.manifest import Unused

#: An object is called lost if a smaller share of its tracks agrees with its ID.
_LOST_BELOW = 0.5
#: Names in one line.
_NAMED = 6


def cautions(
    unused: Sequence[Unused],
    colmap_dir: Path,
    tracking_dir: Path,
    groundings: Mapping[str, Path],
    metrics: Iterable[Mapping[str, Any]],
    quality: Path | None = None,
) -> list[str]:
    """Return a line for everything that makes results less than they seem.

    Args:
        unused: Photographs that are no views of the scene.
        colmap_dir: With ``sfm.json``.
        tracking_dir: With ``objects.json``.
        groundings: Folders with ``selection.json``, by the name of the run.
        metrics: Contents of ``metrics.json``.
        quality: ``association/quality.json``, of a scene with exact IDs.
    """
    lines = [
        *_unused(unused),
        *_cameras(_read(colmap_dir / "sfm.json")),
        *_tracks(_read(tracking_dir / "objects.json")),
    ]
    if quality is not None:
        lines += _without_id(_read(quality))
    for name, folder in groundings.items():
        lines += _prompts(name, _read(folder / "selection.json"))
    for run in metrics:
        lines += _annotations(run)
    return lines


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _unused(files: Sequence[Unused]) -> Iterator[str]:
    skipped = [one.file for one in files if one.why == "unreadable"]
    if skipped:
        yield (
            f"{len(skipped)} {_one_or_more(skipped, 'photograph', 'photographs')} cannot be read "
            f"and {_one_or_more(skipped, 'was', 'were')} skipped: {some(skipped)}"
        )
    copies = [f"{one.file} (as {one.detail})" for one in files if one.why == "copy"]
    if copies:
        yield (
            f"{len(copies)} {_one_or_more(copies, 'file has', 'files have')} the picture of "
            f"another and {_one_or_more(copies, 'is', 'are')} not used: {some(copies)}"
        )
    panoramas = [one.file for one in files if one.why == "panorama"]
    if panoramas:
        yield (
            f"{len(panoramas)} {_one_or_more(panoramas, 'panorama is', 'panoramas are')} not used: "
            f"{some(panoramas)}"
        )


def _cameras(facts: Mapping[str, Any]) -> Iterator[str]:
    left_out = facts.get("left_out") or []
    if left_out:
        yield (
            f"{len(left_out)} of {facts['total']} photographs "
            f"{_one_or_more(left_out, 'has no camera and takes', 'have no camera and take')} no "
            f"part: {some(left_out)}"
        )
    light = facts.get("light") or {}
    if light.get("differ"):
        yield (
            f"exposure changes by up to {light['exposure_stops']:.1f} stops and white balance by "
            f"up to {light['white_balance_stops']:.1f}, most in {some(light['differ'])}"
        )
    if len(facts.get("models") or []) > 1:
        yield f"structure from motion found {len(facts['models'])} separate models; one is used"


def _tracks(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts.get("instead_of_geometry"):
        yield (
            f"geometry found no objects ({facts['instead_of_geometry']}), so segments of single "
            "views were joined"
        )
    lost = [
        entry
        for entry in facts.get("objects", [])
        if entry["persistence"] is not None and entry["persistence"] < _LOST_BELOW
    ]
    if lost:
        names = some([f"ID {entry['id']}" for entry in lost])
        yield (
            f"lost tracks: {len(lost)} of {len(facts['objects'])} objects "
            f"{_one_or_more(lost, 'keeps its', 'keep their')} ID in less than half of "
            f"{_one_or_more(lost, 'its', 'their')} views: {names}"
        )
    merged = facts.get("merged") or []
    for beyond, what in (
        ([entry for entry in merged if entry["into"]], "taken as part of others"),
        ([entry for entry in merged if not entry["into"]], "without an ID"),
    ):
        if beyond:
            objects = _one_or_more(beyond, "object is", "objects are")
            yield f"{len(beyond)} {objects} beyond the number of classes and {what}"


def _without_id(facts: Mapping[str, Any]) -> Iterator[str]:
    objects = facts.get("objects", [])
    never = [entry["gt_id"] for entry in objects if not entry["id"]]
    if never:
        yield (
            f"{len(never)} of {len(objects)} true objects never got an ID of their own: "
            f"{some([f'object {index}' for index in never])}"
        )


def _prompts(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    empty = [prompt for prompt, found in facts.get("prompts", {}).items() if not found["ids"]]
    if empty:
        yield f"{name}: no ID was found for {some(empty)}"


def _annotations(run: Mapping[str, Any]) -> Iterator[str]:
    name = f"{run['variant']}, seed {run['seed']}"
    coverage = run.get("coverage") or {}
    missing = coverage.get("masks_missing") or []
    if missing:
        yield (
            f"{name}: {len(missing)} of {coverage['masks_annotated']} annotated masks "
            f"{_one_or_more(missing, 'has', 'have')} no prediction: {some(missing)}"
        )
    rendered, held_out = coverage.get("test_views_rendered"), coverage.get("test_views")
    if rendered is not None and held_out and rendered < held_out:
        yield f"{name}: {rendered} of {held_out} held-out views are rendered"


def _one_or_more(listed: Sequence[object], one: str, more: str) -> str:
    return one if len(listed) == 1 else more


def some(names: Iterable[object]) -> str:
    """Return names as text, the first few of many."""
    listed = [", ".join(map(str, name)) if isinstance(name, list) else str(name) for name in names]
    rest = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
