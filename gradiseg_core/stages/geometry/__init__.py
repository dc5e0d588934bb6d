"""Stage `geometry`: a surface of the scene, from colour alone, and the objects on it."""
