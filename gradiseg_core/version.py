"""The version of this package, which a trained scene holds."""

__version__ = "0.1.0"
