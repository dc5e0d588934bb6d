"""Plots of the report: training curves, quality per variant, qualitative comparison."""
