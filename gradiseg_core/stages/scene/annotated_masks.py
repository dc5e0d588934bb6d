"""The annotated masks of test views: ``test_mask/<k>/<prompt>.png``, checked and made uniform."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.errors import InputError
from gradiseg_core.files.images import IMAGE_SUFFIXES, UnreadableImageError, opened
from gradiseg_core.files.manifest import SceneView, in_order
from gradiseg_core.files.masks import read_mask, write_mask
from gradiseg_core.stages.scene.listing import some, unreadable_name
from gradiseg_core.stages.scene.photographs import link

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotation:
    """One mask.

    Attributes:
        path: The user's file.
        index: k, the number of its view among the test views.
        prompt: The file's name without its ending.
        as_is: Whether it is a png of 0 and 255.
        share: Share of the pixels that are set.
    """

    path: Path
    index: int
    prompt: str
    as_is: bool
    share: float


def collect_masks(mask_dir: Path, test_views: list[SceneView]) -> list[Annotation]:
    """Return all masks after checking their place, content and shape.

    Raises:
        InputError: One error that lists all problems.
    """
    if not mask_dir.is_dir():
        return []
    masks: list[Annotation] = []
    problems: list[str] = []
    left_out: list[str] = []
    entries = {path.name: path for path in mask_dir.iterdir()}
    for folder in map(entries.__getitem__, in_order(entries)):
        if not folder.is_dir() or folder.name.startswith("."):
            logger.info("ignored: %s", folder)
        elif not folder.name.isdecimal() or str(int(folder.name)) != folder.name:
            problems.append(f"  {folder.name}/: not the number of a test view")
        elif int(folder.name) >= len(test_views):
            problems.append(
                f"  {folder.name}/: there are only {len(test_views)} test views "
                "(numbered from 0, by name)"
            )
        else:
            _collect(folder, test_views[int(folder.name)], masks, problems, left_out)
    if left_out:
        logger.warning(
            "%s: %d files are no images and left out: %s", mask_dir, len(left_out), some(left_out)
        )
    if problems:
        raise InputError(
            f"masks in {mask_dir} do not fit the test views (images/ without images_train/):\n"
            + "\n".join(problems)
            + "\nCorrect or remove them; a mask is an image of 0 and 255 (or 0 and 1), the object "
            "white."
        )
    _check_shares(mask_dir, masks)
    _warn_of_other_order(mask_dir, test_views)
    return masks


def place_masks(masks: list[Annotation], out_dir: Path) -> None:
    """Write masks of 0 and 255 to ``out_dir/<k>/<prompt>.png``; link files of this form."""
    for mask in masks:
        target = out_dir / str(mask.index) / f"{mask.prompt}.png"
        if mask.as_is:
            link(mask.path, target)
        else:
            write_mask(target, read_mask(mask.path))


def _collect(
    folder: Path, view: SceneView, masks: list[Annotation], problems: list[str], left_out: list[str]
) -> None:
    prompts: dict[str, str] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        place = f"{folder.name}/{path.name}"
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            left_out.append(place)
            continue
        if shown := unreadable_name(path.name):
            problems.append(f"  {folder.name}/{shown}: its name is not in UTF-8; rename it")
            continue
        prompt = path.name[: -len(path.suffix)]
        if prompt in prompts:
            problems.append(f"  {place}: a second mask of this prompt beside {prompts[prompt]}")
            continue
        prompts[prompt] = path.name
        try:
            mask, as_is = _read(path)
        except UnreadableImageError as error:
            problems.append(f"  {place}: unreadable ({error.reason})")
            continue
        except InputError as error:
            problems.append(f"  {place}: {error}")
            continue
        if wrong := _wrong_shape((mask.shape[1], mask.shape[0]), view, place):
            problems.append(f"  {place}: {wrong}")
        masks.append(Annotation(path, int(folder.name), prompt, as_is, float(mask.mean())))


def _read(path: Path) -> tuple[NDArray[np.bool_], bool]:
    """Return a mask, and whether its file is a png of 0 and 255."""
    mask = read_mask(path)
    with opened(path, "a mask") as image:
        plain = image.format == "PNG" and image.mode == "L" and path.suffix == ".png"
        return mask, plain and np.array_equal(np.asarray(image), mask * np.uint8(255))


def _wrong_shape(size: tuple[int, int], view: SceneView, place: str) -> str | None:
    width, height = size
    if (width, height) == (view.width, view.height):
        return None
    text = f"{width} x {height} px, but its view {view.name} is {view.width} x {view.height} px"
    # The protocol resizes predictions to the annotation, so another resolution is allowed, but not
    # another aspect ratio (beyond rounding).
    if abs(width * view.height - height * view.width) > max(view.width, view.height):
        return text
    logger.warning("mask %s: %s; scored at the mask's size", place, text)
    return None


def _check_shares(mask_dir: Path, masks: list[Annotation]) -> None:
    """Refuse masks that must be inverted; warn of masks that may be, and of empty ones.

    Raises:
        InputError: If every mask of two or more prompts covers more than half of its view.
    """
    if not masks:
        return
    prompts = {mask.prompt for mask in masks}
    large = {mask.prompt for mask in masks if mask.share > 0.5}
    least = min(mask.share for mask in masks)
    if len(prompts) > 1 and least > 0.5:
        raise InputError(
            f"all {len(masks)} masks in {mask_dir} cover more than half of their view (the "
            f"smallest {least:.0%}), which several objects cannot: they look inverted; save the "
            "object white and the rest black"
        )
    if large:
        logger.warning(
            "%s: masks of %s cover more than half of a view; the object must be the white part",
            mask_dir, some(sorted(large)),
        )  # fmt: skip
    if max(mask.share for mask in masks) == 0:
        logger.warning("%s: all %d masks are empty", mask_dir, len(masks))


def _warn_of_other_order(mask_dir: Path, test_views: list[SceneView]) -> None:
    names = [view.name for view in test_views]
    if names != sorted(names):
        moved = next(k for k, name in enumerate(sorted(names)) if names[k] != name)
        logger.warning(
            "%s: folders are numbered in the order %s (numbers by value): %d/ belongs to %s, not "
            "to %s",
            mask_dir, some(names), moved, names[moved], sorted(names)[moved],
        )  # fmt: skip
