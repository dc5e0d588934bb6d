"""Strategies that change the number of Gaussians during training."""
