"""Structure from motion: cameras and sparse points from photographs, through pycolmap."""
