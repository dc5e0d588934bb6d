"""Scores of cached predictions: masks, labels and images."""
