"""Embedwell cache: a fixed number of models, least recently used first."""

__version__ = "0.1.0"
