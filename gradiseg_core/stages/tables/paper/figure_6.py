"""The paper's Figure 6: mIoU over the iteration at which IGD starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradiseg_core import plot_style as style
from gradiseg_core.config.paper import PaperPlan
from gradiseg_core.stages.tables.model import Cell
from gradiseg_core.stages.tables.paper.masks import DATASET, by_text
from gradiseg_core.stages.tables.paper.ours import Runs, mask_number
from gradiseg_core.stages.tables.paper.sweep import curves, published_start, variants_by_start
from gradiseg_core.stages.tables.runs import Mode, read_runs


def plot_igd_start(metrics: list[Path], plan: PaperPlan, out: Path, *, mode: Mode = "gg") -> None:
    """Draw one panel for each scene of LERF-Mask.

    Ours are points with the standard deviation over seeds; the dashed line is our training without
    IGD (`la_knn`). The paper's plot has no printed numbers. Its mark here is the mIoU of Table 1,
    at the start that the text names.

    Args:
        metrics: ``metrics.json`` of every run of the paper's scenes.
        plan: What the configuration holds of the paper.
        out: PNG or SVG to write.
        mode: Aggregation; the paper's is ``gg``.
    """
    runs = Runs.of(DATASET, by_text(read_runs(metrics, plan.labels)), plan)
    start, theirs = published_start()
    starts = {start, *variants_by_start(plan)}
    without = mask_number("miou", mode)
    with style.figure(out, ncols=len(runs.scenes), figsize=(11.0, 3.4)) as (figure, axes):
        for axis, (scene, curve) in zip(axes.flat, curves(runs, mode).items(), strict=True):
            _published(axis, start, theirs[scene])
            _ours(axis, curve)
            _without_igd(axis, runs.cell("la_knn", scene, without))
            axis.set_title(scene)
            axis.set_xlabel("start of IGD, thousands of 30,000 iterations")
            axis.set_xticks(sorted(starts), [f"{start / 1000:g}" for start in sorted(starts)])
            axis.margins(y=0.15)
            axis.set_xlim(min(starts) - 2000, max(starts) + 2000)
        axes.flat[0].set_ylabel(f"mIoU, %, aggregation {mode}")
        handles: dict[str, Any] = {}
        for axis in axes.flat:
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles)
        )


def _ours(axis: Any, curve: dict[int, Cell]) -> None:
    points = {start: cell for start, cell in curve.items() if cell.mean is not None}
    if not points:
        axis.text(
            0.5, 0.08, "ours: missing", transform=axis.transAxes, ha="center", color="#777777"
        )  # fmt: skip
        return
    values = [100.0 * (cell.mean or 0.0) for cell in points.values()]
    deviations = [100.0 * (cell.deviation or 0.0) for cell in points.values()]
    axis.errorbar(
        list(points), values, yerr=deviations if any(deviations) else None,
        color=style.color("gradiseg"), marker=style.marker("gradiseg"), capsize=3,
        label="GradiSeg, ours",
    )  # fmt: skip
    for start, value, deviation in zip(points, values, deviations, strict=True):
        axis.annotate(
            f"{value:.1f}", (start, value + deviation), xytext=(0, 6), textcoords="offset points",
            ha="center", fontsize=8, color=style.color("gradiseg"),
        )  # fmt: skip


def _without_igd(axis: Any, cell: Cell) -> None:
    if cell.mean is not None:
        axis.axhline(
            100.0 * cell.mean, color=style.color("la_knn"), linestyle="--", linewidth=1.2,
            label="without IGD, ours",
        )  # fmt: skip


def _published(axis: Any, start: int, value: float) -> None:
    axis.plot(
        [start], [value], marker="D", markersize=8, linestyle="none", markerfacecolor="white",
        markeredgecolor="#333333", label=f"GradiSeg, published (Table 1, {start:,})",
    )  # fmt: skip
