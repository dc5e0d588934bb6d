"""Strategies: what changes the Gaussians during training, beside the optimizer."""
