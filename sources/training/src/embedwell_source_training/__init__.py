"""Embedwell source: the outputs of training runs."""

__version__ = "0.1.0"
