"""Embedwell cache: by memory, what is cheapest to bring back leaves first."""

__version__ = "0.1.0"
