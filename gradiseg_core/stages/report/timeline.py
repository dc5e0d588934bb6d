"""The association as a grid: which ID in which view, with a picture of every object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from gradiseg_core.files.html import Html, element, image, jpeg, text_of
from gradiseg_core.files.images import read_image
from gradiseg_core.files.palette import id_colors

#: Most objects in the page; the largest are shown.
MOST = 120
_THUMBNAIL = 64


def timeline(tracking_dir: Path, views: list[str], names: Mapping[int, str]) -> Html:
    """Return the grid: a row for each object, a column for each training view.

    Args:
        tracking_dir: With ``objects.json`` and ``objects/<id>.png``.
        views: Stems of the training views in their order.
        names: What IDs are called.
    """
    facts = json.loads((tracking_dir / "objects.json").read_text())
    objects = sorted(facts["objects"], key=lambda entry: -entry["area_px"])[:MOST]
    objects = sorted(objects, key=lambda entry: entry["id"])
    colors = [
        f"rgb({red},{green},{blue})"
        for red, green, blue in id_colors(1 + max((o["id"] for o in facts["objects"]), default=0))
    ]
    rows = [_row(entry, views, colors, names, tracking_dir) for entry in objects]
    more = len(facts["objects"]) - len(objects)
    note = f" The {more} smallest objects are left out." if more > 0 else ""
    caption = (
        "A column is a training view, in the order of their names. A gap is a view that does not "
        "show the ID. Where the lower half has another colour, most matched points of that view "
        f"say that the object has another ID there.{note}"
    )
    return Html(element("p", caption, klass="note") + element("div", *rows, klass="timeline"))


def _row(
    entry: Mapping[str, Any],
    views: list[str],
    colors: list[str],
    names: Mapping[int, str],
    folder: Path,
) -> Html:
    index, places = entry["id"], {view: number for number, view in enumerate(views)}
    seen = sorted(places[view] for view in entry["views"] if view in places)
    bars = []
    # Neighbouring views have the same difference between their number and their rank.
    for _, group in groupby(enumerate(seen), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        title = views[run[0]] if len(run) == 1 else f"{views[run[0]]} to {views[run[-1]]}"
        bars.append(_bar(run[0], len(run), 0, 2, colors[index], f"ID {index}: {title}"))
    for view, other in entry.get("switched", []):
        if view in places and other < len(colors):
            said = f"{view}: matched points say ID {other}"
            bars.append(_bar(places[view], 1, 1, 1, colors[other] if other else "#888", said))
    path = folder / "objects" / f"{index}.png"
    picture = (
        image(jpeg(read_image(path), _THUMBNAIL), "")
        if path.is_file()
        else element("span", "", klass="swatch", style=f"background:{colors[index]}")
    )
    count = f"{len(seen)} of {len(views)} views"
    grid = (
        f'<svg viewBox="0 0 {max(1, len(views))} 2" preserveAspectRatio="none" role="img" '
        f'aria-label="{text_of(f"ID {index} in {count}")}">{"".join(bars)}</svg>'
    )
    name = names.get(index)
    return element(
        "div",
        picture,
        element("span", f"{index}" + (f" {name}" if name else ""), klass="name"),
        Html(grid),
        element("span", count, klass="count"),
        klass="object",
    )


def _bar(left: int, width: int, top: int, height: int, color: str, title: str) -> Html:
    return Html(
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{color}">'
        f"<title>{text_of(title)}</title></rect>"
    )
