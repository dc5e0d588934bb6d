"""Rendering of a trained scene's views, and the pictures made of them."""

from gradiseg_core.rendering.views import load_features, render_view, render_views

__all__ = ["load_features", "render_view", "render_views"]
