"""Embedwell source: models inside installed Python packages."""

__version__ = "0.1.0"
