"""Plots of the report: training curves, quality per variant, qualitative comparison."""

from gradiseg_core.reporting.curves import plot_curves
from gradiseg_core.reporting.qualitative import plot_qualitative
from gradiseg_core.reporting.quality import plot_quality

__all__ = ["plot_curves", "plot_qualitative", "plot_quality"]
