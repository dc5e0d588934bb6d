"""Source ``lerf_mask``: a scene in the layout of the LERF-Mask dataset (Gaussian Grouping).

    images/  images_train/  test_mask/<k>/<prompt>.png  [sparse/]  [object_mask/<stem>.png]

The files of ``images/`` that are not in ``images_train/`` are the test views, and ``test_mask/<k>``
belongs to the k-th of them by name. Three parts beyond the published layout are optional:
``gt_ids/<stem>.png`` (exact IDs of every view), ``ground_truth.json`` (prompts, exact cameras), and
with it ``surface.npz`` (``points`` [S, 3] of the exact surfaces, in the cameras' frame, and
``owners`` [S], the ID of the object at each point).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from gradiseg_core.config.given_model import find_ignore
from gradiseg_core.errors import InputError
from gradiseg_core.files.id_maps import id_map_file, read_id_map, write_id_map
from gradiseg_core.files.images import IMAGE_SUFFIXES
from gradiseg_core.files.manifest import (
    SURFACE_FILE,
    Available,
    SceneManifest,
    SceneView,
    every_nth,
    in_order,
    split_views,
)
from gradiseg_core.prompts import read_ground_truth, wrong_prompts
from gradiseg_core.stages.scene.annotated_masks import collect_masks, place_masks
from gradiseg_core.stages.scene.ignored import place_ignored
from gradiseg_core.stages.scene.photographs import (
    Photograph,
    inspect_folder,
    link,
    link_tree,
    place_images,
)
from gradiseg_core.stages.scene.unused import warn_of_unused

logger = logging.getLogger(__name__)


def prepare_lerf_mask(
    folder: Path,
    out_dir: Path,
    *,
    name: str,
    test_every: int,
    ignore: Path | None = None,
    threads: int = 1,
) -> SceneManifest:
    """Link a LERF-Mask scene into ``out_dir`` and check its split and masks.

    Args:
        folder: Folder that holds ``images/``.
        out_dir: An existing, empty scene folder.
        name: The scene's name.
        test_every: Split used when there is no ``images_train/``.
        ignore: Folder of ignore masks; None looks for `ignore/` beside the photographs.
        threads: CPU threads that read and write photographs.

    Raises:
        InputError: If the images, the split, a prompt, a mask or an exact ID map are unusable; the
            message names it.
    """
    if not (folder / "images").is_dir():
        raise InputError(
            f"{folder} has no images/ folder, so it is not in LERF-Mask's layout; for a plain "
            "folder of photographs set source to 'folder'"
        )
    truth = read_ground_truth(folder / "ground_truth.json")  # first: it takes no time
    photographs, _ = inspect_folder(folder / "images", sparse=folder / "sparse", threads=threads)
    names = [photo.name for photo in photographs]
    sizes = {photo.name: photo.size for photo in photographs}
    views = split_views(names, sizes, _test_names(folder, photographs, test_every))
    test_views = [view for view in views if view.split == "test"]

    masks = collect_masks(folder / "test_mask", test_views)
    prompts = _order_prompts({mask.prompt for mask in masks}, truth)
    exact = _check_exact_ids(folder / "gt_ids", views)
    if truth is not None:
        _check_ids_of_prompts(truth.get("gt_id_of_prompt", {}), prompts, exact)

    place_images(photographs, out_dir / "images", threads=threads)
    ignored = ignore or find_ignore(folder, folder / "images")
    place_ignored(ignored, photographs, folder / "images", out_dir, asked=ignore is not None)
    place_masks(masks, out_dir / "test_mask")
    if truth is not None:
        link(folder / "ground_truth.json", out_dir / "ground_truth.json")
    has_surface = truth is not None and (folder / SURFACE_FILE).is_file()
    if has_surface:
        link(folder / SURFACE_FILE, out_dir / SURFACE_FILE)
    has_sparse = any((folder / "sparse").rglob("cameras.*"))
    warn_of_unused(
        folder, folder / "images", folder / "sparse" if has_sparse else None, "lerf_mask"
    )
    if has_sparse:
        link_tree(folder / "sparse", out_dir / "sparse")
    has = Available(
        test_mask=bool(masks),
        gt_ids=_link_id_maps(folder / "gt_ids", out_dir / "gt_ids", views),
        ground_truth=truth is not None,
        object_mask=_link_id_maps(
            folder / "object_mask",
            out_dir / "object_mask",
            [view for view in views if view.split == "train"],
        ),
        sparse=has_sparse,
        surface=has_surface,
    )
    logger.info(
        "%d images from %s, %d of them test views; %d masks, %d prompts",
        len(views), folder, len(test_views), len(masks), len(prompts),
    )  # fmt: skip
    return SceneManifest(name=name, source="lerf_mask", views=views, prompts=prompts, has=has)


def _test_names(folder: Path, photographs: list[Photograph], test_every: int) -> set[str]:
    """Return the names, in the scene, of the images that are not among the training images."""
    in_scene = {photo.path.name: photo.name for photo in photographs}
    train_dir = folder / "images_train"
    if not train_dir.is_dir():
        logger.info("no images_train/ in %s: every %d-th image is a test view", folder, test_every)
        return every_nth(list(in_scene.values()), test_every)
    train = {
        path.name
        for path in train_dir.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    }
    strays = in_order(train - set(in_scene))
    if strays:
        raise InputError(
            f"{train_dir} holds files that {folder / 'images'} lacks: {', '.join(strays[:5])}"
            f"{' ...' if len(strays) > 5 else ''}; images/ must hold all views"
        )
    if not train:
        raise InputError(f"{train_dir} holds no images; put the training views there")
    return {name for given, name in in_scene.items() if given not in train}


def _order_prompts(annotated: set[str], truth: dict | None) -> list[str]:
    listed = list(truth["prompts"]) if truth else []
    prompts = listed + sorted(annotated - set(listed))
    wrong = wrong_prompts(prompts)  # prompts of test_mask/ and of ground_truth.json
    if wrong:
        raise InputError(
            "prompts of ground_truth.json and test_mask/ cannot be used together:\n  "
            + "\n  ".join(wrong)
            + "\nRename or remove one of each."
        )
    return prompts


def _check_exact_ids(folder: Path, views: list[SceneView]) -> set[int] | None:
    """Refuse exact IDs that cannot be read or differ in size from their photographs.

    Returns:
        All IDs of the views; None if no view has exact IDs.

    Raises:
        InputError: One error that lists all of them.
    """
    problems = []
    found: set[int] | None = None
    for view in views:
        path = id_map_file(folder, view.stem)
        if path is None:
            continue
        try:
            ids = read_id_map(path)
        except InputError as error:
            problems.append(f"  {error}")
            continue
        height, width = ids.shape
        found = (found or set()) | set(np.unique(ids).tolist())
        if (width, height) != (view.width, view.height):
            problems.append(
                f"  {path.name}: {width} x {height} px, but its view {view.name} is {view.width} x "
                f"{view.height} px"
            )
    if problems:
        raise InputError(
            f"{len(problems)} ID maps in {folder} cannot be used:\n" + "\n".join(problems) + "\n"
            "Correct them, or move the folder away: scores against exact IDs are then left out."
        )
    return found


def _check_ids_of_prompts(ids: dict[str, int], prompts: list[str], exact: set[int] | None) -> None:
    """Check the IDs that ``ground_truth.json`` gives to prompts.

    Args:
        ids: `gt_id_of_prompt`.
        prompts: All prompts of the scene.
        exact: IDs of the views, if there are exact ones; a prompt whose ID no view has is logged.

    Raises:
        InputError: If a name is no prompt of the scene.
    """
    unknown = [name for name in ids if name not in prompts]
    if unknown:
        from gradiseg_core.config.messages import nearest

        raise InputError(
            "ground_truth.json: gt_id_of_prompt names what is no prompt of the scene:\n  "
            + "\n  ".join(f"{name!r}{nearest(name, prompts)}" for name in unknown)
            + "\nCorrect the name, or add it to `prompts`."
        )
    lost = [] if exact is None else [f"{p!r} ({ids[p]})" for p in ids if ids[p] not in exact]
    if lost:
        logger.warning(
            "ground_truth.json: no map in gt_ids/ shows the IDs of the prompts %s; correct "
            "gt_id_of_prompt, or remove them from it",
            ", ".join(lost),
        )


def _link_id_maps(source: Path, target: Path, views: list[SceneView]) -> bool:
    """Link the ID maps of ``views``; True if there are any. Views without one are logged."""
    if not source.is_dir():
        return False
    missing = []
    for view in views:
        path = id_map_file(source, view.stem)
        if path is None:
            missing.append(view.stem)
        elif path.suffix == ".png":
            link(path, target / path.name)
        else:
            write_id_map(target / f"{view.stem}.png", read_id_map(path))
    if missing:
        logger.warning("%s lacks %d of %d views: %s", source, len(missing), len(views), missing[:5])
    return len(missing) < len(views)
