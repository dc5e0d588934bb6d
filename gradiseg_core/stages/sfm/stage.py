"""Stage `colmap`: cameras, sparse points and undistorted images of a scene."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from gradiseg_core.cameras import FRAME_FILE, training_frame
from gradiseg_core.config.colmap import ColmapConfig
from gradiseg_core.errors import InputError, ReconstructionError
from gradiseg_core.files.colmap import load_user_cameras, load_user_points
from gradiseg_core.files.images import opened
from gradiseg_core.files.manifest import Unused, in_order
from gradiseg_core.files.undistort import write_undistorted
from gradiseg_core.stages.sfm.attempts import Found, Photographs, find_cameras
from gradiseg_core.stages.sfm.colmap_log import glog_to_folder
from gradiseg_core.stages.sfm.existing import find_models
from gradiseg_core.stages.sfm.features import (
    build_database,
    chosen_matcher,
    for_order,
    matched_pairs,
)
from gradiseg_core.stages.sfm.given_models import load_given
from gradiseg_core.stages.sfm.known_poses import add_points
from gradiseg_core.stages.sfm.left_out import find_reasons
from gradiseg_core.stages.sfm.left_out_page import write_page
from gradiseg_core.stages.sfm.lenses import camera_groups, check_pixels, model_of
from gradiseg_core.stages.sfm.light import measure_light, say_light
from gradiseg_core.stages.sfm.masking import carry_ignored, drop_ignored
from gradiseg_core.stages.sfm.registered import by_name
from gradiseg_core.stages.sfm.tracks import add_tracks
from gradiseg_core.stages.sfm.turning import ONE_PLACE, turning_only

logger = logging.getLogger(__name__)

_MIN_IMAGES = 3


def reconstruct(
    scene_dir: Path,
    out_dir: Path,
    config: ColmapConfig,
    *,
    seed: int,
    threads: int,
    work_dir: Path | None = None,
    page: Path | None = None,
) -> dict[str, Any]:
    """Find the camera of every image of a scene, and a sparse point cloud.

    Training and test views are registered together. With `config.deterministic`, the same images,
    configuration, seed and library versions give the same model bit for bit on one machine. Another
    processor may differ in the last digits, and the mapper's choices may then differ too.

    Args:
        scene_dir: Output folder of stage `scene`.
        out_dir: Folder for `images/`, `sparse/0/`, `sfm.json` and, if the lens distorts,
            `distorted/`; all in the model's own world. `frame.json` says how training shifts and
            scales it.
        config: Configuration of the stage.
        seed: Seed of all random choices, at least 0.
        threads: CPU threads.
        work_dir: Folder that keeps COLMAP's database, models and log; a later call with the same
            images and options continues from it. None uses a temporary folder.
        page: HTML file with the photographs that got no camera, and why; an older one is removed.

    Returns:
        The content of `sfm.json`.

    Raises:
        InputError: If an image is missing or unreadable, or an existing model does not fit.
        ReconstructionError: If too few images are given, match or register.
    """
    from gradiseg_core.files._pycolmap import pycolmap

    scene_dir, out_dir = Path(scene_dir), Path(out_dir)
    image_dir = scene_dir / "images"
    sizes = _image_sizes(scene_dir)
    names = in_order(sizes)
    out_dir.mkdir(parents=True, exist_ok=True)
    if page is not None:
        page.unlink(missing_ok=True)
    originals = _originals(scene_dir)
    config = for_order(config, len(names), ordered=_ordered(scene_dir))
    given = _existing_models(scene_dir, config)
    sparse = None
    with _work_folder(work_dir) as work, glog_to_folder(work):
        if given:
            models, sparse = load_given(
                given, sizes, originals, downsampled=_downsampled(scene_dir)
            )
            logger.info("using the scene's COLMAP model in %s", sparse)
            how: dict[str, Any] = {"source": "existing"}
            if models[0].num_points3D() == 0:
                models[0] = _with_points(models[0], work, image_dir, config, seed, threads)
                how["points_from"] = "triangulated"
            elif models[0].compute_num_observations() == 0:
                how["tracks"] = "projected" if add_tracks(models[0], image_dir) else "none"
            drop_ignored(models[0], scene_dir)
        else:
            if config.single_camera:
                _check_single_camera(sizes)
            cameras = camera_groups(
                image_dir, {name: sizes[name] for name in names}, config.single_camera
            )
            tied = {"camera_model": model_of(config.camera_model, cameras)}
            config = config.model_copy(update=tied)
            result = _from_photographs(
                work, image_dir, names, config, page, cameras=cameras, seed=seed, threads=threads
            )
            models = result.models
            check_pixels(models[0])
            how = {
                "source": "pycolmap",
                "matcher": chosen_matcher(config, len(names)),
                "mapper": config.mapper,
                "seed": seed,
                "attempts": result.tried,
                "found_by": result.how,
                "misplaced": {
                    name: None if one.share is None else round(one.share, 3)
                    for name, one in result.misplaced.items()
                },
            }
        model = models[0]
        report = _report(model, models, names) | how
        _check_registered(report, config, sparse, work if work_dir is not None else None, page)
        _say_left_out(report["left_out"], _splits(scene_dir), out_dir)
        unused = _unused(scene_dir)
        if page is not None and not page.is_file() and unused:
            write_page(page, _scene_name(scene_dir), image_dir, None, [], unused)
        report["camera_models"] = sorted({c.model_name for c in model.cameras.values()})
        report["distortion"] = write_undistorted(model, image_dir, out_dir, threads=threads)
        found = [name for name in names if name not in report["left_out"]]
        report["light"] = say_light(measure_light(model, image_dir))
        report["ignored"] = carry_ignored(scene_dir, out_dir, found)
        report["pycolmap"] = pycolmap.__version__
    _write_frame(out_dir)
    (out_dir / "sfm.json").write_text(json.dumps(report, indent=2) + "\n")
    logger.info(
        "registered %d of %d images, %d points, mean reprojection error %.3f px",
        report["registered"],
        report["total"],
        report["points"],
        report["mean_reprojection_error_px"],
    )
    return report


def _with_points(
    model: Any, work: Path, image_dir: Path, config: ColmapConfig, seed: int, threads: int
) -> Any:
    def build(names: list[str], cameras: list[list[str]]) -> Path:
        return build_database(
            work, image_dir, names, config, cameras=cameras, seed=seed, threads=threads
        )

    return add_points(
        model,
        image_dir,
        work,
        build,
        all_pairs=chosen_matcher(config, model.num_reg_images()) == "exhaustive",
        seed=seed,
        threads=threads,
    )


def _from_photographs(
    work: Path,
    image_dir: Path,
    names: list[str],
    config: ColmapConfig,
    page: Path | None,
    *,
    cameras: list[list[str]],
    seed: int,
    threads: int,
) -> Found:
    if len(names) < _MIN_IMAGES:
        raise ReconstructionError(
            f"{image_dir} has {len(names)} image(s); structure from motion needs at least "
            f"{_MIN_IMAGES}, and 20 or more around the scene for good results"
        )
    build = partial(
        build_database,
        image_dir=image_dir,
        names=names,
        cameras=cameras,
        seed=seed,
        threads=threads,
    )
    found = find_cameras(
        Photographs(
            work=work,
            image_dir=image_dir,
            names=names,
            config=config,
            build=lambda folder, config, **extra: build(folder, config=config, **extra),
            all_pairs=chosen_matcher(config, len(names)) == "exhaustive",
            seed=seed,
            threads=threads,
        )
    )
    pairs = matched_pairs(found.database)
    left_out = _left_out(found.models[0], names) if found.models else list(names)
    see = ""
    if left_out and page is not None:
        findings = find_reasons(
            found.database, image_dir, names, set(names) - set(left_out), found.misplaced
        )
        scene_dir = image_dir.parent
        unused = _unused(scene_dir)
        write_page(page, _scene_name(scene_dir), image_dir, findings, found.tried, unused)
        see = f". Pictures and reasons: {page}"
    _refuse_one_place(found.database, names, image_dir, page)
    if not any(pairs.values()):
        raise ReconstructionError(
            f"no two of the {len(names)} images in {image_dir} match: take photographs that "
            "overlap by two thirds or more, of a scene with texture, without blur; with "
            f"`colmap.matcher: sequential`, names must follow the path of the camera{see}"
        )
    alone = [name for name, count in pairs.items() if count == 0]
    if alone:
        logger.warning("images that match no other: %s", ", ".join(alone))
    models = found.models
    if not models:
        raise ReconstructionError(
            f"COLMAP found no model: the {len(names)} images match "
            f"({sum(pairs.values()) // 2} pairs), but no pair has enough matches and parallax to "
            "start from; move the camera sideways between photographs instead of turning it on "
            f"the spot, or add images{see}"
        )
    if len(models) > 1:
        logger.warning(
            "the photographs fall into %d groups without enough overlap between them (%s images): "
            "only the largest is used. More photographs between the groups can join them",
            len(models),
            ", ".join(str(model.num_reg_images()) for model in models),
        )
    for name in left_out:
        why = f"matches {pairs[name]} other images"
        if name in found.misplaced:
            share = found.misplaced[name].share
            why = (
                "its place would be wrong: it held to others at wrong places alone"
                if share is None
                else f"its place would be wrong: {share:.0%} of its matches fit there"
            )
        logger.warning("not registered: %s (%s)", name, why)
    if see:
        logger.warning("%d photographs have no camera%s", len(left_out), see)
    return found


def _refuse_one_place(database: Path, names: list[str], image_dir: Path, page: Path | None) -> None:
    """Refuse photographs between which the camera only turned; warn where it hardly moved.

    Raises:
        ReconstructionError: With the page.
    """
    turning = turning_only(database)
    if turning is None:
        return
    said = (
        f"in {turning.pairs} pairs of the {len(names)} photographs, turning the camera explains "
        f"how things move between them, to {turning.left:.2%} of the picture's width"
    )
    if turning.left >= ONE_PLACE:
        logger.warning(
            "the camera hardly moved: %s. Distances, and with them cameras and scene, may be "
            "wrong: walk around the objects while you take photographs",
            said,
        )
        return
    trouble = (
        f"All photographs seem to be taken from one place: {said}. From one place nothing has a "
        "distance. Walk around the objects, or along the scene, and step aside by a tenth of their "
        "distance or more between photographs"
    )
    if page is not None:
        scene_dir = image_dir.parent
        name = _scene_name(scene_dir)
        write_page(page, name, image_dir, None, [], _unused(scene_dir), f"{trouble}.")
        trouble += f". The same on a page: {page}"
    raise ReconstructionError(trouble)


def _report(model: Any, models: list[Any], names: list[str]) -> dict[str, Any]:
    left_out = _left_out(model, names)
    return {
        "registered": len(names) - len(left_out),
        "total": len(names),
        "left_out": left_out,
        "points": model.num_points3D(),
        "observations": model.compute_num_observations(),
        "mean_track_length": round(model.compute_mean_track_length(), 4),
        "mean_reprojection_error_px": round(model.compute_mean_reprojection_error(), 4),
        "models": [m.num_reg_images() for m in models],
    }


def _write_frame(out_dir: Path) -> None:
    frame = training_frame(list(load_user_cameras(out_dir).values()), load_user_points(out_dir))
    frame.save(out_dir)
    if not frame.is_identity:
        logger.info(
            "the model is far from its origin or in unusual units: training works on "
            "%g x (position - (%s)); %s holds this, and exports stay in the model's units",
            frame.scale,
            ", ".join(f"{value:.10g}" for value in frame.offset),
            out_dir / FRAME_FILE,
        )


def _left_out(model: Any, names: list[str]) -> list[str]:
    found = by_name(model)
    return [name for name in names if name not in found]


def _check_registered(
    report: dict[str, Any],
    config: ColmapConfig,
    sparse: Path | None,
    work: Path | None,
    page: Path | None,
) -> None:
    share = report["registered"] / report["total"]
    if share >= config.min_registered_share:
        return
    message = (
        f"only {report['registered']} of {report['total']} images have a camera "
        f"({share:.0%}; `colmap.min_registered_share` asks for "
        f"{config.min_registered_share:.0%}). Left out: {_some(report['left_out'])}. "
    )
    if sparse is not None:
        advice = (
            f"They are not in {sparse}; set `colmap.existing: ignore` to reconstruct all, add them "
            "to the model, or lower the share to go on without them"
        )
    else:
        sizes = ", ".join(map(str, report["models"]))
        advice = (
            f"Tried: {_tried(report['attempts'])}. Models found, by images: {sizes}. Remove "
            "blurred images and images of other places; add views between groups that do not "
            "overlap (several models mean such groups, of which the largest is used); or lower "
            "the share to go on without them"
        )
    if work is not None:
        advice += f". Features and matches are kept in {work}, COLMAP's log too"
    if sparse is None and page is not None:
        advice += f". Pictures and reasons: {page}"
    raise ReconstructionError(message + advice)


def _tried(attempts: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['what']} ({one['registered']} images)" for one in attempts)


def _say_left_out(left_out: list[str], splits: dict[str, str], out_dir: Path) -> None:
    """Warn of training and test views without a camera, and of the consequences."""
    for split, what in (
        ("train", "training views have no camera and take no part in masks and training"),
        ("test", "test views have no camera and are neither rendered nor scored"),
    ):
        views = [name for name, its in splits.items() if its == split]
        missing = [name for name in views if name in left_out]
        if split == "train" and len(missing) == len(views):
            raise ReconstructionError(
                f"none of the {len(views)} training views has a camera ({_some(views)}), so there "
                "is nothing to train on: hold other views out, or add these to the model"
            )
        if missing:
            logger.warning("%d of %d %s: %s", len(missing), len(views), what, _some(missing))
        if split == "test" and len(missing) == len(views):
            logger.warning(
                "%s: training goes on, without scores. Hold out views that have a camera (see "
                "`left_out` in %s), or set `colmap.existing: ignore` where a model lacks them",
                "no held-out view has a camera" if views else "the scene has no held-out view",
                out_dir / "sfm.json",
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _existing_models(scene_dir: Path, config: ColmapConfig) -> list[Path]:
    if config.existing == "ignore":
        return []
    folders = find_models(scene_dir)
    if folders:
        return folders
    if config.existing == "require":
        raise InputError(
            "no COLMAP model comes with the scene, and `colmap.existing: require` asks for one: "
            "put `cameras`, `images` and `points3D` (.bin or .txt) as sparse/0/ into the folder "
            "that the scene's `path` names, beside images/ (where `path` is the folder of "
            "photographs itself, name it images/ and put sparse/0/ beside it), or set `auto`"
        )
    return []


def _downsampled(scene_dir: Path) -> int:
    """Return how many times smaller the images are than those of the model in `sparse/`."""
    manifest = json.loads((scene_dir / "scene.json").read_text())
    return int(manifest.get("downsampled", 1))


def _scene_name(scene_dir: Path) -> str:
    return str(json.loads((scene_dir / "scene.json").read_text())["name"])


def _unused(scene_dir: Path) -> list[Unused]:
    """Return the user's photographs that are no views of the scene."""
    manifest = json.loads((scene_dir / "scene.json").read_text())
    return [Unused(**one) for one in manifest.get("unused", [])]


