"""The page of the photographs that take no part: pictures, reasons, what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from gradiseg_core.files.html import Html, element, image, items, picture_url, table
from gradiseg_core.files.manifest import Unused
from gradiseg_core.stages.sfm.left_out import Findings, LeftOut

_SHOWN = 48  # photographs with pictures; more would make a large page
_SIDE = 320  # px
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --mark: #b35900; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 1rem; font: 16px/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; }
h2 { margin: 1.6rem 0 .5rem; padding-bottom: .2rem; border-bottom: 1px solid var(--line);
  font-size: 1.2rem; }
p { margin: .4rem 0; max-width: 75ch; }
.note { font-size: .85rem; opacity: .8; }
.one { display: grid; grid-template-columns: 320px 1fr; gap: 1rem; padding: .8rem 0;
  border-bottom: 1px solid var(--line); }
.one h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
.why { color: var(--mark); font-weight: 600; }
img { display: block; max-width: 100%; }
.partner { max-width: 160px; margin-top: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem .2rem 0; border-bottom: 1px solid var(--line); text-align: left; }
@media (prefers-color-scheme: dark) { :root { --mark: #ffb067; } }
@media (max-width: 640px) { .one { grid-template-columns: 1fr; } }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_page(
    out: Path,
    scene: str,
    image_dir: Path,
    findings: Findings | None,
    tried: Sequence[dict[str, Any]],
    unused: Sequence[Unused],
    trouble: str = "",
) -> None:
    """Write the page.

    Args:
        out: The HTML file.
        scene: The scene's name.
        image_dir: Folder of the photographs.
        findings: What was found of those without a camera; None where all have one.
        tried: Every attempt: `what` and `registered`.
        unused: Files that are no views of the scene.
        trouble: What is wrong with all photographs together; empty for nothing.
    """
    body: list[Html] = []
    if trouble:
        body += [
            element("h1", f"{scene}: no scene can be made of these photographs"),
            element("p", trouble),
        ]
    elif findings is None:
        count = f"{len(unused)} file{'' if len(unused) == 1 else 's'}"
        body.append(element("h1", f"{scene}: {count} of the photographs not used"))
    else:
        body += _without_camera(scene, image_dir, findings, tried)
    body += _unused(unused)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        "\n".join(
            [
                "<!doctype html>",
                '<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                element("title", f"{scene}: photographs that take no part"),
                f"<style>{_STYLE}</style></head><body><main>",
                *body,
                "</main></body></html>",
                "",
            ]
        ),
        encoding="utf-8",
    )


def _unused(unused: Sequence[Unused]) -> list[Html]:
    kinds = {
        "unreadable": ("Cannot be read (`skip_unreadable`)", "why"),
        "copy": ("Has the picture of another file", "the other, which is used"),
        "panorama": ("Panorama, which no camera with a lens shows", "size"),
    }
    parts: list[Html] = []
    for why, (said, what) in kinds.items():
        rows = [[one.file, one.detail] for one in unused if one.why == why]
        if rows:
            parts += [element("h2", f"{said}: {len(rows)}"), table(["file", what], rows)]
    return parts


def _without_camera(
    scene: str, image_dir: Path, findings: Findings, tried: Sequence[dict[str, Any]]
) -> list[Html]:
    left_out, total = findings.left_out, findings.total
    counts = Counter(one.why for one in left_out)
    summary = ", ".join(f"{why} ({count})" for why, count in counts.most_common())
    attempts = table(
        ["tried", "photographs with a camera"],
        [[one["what"], f"{one['registered']} of {total}"] for one in tried],
    )
    body = [
        element("h1", f"{scene}: {len(left_out)} of {total} photographs have no camera"),
        element("p", f"Likely reasons: {summary}."),
        *(_one(one, findings, image_dir) for one in left_out[:_SHOWN]),
    ]
    if len(left_out) > _SHOWN:
        rest = [f"{one.measured.name}: {one.why}" for one in left_out[_SHOWN:]]
        body += [element("h2", f"{len(rest)} more"), items(rest)]
    body += [
        element("h2", "What was tried"),
        attempts,
        element(
            "p",
            "Typical of the photographs with a camera: sharpness "
            f"{findings.sharpness:.2f}, {findings.features:,.0f} features. Sharpness is the "
            "strength of the finest detail over that of coarser detail.",
            klass="note",
        ),
    ]
    return body


def _one(one: LeftOut, findings: Findings, image_dir: Path) -> Html:
    found = one.measured
    relative = found.sharpness / findings.sharpness if findings.sharpness > 0 else 1.0
    facts = [
        ["sharpness", f"{found.sharpness:.2f} ({relative:.0%} of the others)"],
        ["brightness", f"{found.brightness:.0f} of 255; {found.clipped:.0%} black or white"],
        ["features", f"{found.features:,} (the others: {findings.features:,.0f})"],
        ["matches", f"{len(found.partners)} of {findings.total - 1} other photographs"],
    ]
    rows = [element("tr", element("th", a, scope="row"), element("td", b)) for a, b in facts]
    text = [
        element("h3", found.name),
        element("p", one.why, klass="why"),
        element("p", one.advice[0].upper() + one.advice[1:] + "."),
        element("table", element("tbody", *rows)),
    ]
    if found.partners:
        name, count = next(iter(found.partners.items()))
        text += [
            element("p", f"It matches {name} best, in {count} places:", klass="note"),
            image(_thumbnail(image_dir / name, _SIDE // 2), f"photograph {name}", klass="partner"),
        ]
    shown = image(_thumbnail(image_dir / found.name, _SIDE), f"photograph {found.name}")
    return element("section", element("div", shown), element("div", *text), klass="one")


def _thumbnail(path: Path, side: int) -> str:
    with Image.open(path) as file:
        file.draft("RGB", (2 * side, 2 * side))
        shown = file.convert("RGB")
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture_url(shown, "JPEG", quality=75, optimize=True)
