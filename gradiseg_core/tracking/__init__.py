"""Stage `tracking`: one ID per object over all views.

A backend turns per-view masks (or another tracker's output) into consistent maps; everything after
that is common: dense numbering, the limit of the classifier's classes, the measure of consistency,
the files. A new backend is one adapter module with a function of `Backend`'s form and an entry in
`BACKENDS`. For a video tracker such as DEVA: read the photographs of `request.stems` in the order
of their names from ``request.colmap_dir / "images"`` and the per-view masks from
``request.masks_dir``, and return maps in the undistorted frames.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gradiseg_core.config.tracking import TrackingConfig
from gradiseg_core.errors import BackendUnavailableError, InputError
from gradiseg_core.imaging import write_id_map, write_image
from gradiseg_core.scene.manifest import SceneManifest, View
from gradiseg_core.tracking.consistency import track_consistency
from gradiseg_core.tracking.contact_sheet import contact_sheet
from gradiseg_core.tracking.overflow import IdMaps, areas, limit_ids, views_of
from gradiseg_core.tracking.precomputed import read_maps

logger = logging.getLogger(__name__)

#: Below this share of agreeing track observations the job's log warns.
WARN_CONSISTENCY = 0.9


@dataclass(frozen=True)
class Request:
    """What a backend is given.

    Attributes:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`.
        masks_dir: Output folder of stage `masks`; None where the backend needs no masks.
        views: The training views that have a camera, sorted by name.
        config: The stage's configuration.
        seed: Seed for backends that draw random numbers.
        threads: Threads that the backend may use.
    """

    scene_dir: Path
    colmap_dir: Path
    masks_dir: Path | None
    views: list[View]
    config: TrackingConfig
    seed: int
    threads: int


@dataclass(frozen=True)
class Tracked:
    """What a backend returns.

    Attributes:
        maps: By stem, [H, W] int32 IDs in the undistorted view's frame, consistent over all views;
            0 = no object. Every view of the request has one.
        keep_ids: Whether the IDs' values must survive.
        details: JSON-ready facts for objects.json.
    """

    maps: IdMaps
    keep_ids: bool
    details: dict


Backend = Callable[[Request], Tracked]


def _sfm(request: Request) -> Tracked:
    from gradiseg_core.tracking.sfm_tracks import load_views, solve

    if request.masks_dir is None:
        raise InputError("tracking.backend: sfm needs the output folder of stage `masks`")
    stems = [view.stem for view in request.views]
    views, xyz = load_views(request.colmap_dir, request.masks_dir, stems)
    options = request.config.sfm
    if options.join == "auto":
        about = request.masks_dir / "masks.json"  # absent where a folder of masks was handed over
        by_graph = about.is_file() and json.loads(about.read_text())["backend"] == "graph"
        options = options.model_copy(update={"join": "always" if by_graph else "never"})
    result = solve(views, xyz, options)
    return Tracked(result.maps, False, result.details)


def _precomputed(request: Request) -> Tracked:
    options = request.config.precomputed
    maps = read_maps(options.folder, request.scene_dir, request.colmap_dir, request.views)
    return Tracked(maps, options.keep_ids, {"folder": str(options.folder or "object_mask")})


BACKENDS: dict[str, Backend] = {"sfm": _sfm, "precomputed": _precomputed}


def get_backend(name: str) -> Backend:
    """Return the backend of that name.

    Raises:
        BackendUnavailableError: If there is none.
    """
    if name not in BACKENDS:
        raise BackendUnavailableError(
            f"tracking.backend: {name!r} is not available; available: {', '.join(BACKENDS)}"
        )
    return BACKENDS[name]


def associate(
    scene_dir: Path,
    colmap_dir: Path,
    masks_dir: Path | None,
    out_dir: Path,
    config: TrackingConfig,
    *,
    max_ids: int,
    seed: int,
    threads: int,
) -> dict:
    """Give every object one ID over all training views.

    Writes ``ids/<stem>.png`` (16-bit, 0 = no object), ``objects.json`` and ``contact_sheet.png``.

    Args:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`; training views without a camera are left out.
        masks_dir: Output folder of stage `masks`; may be None for `precomputed`.
        out_dir: Where to write.
        config: Options of the stage.
        max_ids: Number of classes of the identity classifier, 0 included: IDs lie in
            0..max_ids-1.
        seed: Seed for backends that draw random numbers (`sfm` and `precomputed` draw none).
        threads: Threads that the backend may use.

    Returns:
        The content of objects.json: ``backend``, ``num_ids`` (the largest ID; all of 1..num_ids
        occur unless IDs were kept), ``objects`` (``id``, ``views``, ``area_px``, and from SfM
        tracks ``tracks``, ``views_seen``, ``persistence``, ``switches``), ``id_consistency``,
        ``unlabelled_observations``, ``unlabelled_share`` (pixels of ID 0), ``merged`` (see
        `overflow.limit_ids`), ``left_out`` (training views without a camera) and ``details``.

    Raises:
        InputError: If inputs are missing or contradict each other, or there are too many objects.
        BackendUnavailableError: If the backend does not exist.
    """
    from gradiseg_core.sfm.model import load_cameras, load_observations, load_points

    backend = get_backend(config.backend)
    registered = load_cameras(colmap_dir)
    train = SceneManifest.load(scene_dir).train_views
    views = [view for view in train if view.name in registered]
    if not views:
        raise InputError(f"no training view of {scene_dir} has a camera in {colmap_dir}")
    tracked = backend(
        Request(Path(scene_dir), Path(colmap_dir), masks_dir, views, config, seed, threads)
    )
    maps, merged = limit_ids(tracked.maps, max_ids, config.overflow, keep_ids=tracked.keep_ids)
    size, seen_in = areas(maps), views_of(maps)
    observed = load_observations(colmap_dir).views
    consistency = track_consistency(
        maps, {view.stem: observed[view.name] for view in views}, len(load_points(colmap_dir)[0])
    )
    nothing = {"tracks": 0, "views_seen": 0, "persistence": None, "switches": 0}
    pixels = sum(ids.size for ids in maps.values())
    summary = {
        "backend": config.backend,
        "num_ids": max(size, default=0),
        "objects": [
            {"id": label, "views": seen_in[label], "area_px": size[label]}
            | consistency["objects"].get(label, nothing)
            for label in size
        ],
        "id_consistency": consistency["id_consistency"],
        "unlabelled_observations": consistency["unlabelled"],
        "unlabelled_share": 1.0 - sum(size.values()) / pixels,
        "merged": merged,
        "left_out": [view.name for view in train if view.name not in registered],
        "details": tracked.details,
    }
    _write(out_dir, maps, summary, colmap_dir, views, config.contact_sheet_views)
    _report(summary, out_dir)
    return summary


def _write(
    out_dir: Path,
    maps: IdMaps,
    summary: dict,
    colmap_dir: Path,
    views: list[View],
    sheet_views: int,
) -> None:
    """Write all outputs; ID maps of an earlier run do not survive."""
    if (out_dir / "ids").is_dir():
        shutil.rmtree(out_dir / "ids")
    for stem, ids in maps.items():
        write_id_map(out_dir / "ids" / f"{stem}.png", ids)
    photographs = {view.stem: _photograph(colmap_dir, view.name) for view in views}
    size = {entry["id"]: entry["area_px"] for entry in summary["objects"]}
    sheet = contact_sheet(maps, photographs, size, max_views=sheet_views)
    write_image(out_dir / "contact_sheet.png", sheet)
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
        "none" if share is None else f"{100 * share:.1f} %",
    )
    if share is not None and share < WARN_CONSISTENCY:
        logger.warning(
            "only %.1f %% of the track observations agree with their track's ID: look at %s before "
            "training",
            100 * share,
            out_dir / "contact_sheet.png",
        )
