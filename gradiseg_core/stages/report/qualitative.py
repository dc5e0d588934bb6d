"""Variants side by side: labels over renderings, with crops where the boundaries are hardest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core import plot_style as style
from gradiseg_core.errors import InputError
from gradiseg_core.files.annotations import true_id_map
from gradiseg_core.files.id_maps import read_id_map, resize_by_centres
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest, SceneView
from gradiseg_core.files.pictures import matched_palette, overlay_ids, shown_photograph

FRAME = "#ffffff"


def plot_qualitative(
    scene_dir: Path,
    colmap_dir: Path,
    render_dirs: list[Path],
    out: Path,
    *,
    max_views: int = 3,
    crop_share: float = 0.3,
) -> None:
    """Draw held-out views as rows and variants as columns, each view followed by a crop.

    Without a held-out view, the training views that were rendered instead are drawn and named so.

    The first column is the photograph with the true masks if they exist. The crop shows the place
    at which the labels of all variants together disagree most with the truth (without a truth: with
    the first variant), so it is the worst place, not a chosen one.

    Args:
        scene_dir: Scene folder.
        colmap_dir: Undistorted photographs.
        render_dirs: Renderings of one seed, one folder for each variant.
        out: PNG or SVG to write.
        max_views: Most test views to show, evenly spread.
        crop_share: Side of the crop as a share of the view's.

    Raises:
        InputError: If there are no renderings.
    """
    pairs = by_variant(render_dirs)
    manifest = SceneManifest.load(scene_dir)
    views, held_out = chosen_views(manifest, pairs[0].about, max_views)

    shapes = [read_image(pairs[0].folder / "color" / f"{view.stem}.png").shape for view in views]
    # An upright view is as high as it is wide in its cell, which would else dwarf the others.
    aspects = [shape[0] / shape[1] for shape in shapes]
    if len(set(aspects)) > 1:
        aspects = [min(aspect, 1.0) for aspect in aspects]
    columns = 1 + len(pairs)
    with style.figure(
        out,
        nrows=2 * len(views),
        ncols=columns,
        figsize=(2.7 * columns, 2 * 2.7 * sum(aspects) + 0.4),
        height_ratios=np.repeat(aspects, 2),
    ) as (figure, axes):
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
        for row, view in enumerate(views):
            panels, box = panels_of(manifest, view, scene_dir, colmap_dir, pairs, crop_share)
            for column, (name, picture, edges) in enumerate(panels):
                full, crop = axes[2 * row, column], axes[2 * row + 1, column]
                _show(full, picture, edges, None)
                _show(crop, picture, edges, box)
                _outline(full, box)
                if row == 0:
                    full.set_title(name)
            axes[2 * row, 0].set_ylabel(view.stem + ("" if held_out else "\n(training view)"))
            axes[2 * row + 1, 0].set_ylabel("crop")


@dataclass(frozen=True)
class Rendered:
    """The renderings of one training.

    Attributes:
        about: Content of ``render.json``.
        folder: Where they are.
    """

    about: dict[str, Any]
    folder: Path

    @property
    def variant(self) -> str:
        """The training's variant."""
        return str(self.about["variant"])


def by_variant(render_dirs: list[Path]) -> list[Rendered]:
    """Return renderings, one folder for each variant, in the order of the variants.

    Raises:
        InputError: If there are none.
    """
    if not render_dirs:
        raise InputError("no renderings were given, so there is nothing to compare")
    found = [Rendered(json.loads((path / "render.json").read_text()), path) for path in render_dirs]
    ranks = {name: rank for rank, name in enumerate(style.order({one.variant for one in found}))}
    return sorted(found, key=lambda one: ranks[one.variant])


def chosen_views(
    manifest: SceneManifest, about: dict[str, Any], most: int
) -> tuple[list[SceneView], bool]:
    """Return at most ``most`` rendered views, evenly spread, and whether they are held out.

    Where no held-out view was rendered, they are training views.
    """
    rendered = {view["name"] for view in about["views"]}
    views = [view for view in manifest.test_views if view.name in rendered]
    held_out = bool(views)
    if not held_out:
        views = [view for view in manifest.train_views if view.name in rendered]
    chosen = np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).round())
    return [views[int(index)] for index in chosen], held_out


Panel = tuple[str, NDArray[np.uint8], NDArray[np.float64] | None]
Box = tuple[int, int, int, int]


