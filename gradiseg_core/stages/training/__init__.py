"""Stage 5: training."""
