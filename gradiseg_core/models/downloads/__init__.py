"""Weights and datasets from the network: fetched once, checked, and never unpickled."""
