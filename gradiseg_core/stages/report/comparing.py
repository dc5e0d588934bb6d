"""Held-out views in the report's page: truth and ours under a slider, and the worst boundaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gradiseg_core import plot_style as style
from gradiseg_core.files.html import Html, element, image, jpeg, png
from gradiseg_core.files.images import read_image
from gradiseg_core.files.manifest import SceneManifest
from gradiseg_core.files.pictures import shown_photograph
from gradiseg_core.stages.report.qualitative import Box, by_variant, chosen_views, panels_of

#: Most views in the page.
MOST = 6
#: Longest side of a picture, px.
SIDE = 900
_CROP_SHARE = 0.22
_CROP_PX = 300


def compare(
    scene_dir: Path, colmap_dir: Path, render_dirs: list[Path]
) -> tuple[Html, Html, list[dict[str, Any]]]:
    """Return the sliders, the boundary zooms, and the pictures that the sliders show.

    Args:
        scene_dir: Scene folder.
        colmap_dir: Undistorted photographs.
        render_dirs: Renderings of one seed, one folder for each variant.

    Returns:
        sliders: Of at most :data:`MOST` views.
        zooms: The window of each view in which all variants together are most wrong, and a note on
            what that means here.
        pictures: For each view its data URLs, `truth` and variants, each `colour` and `labels`.
    """
    pairs = by_variant(render_dirs)
    manifest = SceneManifest.load(scene_dir)
    views, held_out = chosen_views(manifest, pairs[0].about, MOST)
    sliders, zooms, pictures = [], [], []
    with_truth = False
    for number, view in enumerate(views):
        panels, box = panels_of(manifest, view, scene_dir, colmap_dir, pairs, _CROP_SHARE)
        height, width = panels[0][1].shape[:2]
        photo = shown_photograph(colmap_dir, view.name, (width, height))
        urls = {"truth": {"colour": jpeg(photo, SIDE), "labels": jpeg(panels[0][1], SIDE)}}
        for one, panel in zip(pairs, panels[1:], strict=True):
            color = read_image(one.folder / "color" / f"{view.stem}.png")
            urls[one.variant] = {"colour": jpeg(color, SIDE), "labels": jpeg(panel[1], SIDE)}
        pictures.append(urls)
        sliders.append(_slider(number, view.stem, urls["truth"]["colour"], urls[pairs[0].variant]))
        crops = [(title, _crop(shown, edges, box)) for title, shown, edges in panels]
        crops.insert(0, ("photograph", _crop(photo, None, box)))
        if panels[0][0] == "photograph":
            crops.pop(1)
        else:
            with_truth = True
        figures = [
            element("figure", image(png(crop), title), element("figcaption", title))
            for title, crop in crops
        ]
        zooms.append(element("h3", view.stem) + element("div", *figures, klass="row"))
    options = [element("option", style.label(one.variant), value=one.variant) for one in pairs]
    kind = "Held-out views" if held_out else "Training views (no held-out view is rendered)"
    rendered = len(pairs[0].about["views"])
    shown = f"{len(views)} of {rendered}" if rendered > len(views) else str(rendered)
    bar = element(
        "p",
        f"{kind}, {shown}: truth on the left, ours on the right. Show ",
        element("select", *options, id="variant", aria_label="variant"),
        " as ",
        element(
            "select",
            element("option", "colour", value="colour"),
            element("option", "labels", value="labels"),
            id="layer", aria_label="what is shown",
        ),
        klass="choice",
    )  # fmt: skip
    note = element("p", _note(with_truth, len(pairs)), klass="note")
    return (
        Html(bar + element("div", *sliders, klass="views")),
        Html(note + "".join(zooms)),
        pictures,
    )


def _note(with_truth: bool, variants: int) -> str:
    """Return which windows are shown."""
    if not with_truth and variants == 1:
        return (
            "The middle of each view: without true labels and with one variant there is nothing to "
            "find the worst place by."
        )
    differing = (
        "of all variants together differ most from the truth"
        if with_truth
        else "of the variants differ most from each other"
    )
    return (
        f"For each view the window in which the labels {differing}: the worst place, not a chosen "
        f"one.{' White: the true outlines.' if with_truth else ''}"
    )


def _slider(number: int, title: str, truth: str, ours: dict[str, str]) -> Html:
    return element(
        "figure",
        element(
            "div",
            image(truth, f"{title}, truth", klass="under"),
            image(ours["colour"], f"{title}, rendering", klass="over"),
            Html(
                '<input type="range" min="0" max="100" step="0.5" value="50" '
                f'aria-label="boundary between truth and ours in {title}">'
            ),
            element("span", klass="line"),
            klass="pair",
        ),
        element("figcaption", title),
        klass="compare", data_view=number,
    )  # fmt: skip


def _crop(picture: NDArray[np.uint8], edges: NDArray[np.float64] | None, box: Box) -> Image.Image:
    """Return a window, enlarged without smoothing, with the true outlines in white."""
    top, left, height, width = box
    scale = max(1, round(_CROP_PX / width))
    window = Image.fromarray(picture[top : top + height, left : left + width])
    window = window.resize((width * scale, height * scale), Image.Resampling.NEAREST)
    if edges is not None and len(edges):
        inside = np.all(
            (edges > [left - 1, top - 1]) & (edges < [left + width, top + height]), (1, 2)
        )
        draw = ImageDraw.Draw(window)
        # Pixel (x, y) covers x - 0.5 to x + 0.5.
        for line in (edges[inside] - [left - 0.5, top - 0.5]) * scale:
            draw.line([tuple(line[0]), tuple(line[1])], fill="white", width=max(1, scale // 3))
    return window
