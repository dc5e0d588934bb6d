"""The images of a COLMAP model that have a pose."""

from __future__ import annotations

from typing import Any


def registered(model: Any) -> list[Any]:
    """Return the registered `pycolmap.Image`s of a `pycolmap.Reconstruction`, by ID."""
    return [model.image(image_id) for image_id in sorted(model.reg_image_ids())]


def by_name(model: Any) -> dict[str, Any]:
    """Return the same by file name."""
    return {image.name: image for image in registered(model)}