def _ordered(scene_dir: Path) -> bool:
    """Return whether the images are frames of videos, in order of time."""
    return bool(json.loads((scene_dir / "scene.json").read_text()).get("ordered", False))


def _splits(scene_dir: Path) -> dict[str, str]:
    """Return "train" or "test" by name of the scene's images."""
    manifest = json.loads((scene_dir / "scene.json").read_text())
    return {view["name"]: view["split"] for view in manifest["views"]}


def _originals(scene_dir: Path) -> dict[str, str]:
    """Return the user's own names of images that have another name in the scene."""
    manifest = json.loads((scene_dir / "scene.json").read_text())
    return {v["name"]: v["original"] for v in manifest["views"] if v.get("original")}


def _image_sizes(scene_dir: Path) -> dict[str, tuple[int, int]]:
    """Return (width, height) of all images of the scene by name, read from the files."""
    manifest = scene_dir / "scene.json"
    try:
        views = json.loads(manifest.read_text())["views"]
    except FileNotFoundError as error:
        raise InputError(f"{manifest} not found: run stage `scene` first") from error
    sizes = {}
    for view in views:
        path = scene_dir / "images" / view["name"]
        if not path.is_file():
            raise InputError(f"{path} not found, but {manifest} lists it")
        # Read to its end, if in small: COLMAP silently accepts a truncated file.
        with opened(path, smallest=64) as file:
            sizes[view["name"]] = file.info.get("stored_size", file.size)
    return sizes


def _check_single_camera(sizes: dict[str, tuple[int, int]]) -> None:
    if len(set(sizes.values())) > 1:
        by_size = {size: name for name, size in sizes.items()}
        examples = ", ".join(f"{name} {w} x {h}" for (w, h), name in sorted(by_size.items()))
        raise InputError(
            f"`colmap.single_camera: true` needs images of one size, got {examples}; leave it "
            "null, which gives each size and lens its camera"
        )


@contextmanager
def _work_folder(work_dir: Path | None) -> Iterator[Path]:
    if work_dir is not None:
        work_dir = Path(work_dir)
        work_dir.mkdir(parents=True, exist_ok=True)
        yield work_dir.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="gradiseg-sfm-") as folder:
        yield Path(folder).resolve()
