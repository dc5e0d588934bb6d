"""Bars of the headline scores per variant, every run's own number on top of them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from gradiseg_core import plot_style as style
from gradiseg_core.errors import InputError

PANELS = (
    ("miou", "mIoU of prompts, %", 100.0),
    ("mbiou", "mBIoU of prompts, %", 100.0),
    ("object_miou", "mIoU of objects, %", 100.0),
    ("object_mbiou", "mBIoU of objects, %", 100.0),
    ("psnr", "PSNR, dB", 1.0),
    ("ssim", "SSIM", 1.0),
)


def plot_quality(metrics: list[Path], out: Path, *, title: str = "") -> None:
    """Draw one bar per variant for each score that any run has; without any score, the reason.

    Bars are means over the variant's scenes and seeds, whiskers the standard deviation over seeds
    of the mean over scenes, dots single runs.

    Args:
        metrics: ``metrics.json`` files.
        out: PNG or SVG to write.
        title: Heading.

    Raises:
        InputError: If there is no run.
    """
    runs = [json.loads(path.read_text()) for path in metrics]
    panels = [
        panel for panel in PANELS if any(run["summary"][panel[0]] is not None for run in runs)
    ]
    if not runs:
        raise InputError("no metrics.json was given, so there is nothing to draw")
    # Without a single score the figure says why; PSNR is what every run should have.
    nothing = not panels
    panels = panels or [panel for panel in PANELS if panel[0] == "psnr"]
    variants = style.order({run["variant"] for run in runs})
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with style.figure(
        out,
        nrows=rows,
        ncols=columns,
        figsize=(8.0 if nothing else 3.4 * columns, 0.45 * len(variants) * rows + 2.2),
    ) as (figure, axes):
        for index, (axis, (key, name, factor)) in enumerate(zip(axes.flat, panels, strict=False)):
            _bars(axis, runs, variants, key, factor)
            axis.set_title(name)
            axis.set_yticks(range(len(variants)))
            first = index % columns == 0
            axis.set_yticklabels([style.label(v) for v in variants] if first else [])
            axis.set_ylim(len(variants) - 0.4, -0.6)
            axis.grid(axis="y", visible=False)
            axis.tick_params(axis="y", length=0)
        for axis in axes.flat[len(panels) :]:
            axis.remove()
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)


def _bars(
    axis: Any, runs: list[dict[str, Any]], variants: list[str], key: str, factor: float
) -> None:
    everything = [run["summary"][key] * factor for run in runs if run["summary"][key] is not None]
    top = max(everything, default=0.0)
    for place, variant in enumerate(variants):
        own = [run for run in runs if run["variant"] == variant]
        values = [run["summary"][key] * factor for run in own if run["summary"][key] is not None]
        if not values:
            axis.text(0, place, " " + _why(own, key), va="center", color="#777777", fontsize=7)
            continue
        mean = float(np.mean(values))
        per_seed = _seed_means(own, key, factor)
        spread = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else None
        axis.barh(
            place, mean, xerr=spread, height=0.62, color=style.color(variant), alpha=0.85,
            error_kw={"ecolor": "#222222", "capsize": 3, "elinewidth": 1},
        )  # fmt: skip
        if len(values) > 1:
            axis.plot(
                values, np.full(len(values), place), ".", color="#222222", markersize=4, alpha=0.6
            )
        digits = 3 if key == "ssim" else 1
        text = f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
        if len(values) < len(own):
            text += f" ({len(values)} of {len(own)} runs)"
        inside = mean > 0.4 * top  # a shorter bar does not hold its number
        axis.annotate(
            text, (0 if inside else max(values), place), xytext=(5, 0),
            textcoords="offset points", va="center", fontweight="bold",
            color=style.ink(variant) if inside else "#1a1a1a",
        )  # fmt: skip
    # Bars start at zero, so that their lengths can be compared.
    axis.set_xlim(0, 1.06 * top if top > 0 else 1.0)


def _why(runs: list[dict[str, Any]], key: str) -> str:
    """Return the first run's reason, in lines that fit the panel."""
    why = next(
        (run["not_available"][key] for run in runs if key in run.get("not_available", {})), ""
    )
    text = f"not available: {why}" if why else "not available"
    return "\n ".join(textwrap.wrap(text, 52, max_lines=3, placeholder=" ..."))


def _seed_means(runs: list[dict[str, Any]], key: str, factor: float) -> list[float]:
    seeds: dict[int, list[float]] = {}
    for run in runs:
        if run["summary"][key] is not None:
            seeds.setdefault(run["seed"], []).append(run["summary"][key] * factor)
    return [float(np.mean(values)) for values in seeds.values()]
