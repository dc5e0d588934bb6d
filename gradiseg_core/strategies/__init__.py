"""Strategies that change the number of Gaussians during training.

The trainer calls two hooks of each strategy and never edits parameters itself; strategies decide,
and act through :mod:`gradiseg_core.strategies.surgery` alone.
"""
