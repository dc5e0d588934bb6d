"""Scores of cached predictions: masks, labels and images."""

from gradiseg_core.evaluation.evaluate import evaluate, evaluate_tracks
from gradiseg_core.evaluation.iou import boundary_iou, iou

__all__ = ["boundary_iou", "evaluate", "evaluate_tracks", "iou"]
