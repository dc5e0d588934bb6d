"""Pieces of HTML pages: escaped text, tables, pictures in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Html(str):
    """Text that is HTML already; :func:`text_of` escapes all other text."""

    __slots__ = ()


def text_of(value: object) -> str:
    """Return a value as HTML."""
    return value if isinstance(value, Html) else escape(str(value))


def element(name: str, *content: object, **attributes: object) -> Html:
    """Return an element; `klass` stands for `class`, `_` in other names for `-`."""
    written = "".join(
        f' {"class" if key == "klass" else key.replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{written}>{''.join(map(text_of, content))}</{name}>")


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """Return a table that scrolls by itself where it is too wide; first cells name their rows."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", c) for c in row[1:]))
        for row in rows
    ]
    return element(
        "div",
        element("table", element("thead", top), element("tbody", *body)),
        klass="wide",
    )


def items(lines: Iterable[object]) -> Html:
    """Return a list."""
    return element("ul", *(element("li", line) for line in lines))


def image(url: str, alt: str, **attributes: object) -> Html:
    """Return a picture."""
    return Html(element("img", src=url, alt=alt, **attributes).removesuffix("</img>"))


def jpeg(picture: NDArray[np.uint8], side: int, quality: int = 82) -> str:
    """Return a picture [H, W, 3] as the data URL of a JPEG, its longest side at most ``side``."""
    shown = Image.fromarray(picture)
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture_url(shown, "JPEG", quality=quality, optimize=True)


def png(picture: Image.Image) -> str:
    """Return a picture as the data URL of a PNG, for what JPEG would smear."""
    return picture_url(picture, "PNG", optimize=True)


def file_url(path: Path) -> str:
    """Return a PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def picture_url(picture: Image.Image, kind: str, **options: object) -> str:
    """Return a picture as a data URL, encoded as ``kind`` ("JPEG", "PNG")."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file.getvalue()).decode()
