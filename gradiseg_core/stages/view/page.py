"""One HTML file out of the modules, shaders and styles in ``web/``, with the data in it.

Modules are joined into one, without their `import` and `export` statements. Names at their top
levels must therefore differ, which :func:`bundle` checks. The page's policy holds the hashes of its
scripts: nothing else runs, and nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

_WEB = Path(__file__).resolve().parent / "web"
#: Everything that the page is made of, in any order: imports give that of the modules.
_FILES = (
    "page.html", "page.css",
    "main.js", "app.js", "background.js", "camera.js", "edits.js", "fallback.js", "format.js",
    "keys.js", "objects.js", "photographs.js", "picking.js", "pointer.js", "ply.js", "refine.js",
    "renderer.js", "served.js", "state.js", "ui.js", "worker.js", "yaml.js",
    "splat.vert", "splat.frag", "screen.vert", "screen.frag",
)  # fmt: skip
_SHADERS = tuple(name for name in _FILES if name.endswith((".vert", ".frag")))

_IMPORT = re.compile(r'^import\s[^;]*?from "\./([\w-]+\.js)";\n', re.M)
_TOP_LEVEL = re.compile(r"^(?:async )?(?:function|class|const|let) (\w+)", re.M)


def bundle(start: str, folder: Path = _WEB) -> str:
    """Return a module and all that it imports as one script, what is imported first.

    Raises:
        ValueError: If two modules use one name at their top level.
    """
    sources: dict[str, str] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ValueError(f"{name} imports itself: {' -> '.join(above)}")
        if name in sources:
            return
        text = (folder / name).read_text(encoding="utf-8")
        for other in _IMPORT.findall(text):
            add(other, (*above, name))
        sources[name] = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.M)

    add(start, ())
    owner: dict[str, str] = {}
    for name, text in sources.items():
        for found in _TOP_LEVEL.findall(text):
            if owner.setdefault(found, name) != name:
                raise ValueError(f"{name} and {owner[found]} both have {found} at their top level")
    return "\n".join(f"// {name}\n{text}" for name, text in sources.items())


def write_page(
    path: Path, title: str, scene: dict[str, Any], splats: bytes, fallback: list[str]
) -> None:
    """Write the page.

    Args:
        path: The file.
        title: Of the page.
        scene: What the page knows of the scene, JSON types.
        splats: The compressed Gaussians.
        fallback: Data URLs of pictures for a browser that cannot draw.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(title, scene, splats, fallback), encoding="utf-8")


def page(
    title: str,
    scene: dict[str, Any],
    splats: bytes,
    fallback: list[str],
    connects: str = "'none'",
) -> str:
    """Return the page's text; the arguments are those of :func:`write_page`.

    Args:
        title: Of the page.
        scene: What the page knows of the scene, JSON types.
        splats: The compressed Gaussians.
        fallback: Data URLs.
        connects: What the page may connect to, as its policy says it.
    """
    style = (_WEB / "page.css").read_text(encoding="utf-8")
    script = bundle("main.js")
    blocks = {name: (_WEB / name).read_text(encoding="utf-8") for name in _SHADERS}
    blocks["worker.js"] = bundle("worker.js")
    data = {"scene": _inert_json(scene), "fallback-pictures": _inert_json(fallback)}
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data: blob:",
            "worker-src blob:",
            f"connect-src {connects}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    text = (_WEB / "page.html").read_text(encoding="utf-8")
    parts = {
        "{{title}}": html.escape(title),
        "{{policy}}": policy,
        "{{style}}": _checked("page.css", style),
        "{{blocks}}": "\n".join(
            f'<script type="text/plain" id="{name}">{_checked(name, block)}</script>'
            for name, block in blocks.items()
        ),
        "{{data}}": "\n".join(
            f'<script type="application/json" id="{name}">{block}</script>'
            for name, block in data.items()
        ),
        "{{splats}}": base64.b64encode(splats).decode(),
        "{{script}}": _checked("main.js", script),
    }
    return re.sub(r"\{\{\w+\}\}", lambda found: parts[found[0]], text)


def read_page(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the scene and the compressed Gaussians of a page.

    Raises:
        ValueError: If the file is not such a page.
    """
    text = path.read_text(encoding="utf-8")
    found = {
        name: re.search(rf'<script type="{kind}" id="{name}">(.*?)</script>', text, re.S)
        for name, kind in (("scene", "application/json"), ("splats", "text/plain"))
    }
    if found["scene"] is None or found["splats"] is None:
        raise ValueError(f"{path} is not the page of a scene")
    return json.loads(found["scene"][1]), base64.b64decode(found["splats"][1])


def _inert_json(value: Any) -> str:
    """Return JSON that cannot end the block that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _checked(name: str, text: str) -> str:
    """Return source that cannot end the block that holds it.

    Raises:
        ValueError: If it holds what a browser would take for the end.
    """
    if re.search(r"</(script|style)|<!--", text, re.I):
        raise ValueError(f"{name} holds an end of its block, which would cut it short")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
