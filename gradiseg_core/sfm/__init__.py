"""Structure from motion: cameras and sparse points from photographs, through pycolmap."""

from gradiseg_core.sfm.pipeline import reconstruct

__all__ = ["reconstruct"]
