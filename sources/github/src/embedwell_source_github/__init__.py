"""Embedwell source: models in GitHub repositories and releases, fetched when asked for."""

__version__ = "0.1.0"
