"""Stage `tracking`: one ID per object over all views.

A backend turns per-view masks (or another tracker's output) into consistent maps; everything after
that is common: repair by SfM tracks where it is asked for, dense numbering, the limit of the
classifier's classes, the measure of consistency, the files.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import GradisegError, InputError
from gradiseg_core.files.id_maps import check_ids, write_id_map
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import read_image, write_image
from gradiseg_core.files.manifest import SceneManifest, SceneView
from gradiseg_core.stages.tracking.consistency import track_consistency
from gradiseg_core.stages.tracking.contact_sheet import contact_sheet
from gradiseg_core.stages.tracking.interface import Request, Tracked
from gradiseg_core.stages.tracking.overflow import IdMaps, areas, given_ids, limit_ids, views_of
from gradiseg_core.stages.tracking.report import percent, report
from gradiseg_core.stages.tracking.thumbnails import thumbnails

logger = logging.getLogger(__name__)

#: Below this share of agreeing track observations the job's log warns.
WARN_CONSISTENCY = 0.9
#: The largest ID of a backend: ID maps are int32 until they are numbered anew.
MOST_OBJECTS = 2**31 - 1
#: Most views shown in the contact sheet, evenly spaced.
SHEET_VIEWS = 40


@dataclass(frozen=True)
class Association:
    """One job of this stage: its inputs, its options and its limits.

    Attributes:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`; training views without a camera are left out.
        masks_dir: Output folder of stage `masks`; None where `config.needs_masks` is false.
        config: Options of the stage.
        max_ids: Number of classes of the identity classifier, 0 included: IDs lie in
            0..max_ids-1.
        seed: Seed for backends that draw random numbers.
        threads: Threads that the backend may use.
        weights: Checkpoints by the names of `config.weights()`.
        geometry_dir: Output folder of stage `geometry`; None where the backend does not read it.
        instead_of_geometry: Why stage `geometry` found nothing, where `config` is that of the
            backend which takes its place.
        split: `all` tracks the test views as well (their photographs, never their annotations):
            for scoring the tracks themselves, not for training.
    """

    scene_dir: Path
    colmap_dir: Path
    masks_dir: Path | None
    config: TrackingConfig
    max_ids: int
    seed: int
    threads: int
    weights: Mapping[str, Path] = field(default_factory=dict)
    geometry_dir: Path | None = None
    instead_of_geometry: str | None = None
    split: Literal["train", "all"] = "train"

    def request(self, views: list[SceneView]) -> Request:
        """Return what the backend is asked for."""
        return Request(
            scene_dir=self.scene_dir,
            colmap_dir=self.colmap_dir,
            masks_dir=self.masks_dir,
            views=views,
            options=self.config.options,
            seed=self.seed,
            threads=self.threads,
            weights=self.weights,
            geometry_dir=self.geometry_dir,
            association=self.config.association,
        )


def associate(job: Association, out_dir: Path) -> dict:
    """Give every object one ID over all training views.

    Writes ``ids/<stem>.png`` (16-bit, 0 = no object or ignored), ``objects.json``,
    ``objects/<id>.png`` (what the object looks like, see `thumbnails`), ``contact_sheet.png`` and
    ``report.md``, which says in words what is consistent and what is not.

    Args:
        job: Inputs and options.
        out_dir: Where to write.

    Returns:
        The content of objects.json: ``backend``, ``instead_of_geometry`` (why geometry was not
        taken, None where that was not wanted), ``num_ids`` (the largest ID; all of 1..num_ids
        occur unless IDs were kept), ``objects`` (``id``, ``views``, ``area_px``, and from SfM
        tracks ``tracks``, ``views_seen``, ``persistence``, ``switches``, and from given maps
        ``given_ids``, what it is called there, see `overflow.given_ids`; ``thumbnail``, its
        picture's path below `out_dir`, and ``best_view``, which it shows, None for the smallest of
        very many objects), ``id_consistency``,
        ``consistency`` (by view, and pairs of IDs that look like one object; see
        `consistency.track_consistency`), ``repair`` (None without), ``unlabelled_observations``,
        ``unlabelled_share`` (pixels of ID 0), ``merged`` (see `overflow.limit_ids`), ``left_out``
        (training views without a camera) and ``details``.

    Raises:
        InputError: If inputs are missing or contradict each other, or there are too many objects.
        BackendUnavailableError: If the backend does not exist.
        GradisegError: If the backend does not return an ID map of every view.
    """
    from gradiseg_core.files.colmap import load_cameras

    config = job.config
    registered = load_cameras(job.colmap_dir)
    manifest = SceneManifest.load(job.scene_dir)
    wanted = manifest.views if job.split == "all" else manifest.train_views
    views = [view for view in wanted if view.name in registered]
    if not views:
        raise InputError(f"no training view of {job.scene_dir} has a camera in {job.colmap_dir}")
    request = job.request(views)
    if job.instead_of_geometry is not None:
        logger.warning(
            "geometry found no objects: %s. So segments of `masks` are joined instead (backend "
            "`%s`); to leave geometry out, write `tracking: {backend: %s}`",
            job.instead_of_geometry, config.backend, config.backend,
        )  # fmt: skip
    tracked: Tracked = config.chosen.run(request)
    cameras = {view.stem: registered[view.name] for view in views}
    shapes = {stem: (camera.height, camera.width) for stem, camera in cameras.items()}
    _check(tracked.maps, shapes, f"tracking backend `{config.backend}`")
    given = tracked.maps if config.chosen.given_ids else None
    evidence = _SfmTracks.load(job.colmap_dir, views)
    repaired = None
    if config.repair == "sfm":
        tracked, repaired = _repair(config, request, tracked, evidence)
    ignored = {view.stem: read_ignored(job.colmap_dir, view.stem) for view in views}
    tracked = replace(tracked, maps=_without(tracked.maps, ignored))
    maps, merged = limit_ids(tracked.maps, job.max_ids, config.overflow, keep_ids=tracked.keep_ids)
    consistency = evidence.consistency(maps)
    size = areas(maps)
    summary = {
        "backend": config.name,
        "instead_of_geometry": job.instead_of_geometry,
        "num_ids": max(size, default=0),
        "objects": _objects(maps, size, consistency, given),
        "id_consistency": consistency["id_consistency"],
        "consistency": {"views": consistency["views"], "alike": consistency["alike"]},
        "repair": repaired,
        "unlabelled_observations": consistency["unlabelled"],
        "unlabelled_share": 1.0 - sum(size.values()) / _counted(maps, ignored),
        "merged": merged,
        "left_out": [view.name for view in wanted if view.name not in registered],
        "details": tracked.details,
    }
    _write(out_dir, maps, summary, job.colmap_dir, views, SHEET_VIEWS)
    _report(summary, out_dir)
    return summary


def _check(maps: IdMaps, shapes: Mapping[str, tuple[int, int]], backend: str) -> None:
    """Make sure that a backend returned an ID map of every view, and of nothing else."""
    for stems, what in (
        (shapes.keys() - maps.keys(), "no ID map of"),
        (maps.keys() - shapes.keys(), "ID maps that belong to no view:"),
    ):
        if stems:
            raise GradisegError(
                f"{backend} returned {what} {', '.join(sorted(stems))}. Expected one for every "
                "view of the request, by its stem: correct the backend's file"
            )
    for stem, shape in shapes.items():
        check_ids(maps[stem], shape, f"{backend}, view {stem}", most=MOST_OBJECTS)


def _without(maps: IdMaps, ignored: Mapping[str, NDArray[np.bool_] | None]) -> IdMaps:
    """Return the maps with 0 in ignored pixels."""
    without = {}
    for stem, ids in maps.items():
        mask = ignored[stem]
        without[stem] = ids if mask is None else np.where(mask, 0, ids).astype(ids.dtype)
    return without


def _counted(maps: IdMaps, ignored: Mapping[str, NDArray[np.bool_] | None]) -> int:
    """Return how many pixels are not ignored, at least 1."""
    return max(
        1,
        sum(
            ids.size - (0 if (mask := ignored[stem]) is None else int(mask.sum()))
            for stem, ids in maps.items()
        ),
    )


@dataclass(frozen=True)
class _SfmTracks:
    """The SfM points that the views observe, which IDs are compared with.

    Attributes:
        observations: By stem: the points' positions [n, 2], px, and their indices [n].
        num_points: Points of the model.
    """

    observations: dict[str, tuple[NDArray, NDArray]]
    num_points: int

    @classmethod
    def load(cls, colmap_dir: Path, views: list[SceneView]) -> _SfmTracks:
        from gradiseg_core.files.colmap import load_observations, load_points

        observed = load_observations(colmap_dir).views
        points = load_points(colmap_dir)[0]
        return cls({view.stem: observed[view.name] for view in views}, len(points))

    def consistency(self, maps: IdMaps) -> dict:
        """Measure how well IDs agree along the tracks; see `consistency.track_consistency`."""
        return track_consistency(maps, self.observations, self.num_points)


def _objects(
    maps: IdMaps, size: Mapping[int, int], consistency: dict, given: IdMaps | None
) -> list[dict]:
    """Return the objects' entries of objects.json.

    Args:
        maps: The final IDs.
        size: Pixels of each ID.
        consistency: Result of `track_consistency`.
        given: The IDs before they were numbered anew, where they were the user's own.
    """
    untracked = {"tracks": 0, "views_seen": 0, "persistence": None, "switches": 0}
    seen_in = views_of(maps)
    called = None if given is None else given_ids(maps, given)
    return [
        {"id": label, "views": seen_in[label], "area_px": size[label]}
        | consistency["objects"].get(label, untracked)
        | ({} if called is None else {"given_ids": called.get(label, [])})
        for label in size
    ]


def _repair(
    config: TrackingConfig,
    request: Request,
    tracked: Tracked,
    evidence: _SfmTracks,
) -> tuple[Tracked, dict]:
    """Repair the IDs by SfM tracks; return them and what changed, for objects.json."""
    # Not an import statement: those are inputs of every job of this stage, and most do not repair.
    # `TrackingConfig.files` names the module for the jobs that do.
    repair = import_module(f"{__package__}.repair")
    before = evidence.consistency(tracked.maps)["id_consistency"]
    views, xyz = repair.views_with(request.colmap_dir, tracked.maps)
    maps, details = repair.repair(views, xyz, config.association, config.repairing)
    after = evidence.consistency(maps)["id_consistency"]
    logger.info(
        "repair: %s of the track observations agreed with their track's ID before, %s after",
        percent(before),
        percent(after),
    )
    return (
        Tracked(maps, tracked.keep_ids, tracked.details),
        {"id_consistency_before": before, "id_consistency_after": after, **details},
    )


def _write(
    out_dir: Path,
    maps: IdMaps,
    summary: dict,
    colmap_dir: Path,
    views: list[SceneView],
    sheet_views: int,
) -> None:
    """Write all outputs, the thumbnails' paths in the summary; none of an earlier run survive."""
    for folder in ("ids", "objects"):
        shutil.rmtree(out_dir / folder, ignore_errors=True)
    for stem, ids in maps.items():
        write_id_map(out_dir / "ids" / f"{stem}.png", ids)
    photographs = {view.stem: _photograph(colmap_dir, view.name) for view in views}
    size = {entry["id"]: entry["area_px"] for entry in summary["objects"]}
    looks = thumbnails(maps, size, lambda stem: read_image(photographs[stem]))
    for label, (_, picture) in looks.items():
        write_image(out_dir / "objects" / f"{label}.png", picture)
    for entry in summary["objects"]:
        shown = entry["id"] in looks
        entry["thumbnail"] = f"objects/{entry['id']}.png" if shown else None
        entry["best_view"] = looks[entry["id"]][0] if shown else None
    pictures = {label: picture for label, (_, picture) in looks.items()}
    sheet = contact_sheet(maps, photographs, size, pictures, max_views=sheet_views)
    write_image(out_dir / "contact_sheet.png", sheet)
    (out_dir / "report.md").write_text(report(summary, WARN_CONSISTENCY), encoding="utf-8")
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
    (out_dir / "objects.json").write_text(text + "\n", encoding="utf-8")


def _photograph(colmap_dir: Path, name: str) -> Path:
    path = colmap_dir / "images" / name
    if not path.is_file():
        raise InputError(f"{path} not found; rerun stage `colmap`")
    return path


def _report(summary: dict, out_dir: Path) -> None:
    share = summary["id_consistency"]
    logger.info(
        "%d objects in %d views; %s of the track observations agree with their track's ID",
        len(summary["objects"]),
        len({stem for entry in summary["objects"] for stem in entry["views"]}),
        percent(share),
    )
    switched = [entry for entry in summary["objects"] if entry["switches"]]
    if share is not None and share < WARN_CONSISTENCY:
        logger.warning(
            "only %s of the track observations agree with their track's ID, and %d objects switch "
            "theirs: look at %s and %s before training",
            percent(share),
            len(switched),
            out_dir / "report.md",
            out_dir / "contact_sheet.png",
        )
