"""Training over iterations: parts of the loss, number of Gaussians, quality of held-out views."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradiseg_core import plot_style as style
from gradiseg_core.errors import InputError

PANELS = (
    ("loss", "Total loss", "log"),
    ("l1", "L1 of colour", "log"),
    ("ssim", "SSIM of training views", "linear"),
    ("identity_loss", "Identity loss $L_{2d}$ (1 = chance)", "log"),
    ("spatial_loss", "Spatial loss $L_{3d}$", "log"),
    ("num_gaussians", "Gaussians", "linear"),
    ("eval_psnr", "PSNR of held-out views, dB", "linear"),
)


@dataclass(frozen=True)
class Log:
    """The metrics log of one run.

    Attributes:
        variant: The run's variant.
        seed: Its seed.
        records: The lines of ``metrics.jsonl``.
    """

    variant: str
    seed: int
    records: list[dict[str, float | None]]

    def series(self, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return iterations and values where ``key`` was logged."""
        points = [
            (record["iteration"], record[key])
            for record in self.records
            if record.get(key) is not None
        ]
        array = np.array(points, dtype=np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]


def read_log(train_dir: Path) -> Log:
    """Read a run's ``metrics.jsonl`` and its names from ``config.json``.

    Raises:
        InputError: If a file is missing or a line is not JSON.
    """
    log, config = train_dir / "metrics.jsonl", train_dir / "config.json"
    for path in (log, config):
        if not path.is_file():
            raise InputError(f"{path} not found; run the train stage first")
    names = json.loads(config.read_text())
    try:
        records = [json.loads(line) for line in log.read_text().splitlines() if line]
    except ValueError as error:
        raise InputError(f"{log} has a line that is not JSON: {error}") from error
    return Log(names["variant"], names["seed"], records)


def running_median(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the median of a centred window of ``width`` (odd) values, shrunk at the ends."""
    half = width // 2
    return np.array(
        [np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    )


def plot_curves(train_dirs: list[Path], out: Path, *, title: str = "") -> None:
    """Draw the curves of several runs of one scene.

    Args:
        train_dirs: Folders with ``metrics.jsonl`` and ``config.json``; seeds of one variant share
            its colour.
        out: PNG or SVG to write.
        title: Heading, for instance the scene's name; left out where the font lacks its script.

    Raises:
        InputError: If there is nothing to draw.
    """
    logs = [read_log(folder) for folder in train_dirs]
    panels = [panel for panel in PANELS if any(len(log.series(panel[0])[0]) for log in logs)]
    if not panels:
        raise InputError(f"no metrics were logged in {', '.join(map(str, train_dirs))}")
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    with style.figure(
        out, nrows=rows, ncols=columns, figsize=(3.3 * columns, 2.5 * rows + 0.7)
    ) as (figure, axes):
        handles: dict[str, object] = {}
        for axis, (key, name, scale) in zip(axes.flat, panels, strict=False):
            for log in logs:
                _draw(axis, log, key, handles)
            axis.set_title(name)
            axis.set_yscale(scale)
            axis.set_xlabel("iteration")
            axis.set_xlim(left=0)
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            if key == "num_gaussians":
                axis.set_ylim(bottom=0)
                axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axis.locator_params(axis="x", nbins=5)
        for axis in axes.flat[len(panels) :]:
            axis.remove()
        variants = style.order(set(handles))
        figure.legend(
            [handles[variant] for variant in variants],
            [style.label(variant) for variant in variants],
            loc="outside lower center",
            ncols=len(variants),
        )
        if title and style.can_draw(title):
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)


def _draw(axis: Any, log: Log, key: str, handles: dict[str, object]) -> None:
    iterations, values = log.series(key)
    if not len(values):
        return
    tint = style.color(log.variant)
    # An iteration sees one photograph, so its loss is noisy.
    noisy = key not in ("num_gaussians", "eval_psnr") and len(values) >= 15
    if noisy:
        axis.plot(iterations, values, color=tint, alpha=0.18, linewidth=0.7)
        values = running_median(values, 2 * (len(values) // 30) + 3)
    points = style.marker(log.variant) if key == "eval_psnr" else None
    (handle,) = axis.plot(
        iterations, values, color=tint, linewidth=1.5, marker=points, markersize=4
    )
    handles.setdefault(log.variant, handle)
