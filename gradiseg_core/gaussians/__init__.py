"""The scene's Gaussians: parameters, initialisation, surgery, files."""
