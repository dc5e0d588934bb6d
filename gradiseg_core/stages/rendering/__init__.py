"""Rendering of a trained scene's views, and the pictures made of them."""
