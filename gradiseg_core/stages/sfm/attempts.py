"""Finds cameras, and tries by itself what a person would where photographs are left out.

Each attempt works on a copy of the database of the best one so far, and is made only while
photographs are left out. The best result is kept. Attempts, their order and their results do not
depend on the time that they take, unless `colmap.retry_minutes` ends them, which the log says.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.stages.sfm.appearance import alike
from gradiseg_core.stages.sfm.joining import adjusted, join
from gradiseg_core.stages.sfm.known_poses import Matched
from gradiseg_core.stages.sfm.mapping import RELAXED_INLIERS, Mapping, map_images
from gradiseg_core.stages.sfm.misplaced import Misplaced, take_out_misplaced
from gradiseg_core.stages.sfm.pairs import (
    FEWEST_MATCHES,
    copy_of,
    forget_lenses,
    image_ids,
    pairs_with,
    share_that_stands,
    verified,
    verify_again,
)
from gradiseg_core.stages.sfm.registered import by_name, registered
from gradiseg_core.stages.sfm.standing_matches import find_standing_matches, take_out

logger = logging.getLogger(__name__)

#: Where so many are registered, only the quick attempts are made, for the others alone.
NEARLY_ALL = 0.9
#: COLMAP's contrast of a feature (0.0067), and its most features, are changed by this factor.
_MORE_FEATURES = 3
_COLMAP_PEAK = 0.02 / 3
_STANDING = 0.1  # share of all matches that do not move, from which leaving them out is tried
#: Verified matches of a pair from which on it gains little from a guided search, which takes as
#: long for it as for any other; and of those that hardly place an image.
_ENOUGH, _WEAK = 100, 30
_PARTNERS = 20  # of each image, by appearance
_INITIAL_PAIRS = 3
_WORST_ERROR_PX = 2.0  # mean reprojection error that a result may have, or twice the best so far


@dataclass(frozen=True)
class Photographs:
    """What all attempts share.

    Attributes:
        work: Work folder; attempts make folders in it.
        image_dir: Folder of the photographs.
        names: Their file names, in order.
        config: Configuration of the stage.
        build: `build(folder, config, peak_threshold=...)` extracts and matches, and returns the
            database.
        all_pairs: Whether all pairs are matched.
        seed: Seed of all random choices.
        threads: CPU threads.
    """

    work: Path
    image_dir: Path
    names: list[str]
    config: ColmapConfig
    build: Callable[..., Path]
    all_pairs: bool
    seed: int
    threads: int


@dataclass(frozen=True)
class Found:
    """A result.

    Attributes:
        database: Features and matches that it comes from.
        models: `pycolmap.Reconstruction`, the largest first.
        how: What was done, as the log says it.
        without_still: Whether matches that do not move were left out.
        tried: Every attempt and the images that it registered.
        misplaced: Photographs whose cameras were at wrong places and were taken out, by name.
    """

    database: Path
    models: list[Any]
    how: str
    without_still: bool = False
    tried: list[dict[str, Any]] = field(default_factory=list)
    misplaced: dict[str, Misplaced] = field(default_factory=dict)

    @property
    def registered(self) -> int:
        """Images of the largest model."""
        return self.models[0].num_reg_images() if self.models else 0

    @property
    def error_px(self) -> float:
        """Mean reprojection error of the largest model."""
        return float(self.models[0].compute_mean_reprojection_error()) if self.models else np.inf


def find_cameras(photos: Photographs) -> Found:
    """Return the best result that can be found; its models are empty where there is none."""
    database = _built(photos, photos.work, photos.config)
    how = Mapping(mapper=photos.config.mapper, one_thread=photos.config.deterministic)
    first = _mapped(photos, database, photos.work / "models", how, None)
    best = _without_misplaced(photos, Found(database, first, "as configured"), photos.work)
    best.tried.append({"what": best.how, "registered": best.registered})
    total = len(photos.names)
    if best.registered >= total or photos.config.retry_minutes == 0:
        return best
    logger.info("as configured: %d of %d photographs have a camera", best.registered, total)
    end = time.monotonic() + 60 * photos.config.retry_minutes
    for number, (name, attempt) in enumerate(_attempts(), 1):
        folder = photos.work / "attempts" / str(number)
        try:
            with _until(end) as cancel:
                found = attempt(photos, best, folder, how, cancel)
                found = found and _without_misplaced(photos, found, folder)
        except InterruptedError:  # pycolmap raises it too
            logger.warning(
                "no further attempts after %g minutes (`colmap.retry_minutes`): '%s' was not "
                "finished",
                photos.config.retry_minutes,
                name,
            )
            break
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        logger.info("%s: %d of %d photographs have a camera", name, found.registered, total)
        best.tried.append({"what": name, "registered": found.registered})
        if _is_better(found, best):
            best = replace(found, how=name, tried=best.tried)
        elif folder in found.database.parents:
            shutil.rmtree(folder, ignore_errors=True)  # a database may have a gigabyte
        if best.registered >= total:
            break
    if len(best.tried) > 1:
        logger.info("best: %s, with %d of %d photographs", best.how, best.registered, total)
    return best


def _built(photos: Photographs, folder: Path, config: ColmapConfig, **extra: Any) -> Path:
    """Return a database of matches, without features of what stands still in all photographs."""
    database = photos.build(folder, config, **extra)
    masks = find_standing_matches(database) if config.leave_out_standing else {}
    if not masks:
        return database
    share = max(float(mask.mean()) for mask in masks.values())
    logger.warning(
        "about %.0f%% of the picture hardly moves in nearly all pairs of photographs (a gripper, a "
        "stamp): features there are left out. `colmap.leave_out_standing: false` uses them",
        100 * share,
    )
    copied = copy_of(database, folder / "moving")
    verify_again(
        copied,
        take_out(copied, masks),
        guided=config.guided_matching,
        without_still=False,
        fewest=None,
        seed=photos.seed,
        threads=photos.threads,
    )
    return copied


def _without_misplaced(photos: Photographs, found: Found, folder: Path) -> Found:
    """Take cameras at wrong places out, and adjust what is left of a model without them."""
    wrong: dict[str, Misplaced] = {}
    models = []
    for index, model in enumerate(found.models):
        gone = take_out_misplaced(model, found.database)
        wrong |= {one.name: one for one in gone} if index == 0 else {}
        if gone and model.num_reg_images() > 1:
            images = by_name(model)
            model = adjusted(
                _matched(photos, found.database, folder / "adjusting"),
                {name: image.camera for name, image in images.items()},
                {name: image.cam_from_world() for name, image in images.items()},
            )
        if model.num_reg_images() > 1:
            models.append(model)
    models.sort(key=lambda m: (m.num_reg_images(), m.num_points3D()), reverse=True)
    return replace(found, models=models, misplaced=wrong)


def _is_better(found: Found, best: Found) -> bool:
    if found.registered <= best.registered:
        return False
    return found.error_px <= max(_WORST_ERROR_PX, 2 * best.error_px)


_Attempt = Callable[[Photographs, Found, Path, Mapping, Any], Found | None]


def _attempts() -> Iterator[tuple[str, _Attempt]]:
    yield "from the cameras that fit", _from_right_cameras
    yield "without matches that do not move", _without_still
    yield "without focal lengths of EXIF data", _without_exif
    yield "the lens as assumed at first", _with_the_lens_held
    yield "pairs that look alike", _alike
    yield "guided matching", _guided
    yield "lower thresholds", _relaxed
    yield "more features", _more_features
    yield "another initial pair", _other_initial_pair
    yield "the other mapper", _other_mapper


def _from_right_cameras(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    """Place what was at wrong places anew, without the points that it had made."""
    if not best.misplaced or not best.models:
        return None
    models = _continued(photos, best, best.database, folder, how, cancel, go_on=True)
    return replace(best, models=models)


def _without_still(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    if share_that_stands(best.database) < _STANDING:
        return None
    database = copy_of(best.database, folder)
    everything = set(image_ids(database).values())
    _verify(photos, best, database, pairs_with(database, everything), cancel, without_still=True)
    models = _mapped(photos, database, folder / "models", how, cancel)
    return Found(database, models, "", without_still=True)


def _with_the_lens_held(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    if _few_left_out(photos, best) is not None or not verified(best.database):
        return None
    held = replace(how, mapper="incremental", held=True)
    models = _mapped(photos, best.database, folder / "models", held, cancel)
    return replace(best, models=models)


def _without_exif(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    """Pictures that were cropped or scanned have focal lengths that are wrong."""
    if _few_left_out(photos, best) is not None or len(photos.names) > _MOST_MATCHED_AGAIN:
        return None
    database = copy_of(best.database, folder)
    if not forget_lenses(database):
        return None
    _verify(photos, best, database, pairs_with(database, set(image_ids(database).values())), cancel)
    models = _mapped(photos, database, folder / "models", how, cancel)
    return replace(best, database=database, models=models)


def _alike(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    if photos.all_pairs:
        return None
    new = set(alike(best.database, _PARTNERS, seed=photos.seed)) - set(verified(best.database))
    if not new:
        return None
    database = copy_of(best.database, folder)
    _verify(photos, best, database, new, cancel)
    models = _mapped(photos, database, folder / "models", how, cancel)
    return replace(best, database=database, models=models)


def _guided(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    if photos.config.guided_matching:
        return None
    few = _few_left_out(photos, best)
    pairs = _weak(best.database)  # verified: the search needs a geometry to start from
    if few is not None:
        pairs = {pair for pair in pairs if few & set(pair)}
    if not pairs:
        return None
    database = copy_of(best.database, folder)
    _verify(photos, best, database, pairs, cancel, guided=True)
    models = _continued(photos, best, database, folder, how, cancel, few is not None)
    return replace(best, database=database, models=models)


def _relaxed(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    few = _few_left_out(photos, best)
    database = copy_of(best.database, folder)
    some = few if few is not None else set(image_ids(database).values())
    good = {pair for pair, matches in verified(database).items() if len(matches) >= _WEAK}
    weak = set(pairs_with(database, some)) - good
    _verify(photos, best, database, weak, cancel, guided=True, fewest=FEWEST_MATCHES)
    lower = replace(how, mapper="incremental", relaxed=True)
    models = _continued(photos, best, database, folder, lower, cancel, few is not None)
    return replace(best, database=database, models=_without_doubtful(models, best))


def _more_features(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    if _few_left_out(photos, best) is not None:
        return None
    if len(photos.names) > _MOST_MATCHED_AGAIN:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    config = photos.config.model_copy(
        update={
            "max_features": _MORE_FEATURES * photos.config.max_features,
            "matcher": "exhaustive",
        }
    )
    database = _built(photos, folder, config, peak_threshold=_COLMAP_PEAK / _MORE_FEATURES)
    _check(cancel)
    _verify(photos, best, database, _weak(database), cancel, guided=True)
    lower = replace(how, mapper="incremental", relaxed=True)
    models = _mapped(photos, database, folder / "models", lower, cancel)
    return replace(best, database=database, models=_without_doubtful(models, best))


#: Photographs of which all pairs are verified or, with more features, matched once more.
_MOST_MATCHED_AGAIN = 100


def _other_initial_pair(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    if _few_left_out(photos, best) is not None:
        return None
    found: Found | None = None
    lower = replace(how, mapper="incremental", relaxed=True)
    for pair in _initial_pairs(best):
        start = replace(lower, initial=pair)
        models = _mapped(photos, best.database, folder / "models", start, cancel)
        now = replace(best, models=_without_doubtful(models, best))
        if found is None or _is_better(now, found):
            found = now
        if now.registered == len(photos.names):
            break
    return found


def _initial_pairs(best: Found) -> list[tuple[int, int]]:
    """Return the pairs with most matches that are in no model yet, each image once."""
    inside = {image_id for model in best.models for image_id in model.reg_image_ids()}
    pairs = sorted(verified(best.database).items(), key=lambda item: (-len(item[1]), item[0]))
    chosen: list[tuple[int, int]] = []
    used: set[int] = set()
    for (first, second), _ in pairs:
        if (first in inside and second in inside) or {first, second} & used:
            continue
        chosen.append((first, second))
        used |= {first, second}
    return chosen[:_INITIAL_PAIRS]


def _other_mapper(
    photos: Photographs, best: Found, folder: Path, how: Mapping, cancel: Any
) -> Found | None:
    if _few_left_out(photos, best) is not None or not verified(best.database):
        return None
    other = replace(how, mapper="global" if how.mapper == "incremental" else "incremental")
    models = _mapped(photos, best.database, folder / "models", other, cancel)
    return replace(best, models=_without_doubtful(models, best))


def _few_left_out(photos: Photographs, best: Found) -> set[int] | None:
    """Return the IDs of the images without a camera where nearly all have one, else None."""
    if not best.models or best.registered < NEARLY_ALL * len(photos.names):
        return None
    return set(image_ids(best.database).values()) - set(best.models[0].reg_image_ids())


def _weak(database: Path) -> set[tuple[int, int]]:
    """Return the pairs that are verified by few matches."""
    return {pair for pair, matches in verified(database).items() if len(matches) < _ENOUGH}


def _verify(
    photos: Photographs,
    best: Found,
    database: Path,
    pairs: Any,
    cancel: Any,
    *,
    guided: bool = False,
    without_still: bool = False,
    fewest: int | None = None,
) -> None:
    pairs = list(pairs)
    logger.info(
        "%d pairs are verified anew%s", len(pairs), ", by a guided search" if guided else ""
    )
    verify_again(
        database,
        pairs,
        guided=guided or photos.config.guided_matching,
        without_still=without_still or best.without_still,
        fewest=fewest,
        seed=photos.seed,
        threads=photos.threads,
        cancel=cancel,
    )
    _check(cancel)


def _continued(
    photos: Photographs,
    best: Found,
    database: Path,
    folder: Path,
    how: Mapping,
    cancel: Any,
    go_on: bool,
) -> list[Any]:
    """Map anew, or, where nearly all have a camera, add the others to the best model."""
    if go_on:
        given = folder / "given"
        shutil.rmtree(given, ignore_errors=True)
        given.mkdir(parents=True)
        best.models[0].write_binary(given)
        how = replace(how, mapper="incremental", continued=given)
    return _mapped(photos, database, folder / "models", how, cancel)


def _mapped(
    photos: Photographs, database: Path, output: Path, how: Mapping, cancel: Any
) -> list[Any]:
    output.parent.mkdir(parents=True, exist_ok=True)
    models = map_images(
        database,
        photos.image_dir,
        output,
        how,
        num_images=len(photos.names),
        seed=photos.seed,
        threads=photos.threads,
        cancel=cancel,
    )
    _check(cancel)
    return join(models, _matched(photos, database, output.with_name("joining")))


def _matched(photos: Photographs, database: Path, folder: Path) -> Matched:
    threads = 1 if photos.config.deterministic else photos.threads
    return Matched(database, photos.image_dir, folder, photos.seed, threads)


def _without_doubtful(models: list[Any], best: Found) -> list[Any]:
    """Take the cameras away that lower thresholds placed and that hardly any point supports."""
    largest = best.models[:1]
    known = {name for model in largest for name in by_name(model)}
    for model in models:
        for image in registered(model):
            if image.name not in known and image.num_points3D < RELAXED_INLIERS:
                model.deregister_frame(image.frame_id)
    kept = [model for model in models if model.num_reg_images() > 1]
    return sorted(kept, key=lambda m: (m.num_reg_images(), m.num_points3D()), reverse=True)


@contextmanager
def _until(end: float) -> Iterator[Any]:
    """Give a `pycolmap.CancellationToken` that is cancelled at `end` (monotonic clock, s)."""
    from gradiseg_core.files._pycolmap import pycolmap

    remaining = end - time.monotonic()
    if remaining <= 0:
        raise InterruptedError
    token = pycolmap.CancellationToken()
    timer = threading.Timer(remaining, token.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield token
    finally:
        timer.cancel()


def _check(cancel: Any) -> None:
    if cancel is not None and cancel.is_cancelled:
        raise InterruptedError
