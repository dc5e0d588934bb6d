"""Stage 5: training."""

from gradiseg_core.training.run import train

__all__ = ["train"]
