"""Stage `masks`: segments of every training view, each view on its own."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import shutil
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gradiseg_core.config.masks import MasksConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import check_ids
from gradiseg_core.files.ignore import read_ignored
from gradiseg_core.files.images import IMAGE_SUFFIXES, opened, orientation_of, turned_size
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.work_files import set_aside, write_whole
from gradiseg_core.stages.masks.interface import Request, Segmenter

logger = logging.getLogger(__name__)

_KEY = "gradiseg-made-from"  # text entry of our PNG files: the fingerprint of their inputs


def generate(
    scene_dir: Path,
    colmap_dir: Path,
    out_dir: Path,
    config: MasksConfig,
    *,
    threads: int,
    work_dir: Path | None = None,
    weights: Mapping[str, Path] | None = None,
    split: Literal["train", "all"] = "train",
) -> dict[str, Any]:
    """Write the segments of every training view that has a camera.

    Each file carries a fingerprint of what it was made from; files of an earlier, interrupted run
    whose inputs are unchanged are kept. IDs mean nothing across views. Ignored pixels have no
    segment.

    Args:
        scene_dir: Output folder of stage `scene`.
        colmap_dir: Output folder of stage `colmap`.
        out_dir: Folder for `<stem>.png` (16-bit, 0 = no segment) and `masks.json`.
        config: Configuration of the stage.
        threads: Number of processes.
        work_dir: Folder that keeps finished views between runs where `out_dir` is emptied before
            each (as Snakemake does); None keeps them in `out_dir` only.
        weights: Checkpoints by the names of `config.weights()`; only backends with a model need
            them.
        split: `all` segments the test views as well, which only a method without training may see.

    Returns:
        The content of `masks.json`.

    Raises:
        BackendUnavailableError: If the backend does not exist, or its packages, its device or the
            memory for it are missing.
        InputError: If an input is missing or of the wrong size.
        GradisegError: If what the backend returns for a view is not an ID map of it.
    """
    names = _names(Path(scene_dir), Path(colmap_dir), split)
    request = Request(Path(scene_dir), Path(colmap_dir), names, config.options, dict(weights or {}))
    segmenter: Segmenter = config.chosen.run(request)
    out_dir.mkdir(parents=True, exist_ok=True)
    kept = out_dir if work_dir is None else Path(work_dir)
    kept.mkdir(parents=True, exist_ok=True)

    counts = dict(_run(segmenter, request, config.backend, kept, threads))
    stems = {Path(name).stem for name in names}
    for stale in out_dir.glob("*.png"):
        if stale.stem not in stems:
            stale.unlink()
    if kept != out_dir:
        for stem in stems:
            shutil.copyfile(kept / f"{stem}.png", out_dir / f"{stem}.png")
    result = {
        "backend": config.backend,
        "views": {Path(name).stem: counts[name] for name in names},
    }
    (out_dir / "masks.json").write_text(json.dumps(result, indent=2) + "\n")
    logger.info(
        "masks: %d views, %.0f segments each on average",
        len(names),
        np.mean(list(counts.values())),
    )
    return result


def write_view(
    segmenter: Segmenter, name: str, folder: Path, *, photograph: Path, backend: str
) -> int:
    """Make one view's file, unless it is there already; return its number of segments.

    Args:
        segmenter: What makes the segments.
        name: Of the view.
        folder: Where to write.
        photograph: The view's undistorted photograph.
        backend: The segmenter's name, for messages.

    Raises:
        GradisegError: If the segmenter does not return an ID map of the photograph.
    """
    stem = Path(name).stem
    path = folder / f"{stem}.png"
    fingerprint = segmenter.fingerprint(name)
    ignored = read_ignored(photograph.parent.parent, stem)
    if ignored is not None:
        fingerprint += hashlib.blake2b(np.packbits(ignored).tobytes(), digest_size=8).hexdigest()
    if path.is_file():
        try:
            with Image.open(path) as file:
                if file.info.get(_KEY) == fingerprint:
                    return _count(np.asarray(file))
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
            set_aside(path, error, f"{name} is segmented anew")
    ids = segmenter.segments(name)
    with opened(photograph) as original:
        width, height = turned_size(original.size, orientation_of(original))
    check_ids(ids, (height, width), f"masks backend `{backend}`, view {name}")
    if ignored is not None:
        ids = np.where(ignored, 0, ids)
    info = PngInfo()
    info.add_text(_KEY, fingerprint)
    picture = Image.fromarray(ids.astype(np.uint16))
    write_whole(path, lambda file: picture.save(file, format="PNG", pnginfo=info))
    return _count(ids)


def _names(scene_dir: Path, colmap_dir: Path, split: str) -> list[str]:
    manifest = SceneManifest.load(scene_dir)
    views = [view.name for view in (manifest.views if split == "all" else manifest.train_views)]
    folder = colmap_dir / "images"
    if not folder.is_dir():
        raise InputError(f"{folder} not found: run stage `colmap` for this scene first")
    present = {p.name for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
    left_out = [name for name in views if name not in present]
    if left_out:
        logger.warning("no camera, so no masks: %s", ", ".join(left_out))
    names = [name for name in views if name in present]
    if not names:
        raise InputError(f"none of the {len(views)} views to segment has a camera in {colmap_dir}")
    return names


def _run(
    segmenter: Segmenter, request: Request, backend: str, folder: Path, threads: int
) -> Iterator[tuple[str, int]]:
    """Yield (name, number of segments) as the views are finished, and log the progress."""
    names = request.names
    write = partial(write_view, segmenter, folder=folder, backend=backend)
    workers = min(threads, len(names), segmenter.max_processes or threads)
    step = max(1, len(names) // 10)
    if workers <= 1:
        for done, name in enumerate(names, 1):
            yield name, write(name, photograph=request.image_path(name))
            if done % step == 0:
                logger.info("masks: %d of %d views", done, len(names))
        return
    # Spawned, not forked: forking a process whose libraries run threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        with _without_main_module():
            jobs = {
                pool.submit(write, name, photograph=request.image_path(name)): name
                for name in names
            }
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                yield jobs[job], job.result()
                if done % step == 0:
                    logger.info("masks: %d of %d views", done, len(names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Keep spawned processes from running the caller's script again.

    A spawned process imports the parent's main script, and a script without a `__main__` guard
    (every Snakemake script) would start the whole job once more. The workers need nothing of it.
    """
    main = sys.modules["__main__"]
    missing = object()
    saved = {key: getattr(main, key, missing) for key in ("__file__", "__spec__")}
    main.__spec__ = None
    if saved["__file__"] is not missing:
        del main.__file__
    try:
        yield
    finally:
        for key, value in saved.items():
            if value is not missing:
                setattr(main, key, value)


def _count(ids: np.ndarray) -> int:
    values = np.unique(ids)
    return int((values != 0).sum())