def panels_of(
    manifest: SceneManifest,
    view: SceneView,
    scene_dir: Path,
    colmap_dir: Path,
    pairs: list[Rendered],
    crop_share: float,
) -> tuple[list[Panel], Box]:
    """Return the pictures of a view and the window in which labels are most wrong.

    Args:
        manifest: Of the scene.
        view: One that was rendered.
        scene_dir: Scene folder.
        colmap_dir: Undistorted photographs.
        pairs: From :func:`by_variant`.
        crop_share: Side of the window as a share of the view's.

    Returns:
        panels: (title, picture [H, W, 3], true outlines [S, 2, (x, y)] or None) of the truth (else
            the photograph), then of every variant.
        window: (top, left, height, width), px.
    """
    labels = [read_id_map(one.folder / "ids" / f"{view.stem}.png") for one in pairs]
    shape = labels[0].shape
    photo = shown_photograph(colmap_dir, view.name, (shape[1], shape[0]))
    truth = true_id_map(scene_dir, colmap_dir, manifest, view)
    panels: list[Panel] = []
    if truth is None:
        panels.append(("photograph", photo, None))
        wrong = sum((labels[0] != ids for ids in labels[1:]), np.zeros(shape, dtype=np.int64))
        edges = None
    else:
        truth = resize_by_centres(truth, shape)
        palette = matched_palette(labels[0], truth)
        panels.append(("truth", overlay_ids(photo, truth, 0.55, palette), None))
        edges = _edges(truth)
        wrong = np.zeros(shape, dtype=np.int64)
        for ids in labels:
            wrong += _disagreement(ids, truth)
    for one, ids in zip(pairs, labels, strict=True):
        color = read_image(one.folder / "color" / f"{view.stem}.png")
        panels.append((style.label(one.variant), overlay_ids(color, ids, 0.55), edges))
    return panels, _densest(wrong, crop_share)


def _disagreement(ids: NDArray[np.integer], truth: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return the pixels at which labels leave the true object that they cover most."""
    table = np.zeros((int(ids.max()) + 1, int(truth.max()) + 1), dtype=np.int64)
    np.add.at(table, (ids.ravel(), truth.ravel()), 1)
    return table.argmax(axis=1)[ids] != truth


def _densest(wrong: NDArray[np.int64], share: float) -> Box:
    """Return (top, left, height, width) of the window that holds most of ``wrong``."""
    height, width = (max(8, round(share * size)) for size in wrong.shape)
    height, width = min(height, wrong.shape[0]), min(width, wrong.shape[1])
    sums = np.pad(wrong.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    totals = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
        + sums[:-height, :-width]
    )  # fmt: skip
    if not totals.any():
        return (wrong.shape[0] - height) // 2, (wrong.shape[1] - width) // 2, height, width
    top, left = np.unravel_index(int(totals.argmax()), totals.shape)
    return int(top), int(left), height, width


def _edges(ids: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the lines between pixels of different IDs, [S, 2 ends, (x, y)], px of the picture.

    Lines keep their width in a crop; coloured pixels would hide the boundary there.
    """
    rows, columns = np.nonzero(ids[:, 1:] != ids[:, :-1])
    upright = np.stack([columns + 0.5, rows - 0.5, columns + 0.5, rows + 0.5], axis=-1)
    rows, columns = np.nonzero(ids[1:] != ids[:-1])
    level = np.stack([columns - 0.5, rows + 0.5, columns + 0.5, rows + 0.5], axis=-1)
    return np.concatenate([upright, level]).reshape(-1, 2, 2)


def _show(
    axis: Any, picture: NDArray[np.uint8], edges: NDArray[np.float64] | None, box: Box | None
) -> None:
    from matplotlib.collections import LineCollection

    axis.imshow(picture, interpolation="nearest" if box else "antialiased")
    if edges is not None:
        width = 1.4 if box else 0.7
        axis.add_collection(LineCollection(list(edges), colors="white", linewidths=width))
    if box is not None:
        top, left, height, wide = box
        axis.set_xlim(left - 0.5, left + wide - 0.5)
        axis.set_ylim(top + height - 0.5, top - 0.5)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _outline(axis: Any, box: Box) -> None:
    from matplotlib.patches import Rectangle

    top, left, height, width = box
    for color, line in (("black", 2.2), (FRAME, 1.0)):
        axis.add_patch(
            Rectangle((left - 0.5, top - 0.5), width, height, fill=False, ec=color, lw=line)
        )
