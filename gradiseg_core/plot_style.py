"""How all plots look: one typeface, few lines, and colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradiseg_core.config.labels import VARIANT_LABELS

# Okabe and Ito's palette; the baseline is grey so that what is added to it stands out.
_COLORS = {"baseline": "#6b6b6b", "igd": "#0072b2", "la_knn": "#e69f00", "gradiseg": "#d55e00"}
_MORE = ("#009e73", "#cc79a7", "#56b4e9", "#f0e442")
_MARKERS = {"baseline": "o", "igd": "s", "la_knn": "^", "gradiseg": "D"}

SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "svg.hashsalt": "gradiseg",  # equal runs write equal files
}


def color(variant: str) -> str:
    """Return a variant's colour; unknown names take turns in the rest of the palette."""
    return _COLORS.get(variant) or _MORE[sum(variant.encode()) % len(_MORE)]


def ink(variant: str) -> str:
    """Return the colour of text that is readable on a variant's colour."""
    red, green, blue = (int(color(variant)[index : index + 2], 16) for index in (1, 3, 5))
    return "#1a1a1a" if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else "white"


def marker(variant: str) -> str:
    """Return a variant's marker, so that colour is never the only difference."""
    return _MARKERS.get(variant, "v")


def label(variant: str) -> str:
    """Return a variant's name as the tables print it."""
    return VARIANT_LABELS.get(variant, variant)


def order(variants: set[str]) -> list[str]:
    """Return variants in the tables' order."""
    known = list(VARIANT_LABELS)
    return sorted(variants, key=lambda name: (known.index(name) if name in known else 99, name))


def can_draw(text: str) -> bool:
    """Whether the font of the figures has all characters of a text; others would be boxes."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont(str(SETTINGS["font.family"])))
    return all(font.get_char_index(ord(letter)) for letter in text)


@contextmanager
def figure(path: Path, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (figure, axes) of ``subplots(**kwargs)`` and write it to ``path`` (PNG or SVG)."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        size = kwargs.pop("figsize", None)
        drawing = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(drawing)
        yield drawing, drawing.subplots(squeeze=False, **kwargs)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        drawing.savefig(path, metadata=metadata, facecolor="white")
