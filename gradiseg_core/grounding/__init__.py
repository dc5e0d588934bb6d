"""Grounding: prompts to object IDs, and IDs to masks."""

from gradiseg_core.grounding.ground import BACKENDS, ground, predict_mask
from gradiseg_core.grounding.selection import Choice, select_ids

__all__ = ["BACKENDS", "Choice", "ground", "predict_mask", "select_ids"]
