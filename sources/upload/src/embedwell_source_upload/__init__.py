"""Embedwell source: models that clients upload."""

__version__ = "0.1.0"
