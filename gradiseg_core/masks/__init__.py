"""Class-agnostic segments of single images, the raw material of tracking."""

from gradiseg_core.masks.stage import generate

__all__ = ["generate"]
