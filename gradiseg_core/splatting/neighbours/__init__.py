"""Neighbour searches of L_3d: among all Gaussians, and ahead of a moving one (LA-KNN)."""
