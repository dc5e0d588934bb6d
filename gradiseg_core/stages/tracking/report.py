"""The report on how consistent IDs are, to be read before training on them."""

from __future__ import annotations

from typing import Any

#: Rows of a table; objects.json has all of them.
_ROWS = 20
#: Two IDs with this share of common tracks are called fragments, if hardly any view shows both.
_FRAGMENT_SHARE = 0.3
_FRAGMENT_TOGETHER = 0.2


def percent(share: float | None) -> str:
    """Return a share as text; `none` where nothing could be judged."""
    return "none" if share is None else f"{100 * share:.1f} %"


def report(summary: dict[str, Any], warn_below: float) -> str:
    """Return the report as Markdown.

    Args:
        summary: Content of objects.json.
        warn_below: Consistency below which training on the IDs is advised against.
    """
    share = summary["id_consistency"]
    parts = [
        f"# Consistency of the IDs (backend `{summary['backend']}`)",
        "Judged by SfM tracks: a 3D point was matched in several views by its looks, whatever the "
        "IDs there say. IDs that are right give all of its observations one ID.",
        *_instead(summary["instead_of_geometry"]),
        f"**{_verdict(share, warn_below)}** {len(summary['objects'])} objects; "
        f"{percent(summary['unlabelled_share'])} of the pixels and "
        f"{percent(summary['unlabelled_observations'])} of the track observations have no ID.",
    ]
    parts += _repair(summary["repair"])
    parts += _objects(summary["objects"])
    parts += _fragments(summary["consistency"]["alike"], summary["objects"])
    parts += _views(summary["consistency"]["views"], warn_below)
    return "\n\n".join(parts) + "\n"


def _verdict(share: float | None, warn_below: float) -> str:
    if share is None:
        return "No SfM track is seen twice with an ID: nothing can be said."
    text = f"{percent(share)} of the track observations agree with their track's ID."
    if share >= warn_below:
        return text
    return (
        f"{text} Below {percent(warn_below)}: look at `contact_sheet.png` before training; "
        "`tracking.repair: sfm` lets the tracks repair given IDs or those of `deva`."
    )


def _instead(reason: str | None) -> list[str]:
    if reason is None:
        return []
    return [
        f"**Geometry found no objects: {reason}.** So segments of single views were joined instead "
        "(backend `sfm`). `geometry/overview.png` shows what the surface was to be made of."
    ]


def _repair(repaired: dict[str, Any] | None) -> list[str]:
    if repaired is None:
        return []
    changed = repaired["changed"]
    most = sorted(changed, key=lambda stem: -changed[stem])[:5]
    named = ", ".join(f"{stem} ({percent(changed[stem])})" for stem in most if changed[stem] > 0)
    return [
        "## Repair",
        f"Agreement {percent(repaired['id_consistency_before'])} before, "
        f"{percent(repaired['id_consistency_after'])} after; {repaired['ids_before']} IDs became "
        f"{repaired['ids_after']}, {repaired['ids_new']} of them new. Views that changed most: "
        f"{named or 'none'}.",
    ]


def _objects(objects: list[dict[str, Any]]) -> list[str]:
    judged = [entry for entry in objects if entry["persistence"] is not None]
    worst = sorted(judged, key=lambda entry: (entry["persistence"], entry["id"]))
    worst = [entry for entry in worst if entry["persistence"] < 1.0]
    text = ["## Objects"]
    unseen = len(objects) - len(judged)
    if unseen:
        text.append(f"{unseen} objects hold no track of their own and cannot be judged.")
    if not worst:
        return [*text, "Every object that can be judged keeps its ID in all views."]
    rows = [
        f"| {entry['id']} | {entry['area_px']} | {entry['tracks']} | {entry['views_seen']} "
        f"| {percent(entry['persistence'])} | {entry['switches']} | {_where(entry)} |"
        for entry in worst[:_ROWS]
    ]
    head = (
        "| ID | area, px | tracks | views that see them | of these under this ID | under another "
        "| where |\n|---|---|---|---|---|---|---|"
    )
    return [
        *text,
        f"{len(worst)} objects do not keep their ID everywhere, the worst first:",
        "\n".join([head, *rows]),
    ]


def _where(entry: dict[str, Any]) -> str:
    shown = ", ".join(f"{stem}: {other}" for stem, other in entry["switched"][:4])
    return shown + (", ..." if len(entry["switched"]) > 4 else "")


def _fragments(alike: list[dict[str, Any]], objects: list[dict[str, Any]]) -> list[str]:
    views = {entry["id"]: len(entry["views"]) for entry in objects}
    rows = []
    for pair in alike:
        low, high = pair["ids"]
        fewer = min(views.get(low, 0), views.get(high, 0))
        if pair["share"] < _FRAGMENT_SHARE or pair["together"] > _FRAGMENT_TOGETHER * fewer:
            continue
        rows.append(
            f"| {low} and {high} | {pair['tracks']} | {percent(pair['share'])} "
            f"| {pair['together']} |"
        )
    if not rows:
        return []
    head = "| IDs | common tracks | of the smaller one's | views with both |\n|---|---|---|---|"
    return [
        "## IDs that may be one object",
        "They share tracks and are hardly ever seen together:",
        "\n".join([head, *rows[:_ROWS]]),
    ]


def _views(views: dict[str, dict[str, Any]], warn_below: float) -> list[str]:
    bad = [
        (entry["agrees"], stem, entry["observations"])
        for stem, entry in views.items()
        if entry["agrees"] is not None and entry["agrees"] < warn_below
    ]
    if not bad:
        return []
    rows = [f"| {stem} | {percent(agrees)} | {count} |" for agrees, stem, count in sorted(bad)]
    return [
        "## Views",
        f"{len(bad)} of {len(views)} views lie below {percent(warn_below)}:",
        "\n".join(["| view | agrees | observations |\n|---|---|---|", *rows[:_ROWS]]),
    ]
